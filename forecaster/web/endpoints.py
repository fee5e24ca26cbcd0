"""/metrics, and the probes /startupz, /readyz and /livez, on a thread of their own."""

import threading
from collections.abc import Callable, Iterable, Mapping
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Self, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from forecaster.errors import ConfigError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

Probe = Callable[[], bool]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    timeout = 10  # a client that never sends its request does not hold a thread for ever

    def log_message(self, *_: object) -> None:
        """A scrape is no event that matters."""


class Endpoints:
    """The HTTP server; each probe answers 200 when its function is true, else 503."""

    def __init__(self, host: str, port: int, registry: CollectorRegistry, probes: Mapping[str, Probe]) -> None:
        metrics = make_wsgi_app(registry)

        def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
            path = environ["PATH_INFO"]
            if path == "/metrics":
                return cast("Iterable[bytes]", metrics(environ, start_response))
            if path not in probes:
                status, body = "404 Not Found", b"not found\n"
            else:
                good = probes[path]()
                status, body = ("200 OK", b"ok\n") if good else ("503 Service Unavailable", b"not yet\n")
            start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
            return [body]

        try:
            self._server = make_server(host, port, app, _Server, _QuietHandler)
        except (OSError, OverflowError) as error:
            raise ConfigError(f"metrics.port: cannot listen on {host}:{port}: {error}") from error
        self.port = int(self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, name="endpoints", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
