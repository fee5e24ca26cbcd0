"""A token endpoint (RFC 6749) over TLS, as strict as a test needs it."""

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus

from integration.certificates import LOOPBACK, Authority

Answer = tuple[int, dict[str, str], bytes]


class Handler(BaseHTTPRequestHandler):
    server: "Endpoint"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        code, headers, answer = self.server.answer_to(self.headers["Authorization"], parse_qs(body))
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(answer))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


class Endpoint(ThreadingHTTPServer):
    """Gives what `token` makes to the client `known`, id and secret, for `seconds`; or whatever `answer` is."""

    daemon_threads = True

    def __init__(self, authority: Authority, known: tuple[str, str], token: Callable[[], str]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("endpoint", *LOOPBACK))
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server_port}/token"
        self.known, self.token, self.seconds = known, token, 3_600.0
        self.answer: Answer | None = None
        self.asked: list[dict[str, Any]] = []

    def answer_to(self, authorization: str, form: dict[str, list[str]]) -> Answer:
        self.asked.append(form)
        if self.answer is not None:
            return self.answer
        both = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        if tuple(map(unquote_plus, both.split(":"))) != self.known or form["grant_type"] != ["client_credentials"]:
            told = {"error": "invalid_client", "error_description": "who is\nthis?"}
            return 401, {}, json.dumps(told).encode()
        told = {"access_token": self.token(), "token_type": "bearer", "expires_in": self.seconds}
        return 200, {"Content-Type": "application/json"}, json.dumps(told).encode()

    def handle_error(self, *_: object) -> None:
        """A client that does not trust us hangs up."""


@contextmanager
def token_endpoint(authority: Authority, known: tuple[str, str], token: Callable[[], str]) -> Iterator[Endpoint]:
    """An endpoint that answers until the end."""
    with Endpoint(authority, known, token) as endpoint:
        thread = threading.Thread(target=endpoint.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield endpoint
        endpoint.shutdown()
        thread.join()
