"""The folder of a bundle is replaced as a whole, and only where it holds a bundle."""

import shutil
from pathlib import Path

from forecaster.bundle.manifest import MANIFEST, WEIGHTS
from forecaster.bundle.signing import SIGNATURE
from forecaster.errors import BundleError


def check_ours(folder: Path) -> None:
    """Raise `BundleError` where putting a bundle at `folder` would take away what is none."""
    if not folder.name:
        raise BundleError(f"{folder}: names no folder of its own for a bundle")
    if folder.exists() and not folder.is_dir():
        raise BundleError(f"{folder}: is a file, not a folder for a bundle")
    others = {path.name for path in folder.iterdir()} - {MANIFEST, WEIGHTS, SIGNATURE} if folder.exists() else set()
    if others:
        raise BundleError(f"{folder}: holds {min(others)!r}, which is no part of a bundle: name a folder of its own")


def put_in_place(fresh: Path, folder: Path) -> None:
    """Let the folder `fresh` be `folder`, beside which it lies; raises `OSError` where what was there stays."""
    if not folder.exists():
        fresh.rename(folder)
        return
    old = fresh.with_name(fresh.name + "-old")
    folder.rename(old)
    try:
        fresh.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)  # the bundle is in place
