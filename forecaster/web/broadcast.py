"""Frames for viewers, as server-sent events: what is the same for several is made once."""

import asyncio
from collections.abc import Callable
from typing import Any

from forecaster.web.answers import as_json
from forecaster.web.fleet import Fleet
from forecaster.web.viewers import Viewer, Viewers
from forecaster.web.vitals import Vitals

EVERY_S = 1.0

Made = dict[tuple[str, str | None], tuple[int, bytes]]  # version and frame by series and channel


class Broadcast:
    """Gives every viewer a frame of the fleet each second, with its series where that has moved."""

    def __init__(self, fleet: Fleet, vitals: Vitals, viewers: Viewers, clock: Callable[[], float]) -> None:
        self.fleet, self.viewers = fleet, viewers
        self._vitals, self._clock = vitals, clock
        self.opening = sse("channels", {"names": fleet.channels}) if fleet.channels else b""  # of every stream
        self.connected: Callable[[], bool] = lambda: False
        self._ended = False

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.turn()
            await asyncio.sleep(EVERY_S)

    def turn(self) -> None:
        """One frame for everybody."""
        if not len(self.viewers):
            return
        glance, made = self._glance(), Made()
        for viewer in self.viewers:
            self.viewers.send(viewer, glance + self._series(viewer, made))

    def enter(self, name: str | None, channel: str | None = None) -> Viewer:
        """Somebody comes and gets a first frame; the series `name` is drawn from now on."""
        viewer = self.viewers.enter(name, channel)
        if name is not None:
            self.fleet.watch(name)
        self.viewers.send(viewer, None if self._ended else self._glance() + self._series(viewer, {}))
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Somebody has gone."""
        self.viewers.leave(viewer)
        if viewer.series is not None:
            self.fleet.unwatch(viewer.series)

    def end(self) -> None:
        """Nobody gets another frame."""
        self._ended = True
        for viewer in self.viewers:
            self.viewers.send(viewer, None)

    def _glance(self) -> bytes:
        now_ms = int(self._clock() * 1000)
        glance: dict[str, Any] = {"now_ms": now_ms, "connected": self.connected(), **self._vitals.figures()}
        glance |= {"viewers": len(self.viewers), "dropped": self.viewers.dropped}
        return sse("fleet", glance | self.fleet.glance(now_ms))

    def _series(self, viewer: Viewer, made: Made) -> bytes:
        """The frame of its series where it has not seen that; `made` keeps the frames of this turn."""
        name, channel = viewer.series, viewer.channel
        if name is None:
            return b""
        if (name, channel) not in made:
            made[name, channel] = self.fleet.version(name), b""
        version, frame = made[name, channel]
        if version == viewer.shown:
            return b""
        if not frame:
            frame = sse("series", self.fleet.series(name, channel))
            made[name, channel] = version, frame
        viewer.shown = version
        return frame


def sse(event: str, tree: dict[str, Any]) -> bytes:
    """A server-sent event: JSON has no line end of its own."""
    return b"event: %b\ndata: %b\n\n" % (event.encode(), as_json(tree))
