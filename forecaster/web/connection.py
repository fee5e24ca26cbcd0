"""A connection to the page whose client must get on: ask once it has connected, take what it has asked for."""

import asyncio
import time
from operator import attrgetter

from uvicorn.protocols.http.h11_impl import H11Protocol

from forecaster.telemetry.logs import RareWarning

ASK_S = 15.0  # for a whole request, from the connection's start or the last answer
TAKE_S = 60.0  # for the next piece of an answer: frames are lost meanwhile


class Connection(H11Protocol):
    """uvicorn's own, which would wait for ever for a request that never ends and for a client that never reads."""

    idle_since: float | None  # None while it is answered
    cut = RareWarning("page_connections_cut", time.monotonic)  # of all of them

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Where there are too many already, the one that has been idle longest makes room."""
        ours = (one for one in self.connections if isinstance(one, Connection))
        idle = [one for one in ours if one.idle_since is not None]
        if idle and len(self.connections) + 1 >= (self.limit_concurrency or float("inf")):
            min(idle, key=attrgetter("idle_since")).end("too many at once")
        super().connection_made(transport)
        self._stuck: asyncio.TimerHandle | None = None
        self._wait()

    def handle_events(self) -> None:
        """Once a request is whole, its answer may take its time."""
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self.idle_since = None
            self._late.cancel()

    def on_response_complete(self) -> None:
        """The next request has as long as the first one."""
        self._wait()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client takes nothing: what has been sent fills all there is room for."""
        super().pause_writing()
        self._stuck = self.loop.call_later(TAKE_S, self.end, "takes nothing")

    def resume_writing(self) -> None:
        """It has taken something."""
        super().resume_writing()
        self._move()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        super().connection_lost(exc)
        self._late.cancel()
        self._move()

    def end(self, why: str | None) -> None:
        """Break off, with a warning if there is a reason; it counts no longer, although it is closed a little later."""
        if why is not None:
            self.cut.add(1, why=why)
        self.connections.discard(self)
        self.transport.abort()

    def _wait(self) -> None:
        self.idle_since = self.loop.time()
        self._late = self.loop.call_later(ASK_S, self._give_up)

    def _give_up(self) -> None:
        begun, _ = self.conn.trailing_data
        self.end("asks too slowly" if begun else None)  # browsers open connections that they may not need

    def _move(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
