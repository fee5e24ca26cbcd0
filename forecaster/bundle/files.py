"""Reading what somebody else may have put in a file's place."""

import errno
import os
import stat
from pathlib import Path


def read_plain_file(path: Path, most_bytes: int) -> bytes:
    """What the file at `path` holds, at most `most_bytes`.

    Raises `OSError` also for what is no plain file, of which a pipe would never open and a device never end.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123  # Path.open has no such flag
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "no plain file")
        return file.read(min(most_bytes, status.st_size))
