"""Files that a command will write at its end, tried at its begin."""

from pathlib import Path

from forecaster.errors import ForecasterError


def check_can_write(path: Path) -> None:
    """Raise `ForecasterError` now, rather than after hours of scoring, where `path` cannot be written."""
    is_new = not path.exists()
    try:
        path.open("ab").close()
        if is_new:
            path.unlink()
    except OSError as error:
        raise not_written(path, error) from error


def not_written(path: Path, error: OSError) -> ForecasterError:
    """What to say of `path`."""
    return ForecasterError(f"{path}: cannot be written: {error.strerror}")
