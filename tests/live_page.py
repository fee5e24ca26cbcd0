"""The live page's server in this process, on a thread, with a fleet that a test feeds by hand."""

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from integration.helpers import wait_until

from forecaster.config import Settings, WebSettings
from forecaster.records import RecordBatch
from forecaster.web.broadcast import Broadcast
from forecaster.web.fleet import Fleet
from forecaster.web.page import make_server
from forecaster.web.page_process import listen
from forecaster.web.viewers import Viewers
from forecaster.web.vitals import Vitals

START_MS = 1_714_550_400_000
LEVELS = ("0.1", "0.5", "0.9")
HORIZON = 4


def records(values: Sequence[bytes], *, time_ms: int = START_MS, partition: int = 0) -> RecordBatch:
    count = len(values)
    return RecordBatch(
        "ticks", np.full(count, partition), np.arange(count), np.full(count, time_ms), [None] * count, list(values),
        [()] * count, np.zeros(count, bool),
    )  # fmt: skip


def tick(series: str, step: int, value: float | str | dict[str, float | None] | None) -> bytes:
    return json.dumps({"series": series, "ts": START_MS + 1_000 * step, "value": value}).encode()


def answer(series: str, step: int, middle: float, *, kind: str = "forecast", **members: Any) -> bytes:
    """A forecast of `HORIZON` steps at `middle`, one below to two above."""
    rows = zip(LEVELS, (middle - 1, middle, middle + 2), strict=True)
    body = {"point": [middle] * HORIZON, "quantiles": {level: [value] * HORIZON for level, value in rows}}
    head = {"schema_version": 1, "kind": kind, "series": series, "origin": START_MS + 1_000 * step, "step_ms": 1_000}
    return json.dumps({**head, "horizon": HORIZON, "model": "m@1", "maturity": "ready", **body, **members}).encode()


def channels_answer(series: str, step: int, middles: dict[str, float | None], **members: Any) -> bytes:
    """A forecast as `answer` makes it for each channel, null where there is no middle."""
    fans = {name: middle and json.loads(answer(series, step, middle)) for name, middle in middles.items()}
    parts = {name: fan and {key: fan[key] for key in ("point", "quantiles")} for name, fan in fans.items()}
    return answer(series, step, 0.0, kind="multivariate", channels=parts, **members)


class LivePage:
    """A page at `address` for the length of the block. `now_ms` is what its fleet takes the time to be."""

    def __init__(self, channels: tuple[str, ...] = (), **web: Any) -> None:
        self.settings = Settings(web={"requests_per_second": 10_000, **web}, input={"channels": channels})
        self.fleet, self.vitals = Fleet(self.settings, HORIZON), Vitals()
        self.viewers = Viewers(self.settings.web.max_viewers)
        self.now_ms, self.caught_up = START_MS, True
        self.broadcast = Broadcast(self.fleet, self.vitals, self.viewers, lambda: self.now_ms / 1000)
        self.broadcast.connected = lambda: True
        self.socket = listen(WebSettings(port=0))
        self.address = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.server = make_server(self.settings.web, self.broadcast, lambda: self.caught_up)
        self.thread = threading.Thread(
            target=lambda: asyncio.run(self.server.serve_and_broadcast(self.socket)), daemon=True
        )

    def __enter__(self) -> Self:
        self.thread.start()
        wait_until(lambda: self.server.started, what="the server of the page")
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        self.socket.close()

    def server_address(self) -> tuple[str, int]:
        """Host and port."""
        return self.socket.getsockname()[:2]

    def feed(self, series: str, values: Sequence[float], first: int = 0, off_by: float = 0.0) -> None:
        """A tick a step, and behind each the forecast that it stays where it is, wrong by `off_by`."""
        steps = list(enumerate(values, first))
        self.fleet.take_ticks(records([tick(series, n, value) for n, value in steps]), self.now_ms)
        self.fleet.take_answers(records([answer(series, n, value + off_by) for n, value in steps]), self.now_ms)

    def get(self, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        """Status, headers with small letters, and body."""
        request = urllib.request.Request(self.address + path, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as found:
                return found.status, {key.lower(): value for key, value in found.headers.items()}, found.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, {key.lower(): value for key, value in error.headers.items()}, error.read()


class Stream:
    """An open stream of events; `next` gives (event, tree), one after the other."""

    def __init__(self, page: LivePage, path: str = "/events") -> None:
        self.answer = urllib.request.urlopen(page.address + path, timeout=20)

    def next(self) -> tuple[str, dict[str, Any]]:
        event = self.answer.readline().decode().removeprefix("event: ").strip()
        data = self.answer.readline().decode().removeprefix("data: ")
        self.answer.readline()
        return event, json.loads(data)

    def close(self) -> None:
        self.answer.close()
