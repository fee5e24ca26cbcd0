"""Those who look at the page: each has a short queue of frames, and loses frames rather than hold anybody up."""

import asyncio
from collections.abc import Iterator

QUEUED = 2  # every frame is whole, so that a lost one is no more than a late one


class Viewer:
    """One that looks at `series`, or at the fleet alone; `shown` is the version of the series it was sent last."""

    def __init__(self, series: str | None, channel: str | None = None) -> None:
        self.series, self.channel, self.shown = series, channel, -1
        self._frames: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUED)

    def offer(self, frame: bytes | None) -> int:
        """Queue a frame, or the end with None; returns how many older ones are lost by it."""
        lost = 0
        while self._frames.full():
            self._frames.get_nowait()
            lost += 1
        self._frames.put_nowait(frame)
        return lost

    async def next(self) -> bytes | None:
        """The oldest frame that waits, or that comes; None at the end."""
        return await self._frames.get()


class Viewers:
    """All of them, at most `most`."""

    def __init__(self, most: int) -> None:
        self._most, self._all = most, set[Viewer]()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Viewer]:
        return iter(list(self._all))

    @property
    def full(self) -> bool:
        """Whether nobody else is let in."""
        return len(self._all) >= self._most

    def enter(self, series: str | None, channel: str | None = None) -> Viewer:
        """Somebody comes."""
        viewer = Viewer(series, channel)
        self._all.add(viewer)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Somebody goes."""
        self._all.discard(viewer)

    def send(self, viewer: Viewer, frame: bytes | None) -> None:
        """Queue a frame, and count those that are lost."""
        self.dropped += viewer.offer(frame)
