"""The site shows what pages link to: files of the repository outside docs/, and what a folder holds."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
DOCS = Path(__file__).parent
LINK = re.compile(r"(?<=\]\()[\w./-]+(?=\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put beside the pages what they link to and docs/ does not hold as a file."""
    texts = [(Path(page.abs_src_path).parent, page.content_string) for page in files.documentation_pages()]
    linked = {(folder / link).resolve() for folder, text in texts for link in LINK.findall(text)}
    listed = {file for folder in linked if _is_added(folder) and folder.is_dir() for file in folder.iterdir()}
    for path in sorted(path for path in linked | listed if _is_added(path) and (path in linked or path.is_file())):
        made = {"content": _listing(path)} if path.is_dir() else {"abs_src_path": str(path)}
        files.append(File.generated(config, _address(path), **made))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001  # a hook's
    """Lead links to what was added to where it is on the site."""
    folder = Path(page.file.src_uri).parent
    up = "../" * len(folder.parts)

    def led(link: re.Match[str]) -> str:
        target = (DOCS / folder / link[0]).resolve()
        return up + _address(target) if _is_added(target) else link[0]

    return LINK.sub(led, markdown)


def _is_added(path: Path) -> bool:
    return path.is_relative_to(ROOT) and path.exists() and (path.is_dir() or not path.is_relative_to(DOCS))


def _address(path: Path) -> str:
    """Where `path` is on the site; a folder is a page, a Markdown file outside docs/ the text that it is."""
    below = path.relative_to(DOCS) if path.is_relative_to(DOCS) else Path("source") / path.relative_to(ROOT)
    if path.is_dir():
        return (below / "index.md").as_posix()
    return below.as_posix() + (".txt" if path.suffix == ".md" else "")


def _listing(folder: Path) -> str:
    """A page of the files in `folder`, each with its first line."""
    lines = [f"# {folder.relative_to(ROOT).as_posix()}", ""]
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        first = file.read_text("utf-8").partition("\n")[0].lstrip('#/" ')
        lines.append(f"- [{file.name}]({Path(_address(file)).name}): {first}")
    return "\n".join(lines) + "\n"
