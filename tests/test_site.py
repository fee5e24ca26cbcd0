"""The site: built strictly, every page in its navigation, and nothing loaded from elsewhere."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# what a browser fetches of itself; a link that somebody may follow is none
LOADED = re.compile(
    r"""<(?:script|img|iframe|source|embed)[^>]*\ssrc=["']?([^"'\s>]+)|<link[^>]*\shref=["']?([^"'\s>]+)"""
)
CSS_LOADED = re.compile(r"""url\(["']?([^"')]+)|@import\s+["']([^"']+)""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, as `make docs` builds it."""
    if not (ROOT / ".venv-docs").exists() and os.environ.get("CI") != "true":
        pytest.skip("NO SITE: make docs makes its environment")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        ["make", "docs", f"ARGS=--site-dir {folder}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_in_the_navigation() -> None:
    lines = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2].splitlines()
    named = [match[1] for line in lines if (match := re.fullmatch(r"\s*- (?:.+: )?(\S+\.md)", line))]
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(named) == sorted(pages)


def test_a_page_loads_nothing_from_elsewhere(site) -> None:
    pages, sheets = list(site.rglob("*.html")), list(site.rglob("*.css"))
    assert len(pages) > 15
    assert sheets
    found = [(page, address) for page in pages for pair in LOADED.findall(page.read_text("utf-8")) for address in pair]
    found += [
        (sheet, address)
        for sheet in sheets
        for pair in CSS_LOADED.findall(sheet.read_text("utf-8"))
        for address in pair
    ]
    assert found
    assert [(str(where), address) for where, address in found if re.match(r"(?:https?:)?//", address)] == []


def test_what_a_page_links_to_outside_of_docs_is_on_the_site(site) -> None:
    page = (site / "performance.html").read_text("utf-8")
    linked = {address for address in re.findall(r'href="([^"#]+)"', page) if "results" in address}
    assert linked
    assert [address for address in linked if not (site / address).is_file()] == []


def test_the_site_can_be_searched(site) -> None:
    assert "max_poll_records" in (site / "search" / "search_index.json").read_text("utf-8")
