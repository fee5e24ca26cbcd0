"""`forecaster …` in processes that are forked from one that has imported TensorFlow: seconds less each, and as real.

What XLA compiles is kept for the next process that needs it.
"""

import multiprocessing
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["pytest", "forecaster.cli.main", "forecaster.daemon", "forecaster.kafka.clients", "training.command"]
)


@cache
def _compiled() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="forecaster-compiled-")


class Forked:
    """A `subprocess.Popen` of one command, as far as the tests need it; it writes to the files `out` and `err`."""

    def __init__(self, arguments: Sequence[str], out: str, err: str, **environment: str) -> None:
        flags = {"TF_XLA_FLAGS": f"--tf_xla_persistent_cache_directory={_compiled().name}"}
        place = str(Path.cwd()), {**os.environ, **flags, **environment}
        self._process = FORKS.Process(target=_command, args=(arguments, *place, out, err), daemon=True)
        self._process.start()
        self.args, self.pid = arguments, self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()


def _command(arguments: Sequence[str], folder: str, environment: Mapping[str, str], out: str, err: str) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    from forecaster.cli.main import main  # noqa: PLC0415  # only here, where it has been imported

    main(arguments)
