"""Workers as the harness sees them: processes of the zygote that stop, die, go on and write a log."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from integration.helpers import wait_until

ROOT = Path(__file__).parents[2]


class Zygote:
    """Starts workers, whose records `client` moves; used from any thread."""

    def __init__(self, cache: Path, client: str = "kafka-python", **environment_: str) -> None:
        self.client = client
        self._lock = threading.Lock()
        flags = f"--tf_xla_persistent_cache_directory={cache}"
        environment = {**os.environ, "TF_XLA_FLAGS": flags, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
        environment |= environment_
        environment["PYTHONPATH"] = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "chaos.zygote"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=environment, cwd=ROOT,
        )  # fmt: skip
        self._process.stdout.readline()

    def ask(self, **request: Any) -> dict[str, Any]:
        with self._lock:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def bundle(self, folder: Path, stream: str = "values", *, seed: int = 1) -> Path:
        """A bundle with drawn weights for ticks of `stream` in `folder`."""
        log = folder.parent / f"{folder.name}.log"
        answer = self.ask(do="bundle", folder=str(folder), stream=stream, seed=seed, log=str(log))
        made = Process(self, answer["pid"], log)
        if made.wait(120) != 0:
            raise RuntimeError(log.read_text())
        return folder

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


class Process:
    """A process of the zygote."""

    def __init__(self, zygote: Zygote, pid: int, log: Path) -> None:
        self.pid, self._zygote, self.log_path = pid, zygote, log
        self._code: int | None = None

    @property
    def code(self) -> int | None:
        """Its exit code (negative: the signal), None while it lives."""
        if self._code is None:
            self._code = self._zygote.ask(do="exit-code", pid=self.pid)["code"]
        return self._code

    def wait(self, timeout: float) -> int:
        """Its exit code, once it has ended."""
        wait_until(lambda: self.code is not None, timeout, what=f"the end of worker {self.pid}")
        return self._code

    def log(self) -> str:
        return self.log_path.read_text("utf-8", "replace")


class Worker(Process):
    """A running daemon with a trap."""

    def __init__(self, zygote: Zygote, config: Path, topics: Mapping[str, str], **environment: str) -> None:
        self._trap = config.with_suffix(".trap")
        self.arm(None, 1, signalled=False)
        log = Path(tempfile.mkstemp(prefix=f"{config.stem}-", suffix=".log", dir=config.parent)[1])
        request = {"do": "run", "config": str(config), "trap": str(self._trap), "topics": dict(topics), "log": str(log)}
        request["client"] = zygote.client
        super().__init__(zygote, 0, log)
        self.proxied = False
        self._request = {**request, "environment": environment}

    def start(self, label: str | None = None, passes: int = 1) -> "Worker":
        """Start it with a trap at the `passes`-th passing of `label`."""
        self.arm(label, passes, signalled=False)
        self.pid = self._zygote.ask(**self._request)["pid"]
        return self

    def arm(self, label: str | None, passes: int = 1, *, signalled: bool = True) -> None:
        """Set another trap; a running worker is told."""
        fresh = self._trap.with_suffix(".new")
        fresh.write_text(json.dumps({"label": label, "passes": passes}))
        fresh.replace(self._trap)
        if signalled:
            self.send(signal.SIGUSR1)

    def send(self, number: signal.Signals) -> None:
        if self.code is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait for the end; also of one that is stopped or has ended."""
        self.send(signal.SIGKILL)
        self.wait(30)

    def resume(self) -> None:
        self.send(signal.SIGCONT)

    def stopped(self) -> bool:
        """Whether it stands still (SIGSTOP). One that has ended is an error: nothing would ever stop it."""
        if self.code is not None:
            raise AssertionError(f"the worker ended with {self.code}: {self.log()[-2000:]}")
        return self._status("State").startswith("T")

    def resident_mb(self) -> float:
        return int(self._status("VmRSS").split()[0]) / 1024

    def _status(self, name: str) -> str:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:"))

    def is_ready(self) -> bool:
        """Whether /readyz says so. One that has ended is an error."""
        if self.code is not None:
            raise AssertionError(f"the worker ended with {self.code}: {self.log()[-2000:]}")
        try:
            return self.get("/readyz") == "ok\n"
        except (OSError, ValueError):  # not listening yet, or the log does not say where
            return False

    def terminate(self, timeout: float = 60.0) -> int:
        """SIGTERM, and its exit code."""
        self.send(signal.SIGTERM)
        return self.wait(timeout)

    def wait_stopped(self, timeout: float) -> bool:
        """Whether it fell into its trap within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not self.stopped():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)  # the step of the loop
        return True

    def wait_event(self, name: str, since: int, timeout: float) -> float:
        """Seconds until it has logged more than `since` events of that name."""
        started = time.monotonic()
        wait_until(lambda: len(self.events(name)) > since, timeout, what=f"the event {name}")
        return time.monotonic() - started

    def metric(self, name: str) -> float:
        """The sum of all samples of `name`."""
        found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", self.get("/metrics"), re.MULTILINE)
        return sum(map(float, found))

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """The events of its log, all or those of one `name`."""
        found = [json.loads(line) for line in self.log().splitlines() if line.startswith("{") and line.endswith("}")]
        return [event for event in found if name in (None, event["event"])]

    def get(self, path: str) -> str:
        """What its web endpoint answers; `OSError` where it says no."""
        (event,) = self.events("starting")
        with urllib.request.urlopen(f"http://127.0.0.1:{event['metrics_port']}{path}", timeout=5) as answer:
            return answer.read().decode()
