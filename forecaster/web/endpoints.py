"""/metrics, and the probes /startupz, /readyz and /livez, on a thread of their own."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Self
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from forecaster.errors import ConfigError
from forecaster.telemetry.logs import RareWarning
from forecaster.web.server import BoundedServer
from forecaster.web.tls import ServerTls, shown

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

Probe = Callable[[], bool]
KNOWN = "forecaster.client_is_known"
TEXT = ("Content-Type", "text/plain; charset=utf-8")


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """A scrape is no event that matters."""

    def get_environ(self) -> "WSGIEnvironment":
        return {**super().get_environ(), KNOWN: shown(self.connection)}


class Endpoints:
    """The HTTP server; each probe answers 200 when its function is true, else 503.

    With `tls` that knows clients by their certificates, others see the probes alone: a kubelet has none to show.
    """

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        probes: Mapping[str, Probe],
        tls: ServerTls | None = None,
    ) -> None:
        metrics = _told_in_one_line(make_wsgi_app(registry))
        closed = tls is not None and tls.asks_clients

        def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
            path = environ["PATH_INFO"]
            refused = path == "/metrics" and closed and not environ[KNOWN]
            if path == "/metrics" and not refused:
                return metrics(environ, start_response)
            if refused:
                status, body = "403 Forbidden", b"show a certificate\n"
            elif path not in probes:
                status, body = "404 Not Found", b"not found\n"
            else:
                good = probes[path]()
                status, body = ("200 OK", b"ok\n") if good else ("503 Service Unavailable", b"not yet\n")
            start_response(status, [TEXT])
            return [body]

        try:
            self._server = make_server(host, port, app, BoundedServer, _QuietHandler)
        except (OSError, OverflowError) as error:
            raise ConfigError(f"metrics.port: cannot listen on {host}:{port}: {error}") from error
        self._server.tls = tls
        self.port = int(self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, name="endpoints", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _told_in_one_line(metrics: "WSGIApplication") -> "WSGIApplication":
    """`metrics` whose failures are an answer and a warning: a client's headers can make it fail."""
    failed = RareWarning("scrape_failed", time.monotonic)

    def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        try:
            return metrics(environ, start_response)
        except Exception as error:  # noqa: BLE001  # of a library and of the client, and it ends this answer alone
            failed.add(1, client=environ["REMOTE_ADDR"], error=repr(error))
            start_response("500 Internal Server Error", [TEXT])
            return [b"failed\n"]

    return app
