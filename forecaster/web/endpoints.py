"""/metrics, and the probes /startupz, /readyz and /livez, on a thread of their own."""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from socket import socket
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, Self, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from forecaster.errors import ConfigError
from forecaster.telemetry.logs import RareWarning
from forecaster.web.tls import ServerTls, shown

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

Probe = Callable[[], bool]
KNOWN = "forecaster.client_is_known"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    tls: ServerTls | None = None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._failed = RareWarning("request_failed", time.monotonic)

    def get_request(self) -> tuple[socket, Any]:
        sock, address = super().get_request()
        return (sock if self.tls is None else self.tls.wrap(sock)), address

    def handle_error(self, request: object, client_address: Any) -> None:  # noqa: ARG002  # socketserver's signature
        """One line in the place of a traceback: whoever scans ports talks no TLS, or hangs up."""
        self._failed.add(1, client=str(client_address[0]), error=str(sys.exception()))


class _QuietHandler(WSGIRequestHandler):
    timeout = 10  # a client that never sends its request does not hold a thread for ever

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
        metrics = make_wsgi_app(registry)
        closed = tls is not None and tls.asks_clients

        def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
            path = environ["PATH_INFO"]
            refused = path == "/metrics" and closed and not environ[KNOWN]
            if path == "/metrics" and not refused:
                return cast("Iterable[bytes]", metrics(environ, start_response))
            if refused:
                status, body = "403 Forbidden", b"show a certificate\n"
            elif path not in probes:
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
        self._server.tls = tls
        self.port = int(self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, name="endpoints", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
