"""What the live page's server answers: a handful of files that it has read at its start, a search, and the events."""

import asyncio
from collections.abc import AsyncIterator, Callable
from importlib.resources import files

from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from forecaster.config import WebSettings
from forecaster.web.answers import as_json
from forecaster.web.broadcast import Broadcast
from forecaster.web.guard import Guard
from forecaster.web.hosts import Hosts
from forecaster.web.limits import RequestLimit

MOST_SEARCHES = 8  # at once: one runs, beside the loop that sends the frames, the others wait for it
UNBUFFERED = {"X-Accel-Buffering": "no"}  # nginx, an ingress mostly, would keep frames until it has some kilobytes
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


class Site:
    """The pages and what they ask for. Before `caught_up` no name is called unknown."""

    def __init__(self, broadcast: Broadcast, caught_up: Callable[[], bool]) -> None:
        self._broadcast, self._fleet = broadcast, broadcast.fleet
        self._caught_up = caught_up
        self._files = served_files()
        self._searching, self._searches = asyncio.Lock(), 0

    def routes(self) -> list[Route]:
        """Where each is found; there is no other path."""
        pages = [Route("/", self._page), Route("/series", self._page)]
        asked = [Route("/search", self._search), Route("/events", self._events)]
        fixed = [Route(f"/{name}", self._file) for name in self._files if not name.endswith(".html")]
        return [*pages, *asked, *fixed]

    async def _page(self, request: Request) -> Response:
        if self._unknown(request):
            return Response(self._files["unknown.html"], 404, media_type=TYPES["html"])
        return Response(self._files["index.html"], media_type=TYPES["html"])

    async def _file(self, request: Request) -> Response:
        name = request.scope["route"].path.removeprefix("/")
        return Response(self._files[name], media_type=TYPES[name.rpartition(".")[2]])

    async def _search(self, request: Request) -> Response:
        if self._searches >= MOST_SEARCHES:
            return PlainTextResponse("too many searches, try again later\n", 503, {"Retry-After": "1"})
        self._searches += 1
        try:
            async with self._searching:
                found = await asyncio.to_thread(self._fleet.search, request.query_params.get("q", ""))
        finally:
            self._searches -= 1
        return Response(as_json(found), media_type="application/json")

    async def _events(self, request: Request) -> Response:
        if self._broadcast.viewers.full:
            return PlainTextResponse("too many viewers, try again later\n", 503, {"Retry-After": "10"})
        frames = self._frames(request.query_params)
        return StreamingResponse(frames, media_type="text/event-stream", headers=UNBUFFERED)

    async def _frames(self, asked: QueryParams) -> AsyncIterator[bytes]:
        viewer = self._broadcast.enter(asked.get("name"), asked.get("channel"))
        try:
            yield self._broadcast.opening
            while (frame := await viewer.next()) is not None:
                yield frame
        finally:
            self._broadcast.leave(viewer)

    def _unknown(self, request: Request) -> bool:
        name = request.query_params.get("name")
        return name is not None and self._caught_up() and not self._fleet.knows(name)


def make_app(
    broadcast: Broadcast, caught_up: Callable[[], bool], web: WebSettings, clock: Callable[[], float]
) -> ASGIApp:
    """The application, guarded as `web` says; `clock` gives seconds."""
    site = Starlette(routes=Site(broadcast, caught_up).routes())
    site.router.redirect_slashes = False  # it would redirect to whatever the request calls its host
    return Guard(site, Hosts(web.host, web.hosts), RequestLimit(web.requests_per_second), clock)


def served_files() -> dict[str, bytes]:
    """What is served, by name: no file is ever looked for to answer a request."""
    folder = files("forecaster.web") / "static"
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name.rpartition(".")[2] in TYPES}
