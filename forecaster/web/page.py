"""The process of the live page: two readers, the daemon's metrics from standard input, and the server."""

import asyncio
import logging
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import BinaryIO

import orjson
import uvicorn

from forecaster.bundle.manifest import configured_bundle, read_bundle
from forecaster.config import Settings, WebSettings
from forecaster.kafka.python_connect import prepare_library
from forecaster.telemetry.logs import event
from forecaster.web.app import make_app
from forecaster.web.broadcast import Broadcast
from forecaster.web.connection import Connection
from forecaster.web.fleet import Fleet
from forecaster.web.guard import MOST_HEADERS
from forecaster.web.reader import TopicReader
from forecaster.web.viewers import Viewers
from forecaster.web.vitals import Vitals

NICENESS = 15  # where every core is busy the forecasts come first
GRACE_S = 1
SPARE_CONNECTIONS = 100  # for files and searches, beside those of the viewers


def serve_page(settings: Settings, descriptor: int) -> None:
    """Serve on the listening socket `descriptor` until SIGTERM, or until standard input ends: the daemon has ended."""
    os.nice(NICENESS)
    prepare_library()
    horizon = read_bundle(configured_bundle(settings))[0].network.horizon
    fleet, vitals, viewers = Fleet(settings, horizon), Vitals(), Viewers(settings.web.max_viewers)
    broadcast = Broadcast(fleet, vitals, viewers, time.time)
    sources = (settings.topics.input, fleet.take_ticks), (settings.topics.output, fleet.take_answers)
    readers = [TopicReader(settings, topic, take, fleet.skip) for topic, take in sources]
    broadcast.connected = lambda: all(reader.connected for reader in readers)
    server = make_server(settings.web, broadcast, lambda: all(reader.caught_up for reader in readers))
    threading.excepthook = partial(_end, server)
    _listen(sys.stdin.buffer, vitals, server)
    with ExitStack() as stack:
        for reader in readers:
            stack.enter_context(reader)
        asyncio.run(server.serve_and_broadcast(socket.socket(fileno=descriptor)))


def make_server(web: WebSettings, broadcast: Broadcast, caught_up: Callable[[], bool]) -> "Server":
    """The server of the page, with all that bounds it."""
    config = uvicorn.Config(
        make_app(broadcast, caught_up, web, time.monotonic),
        http=Connection, ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
        proxy_headers=False, timeout_graceful_shutdown=GRACE_S, timeout_keep_alive=10,
        limit_concurrency=web.max_viewers + SPARE_CONNECTIONS, h11_max_incomplete_event_size=MOST_HEADERS,
    )  # fmt: skip
    return Server(config, broadcast)


class Server(uvicorn.Server):
    """A server whose viewers hear of its end: without that an open stream of events would outlive it."""

    def __init__(self, config: uvicorn.Config, broadcast: Broadcast) -> None:
        super().__init__(config)
        self._broadcast = broadcast

    async def serve_and_broadcast(self, listening: socket.socket) -> None:
        """Serve until told to stop."""
        frames = asyncio.create_task(self._broadcast.run())
        frames.add_done_callback(lambda _: setattr(self, "should_exit", True))
        await self.serve([listening])
        if frames.done():
            frames.result()  # raises what it ended by
        frames.cancel()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End every stream of events, then everything else."""
        self._broadcast.end()
        await super().shutdown(sockets)


def _listen(pipe: BinaryIO, vitals: Vitals, server: uvicorn.Server) -> None:
    """Have `vitals` hear what the daemon tells through `pipe`, on a thread; its end is the server's."""

    def listen() -> None:
        for line in pipe:
            vitals.tell(orjson.loads(line), time.monotonic())
        server.should_exit = True

    threading.Thread(target=listen, name="metrics", daemon=True).start()


def _end(server: uvicorn.Server, failure: threading.ExceptHookArgs) -> None:
    """A thread has failed: the daemon shall start the page anew, rather than it show what is no longer true."""
    text = "".join(traceback.format_exception(failure.exc_value))
    event("page_failed", logging.ERROR, thread=failure.thread and failure.thread.name, exception=text)
    server.should_exit = True
