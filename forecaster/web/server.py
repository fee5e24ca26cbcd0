"""An HTTP server of the standard library that no client can hold: connections are few and short."""

import socket
import sys
import threading
import time
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIServer

from forecaster.telemetry.logs import RareWarning
from forecaster.web.tls import ServerTls

MOST_CONNECTIONS = 128
LONGEST_SECONDS = 10.0  # of one connection, with handshake, request and answer


class BoundedServer(ThreadingMixIn, WSGIServer):
    """Has a thread for each connection; hangs up on the oldest for one too many, and on those that take too long.

    So a client that is slow on purpose, or opens thousands, costs no more than these, and a probe that sends its
    request at once is answered meanwhile.
    """

    daemon_threads = True
    request_queue_size = MOST_CONNECTIONS
    tls: ServerTls | None = None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: dict[socket.socket, float] = {}  # and when each began, oldest first
        self._lock = threading.Lock()  # a socket that is not in there any more may be closed, and its number another's
        self._failed = RareWarning("request_failed", time.monotonic)
        self._cut = RareWarning("connections_cut", time.monotonic)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection, over TLS where there is one."""
        sock, address = super().get_request()
        return (sock if self.tls is None else self.tls.wrap(sock)), address

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give it a thread, and hang up on the oldest where it is one too many."""
        with self._lock:
            self._open[request] = time.monotonic()
            self._hang_up(list(self._open)[:-MOST_CONNECTIONS], "too many at once")
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Hang up on those whose time is over; socketserver calls it twice a second."""
        with self._lock:
            ends = time.monotonic() - LONGEST_SECONDS
            self._hang_up([sock for sock, began in self._open.items() if began < ends], "took too long")

    def shutdown_request(self, request: Any) -> None:
        """Close a connection that is done; called on its own thread."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: Any) -> None:  # noqa: ARG002  # socketserver's signature
        """One line in the place of a traceback: whoever scans ports talks no TLS, or hangs up."""
        self._failed.add(1, client=str(client_address[0]), error=str(sys.exception()))

    def _hang_up(self, sockets: list[socket.socket], why: str) -> None:
        """Let the thread of each read an end and write no more; it closes the socket itself."""
        for sock in sockets:
            del self._open[sock]
            with suppress(OSError):  # the client was faster
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # that of TLS would take it from under its thread
        self._cut.add(len(sockets), why=why)
