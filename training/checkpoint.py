"""A training that was interrupted goes on where its last epoch ended: arrays in one file beside the bundle."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from forecaster.bundle.manifest import Manifest
from forecaster.errors import BundleError, ForecasterError
from training.course import COLUMNS, Course

FILE = "checkpoint-{}.safetensors"
MANIFEST = "manifest"


class Checkpoint:
    """The course of one training in `folder`, with the manifest that it began with: data, settings, versions.

    Training is deterministic, so going on ends where starting anew would. `notice` is told in one line of a
    checkpoint that is used, or that is of something else and is not.
    """

    def __init__(self, folder: Path, notice: Callable[[str], None]) -> None:
        self.folder, self._notice = folder, notice
        self._manifest = ""
        self.turn_to(0)

    @classmethod
    def beside(cls, bundle: Path, notice: Callable[[str], None]) -> "Checkpoint":
        """That of the training whose bundle will be `bundle`. Raises `BundleError` where that names no folder."""
        if not bundle.name:
            raise BundleError(f"{bundle}: names no folder of its own for a bundle")
        return cls(bundle.with_name(f"{bundle.name}.training"), notice)

    def turn_to(self, candidate: int) -> None:
        """From here on it is that of one of several models among which the training chooses."""
        self._path = self.folder / FILE.format(candidate)
        self.epochs = 0  # that are safe in it

    def open(self, manifest: Manifest, weights: int) -> Course | None:
        """The course of a training of the same `manifest`, if one was interrupted; later saves carry it."""
        self._manifest = manifest.model_dump_json()
        if not self._path.exists():
            return None
        try:
            with safe_open(self._path, "numpy") as file:
                was = json.loads((file.metadata() or {})[MANIFEST])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
            course = Course(**arrays)
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            self._notice(f"{self._path}: cannot be read, starting anew: {str(error)[:200]}")
            return None
        if was != json.loads(self._manifest):
            other = ", ".join(_differences(was, json.loads(self._manifest)))
            self._notice(f"{self._path}: of another training ({other}), starting anew")
            return None
        if not _fits(course, weights):
            self._notice(f"{self._path}: its arrays do not fit, starting anew")
            return None
        self._notice(f"{self._path}: going on after epoch {course.epochs}")
        self.epochs = course.epochs
        return course

    def save(self, course: Course) -> None:
        """Replace what is there by `course`, whole or not at all. Raises `ForecasterError` where it cannot."""
        fresh = self._path.with_suffix(".new")
        arrays = {name: np.ascontiguousarray(array) for name, array in course.arrays().items()}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file(arrays, fresh, {MANIFEST: self._manifest})
            with fresh.open("rb+") as file:
                os.fsync(file.fileno())
            fresh.replace(self._path)
            self.epochs = course.epochs
        except (OSError, SafetensorError) as error:
            with suppress(OSError):
                fresh.unlink()
            reason = getattr(error, "strerror", None) or str(error)
            raise ForecasterError(f"{self._path}: the checkpoint cannot be written: {reason}") from error

    def remove(self) -> None:
        """Forget the training, which has ended."""
        with suppress(OSError):  # what is not ours stays, and the folder with it
            for file in self.folder.glob(FILE.format("*")):
                file.unlink()
            self.folder.rmdir()


def _fits(course: Course, weights: int) -> bool:
    flat = course.weights, course.first, course.second, course.mean, course.best
    rows = course.history.ndim == 2 and course.history.shape[1] == COLUMNS
    return rows and all(array.shape == (weights,) and array.dtype == np.float32 for array in flat)


def _differences(was: Any, now: Any, place: str = "") -> list[str]:
    """Where two trees differ, as paths."""
    if not (isinstance(was, dict) and isinstance(now, dict)):
        return [] if was == now else [place]
    found: list[str] = []
    for key in sorted(was.keys() | now.keys()):
        found += _differences(was.get(key), now.get(key), f"{place}.{key}" if place else key)
    return found
