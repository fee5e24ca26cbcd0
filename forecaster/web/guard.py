"""What stands before every answer of the page's server: its headers, and how much, how fast and how one may ask."""

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from forecaster.web.hosts import Hosts
from forecaster.web.limits import RequestLimit

POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}
MOST_HEADERS = 2**14  # bytes
MOST_BYTES = 4_096  # of a path or a query: a name has 1,024 at most, three letters for each


class Guard:
    """Puts the headers on every answer, and refuses what is too much or no question. `clock` gives seconds."""

    def __init__(self, app: ASGIApp, hosts: Hosts, limit: RequestLimit, clock: Callable[[], float]) -> None:
        self._app, self._hosts, self._limit, self._clock = app, hosts, limit, clock
        self._headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        app = self._refusal(scope) or self._app
        await app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        client = scope["client"][0] if scope.get("client") else ""
        if not self._limit.allows(client, self._clock()):
            return PlainTextResponse("too many requests\n", 429, {"Retry-After": "1"})
        if not self._hosts.allow(Headers(scope=scope).get("host", "")):
            return PlainTextResponse("the page is not served under this name: web.hosts lacks it\n", 421)
        if scope["method"] not in {"GET", "HEAD"}:
            return PlainTextResponse("only GET\n", 405, {"Allow": "GET, HEAD"})
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEADERS:
            return PlainTextResponse("too many headers\n", 431)
        if max(len(scope["query_string"]), len(scope["raw_path"])) > MOST_BYTES:
            return PlainTextResponse("too long\n", 414)
        return None
