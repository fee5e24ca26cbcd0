"""What listens in a broker's place: whatever it does, a start ends in time and with one line."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest
from integration.rigs import make_settings

from forecaster.errors import ForecasterError
from forecaster.kafka import handshake, tls
from forecaster.kafka.clients import make_client

Answer = Callable[[socket.socket, threading.Event], object]


def silent(_: socket.socket, over: threading.Event) -> None:
    over.wait()


def dripping(sock: socket.socket, over: threading.Event) -> None:
    """An answer of a thousand bytes, each in time for a wait of its own."""
    sock.recv(4_096)
    sock.sendall(struct.pack(">i", 1_000))
    while not over.wait(0.1):
        sock.sendall(b"x")


def short(sock: socket.socket, _: threading.Event) -> None:
    """An answer without even its own number."""
    sock.recv(4_096)
    sock.sendall(struct.pack(">i", 1) + b"x")


def web(sock: socket.socket, _: threading.Event) -> None:
    sock.recv(4_096)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def echo(sock: socket.socket, _: threading.Event) -> None:
    while data := sock.recv(4_096):
        sock.sendall(data)


@contextmanager
def listening(answer: Answer) -> Iterator[str]:
    """The address of a server that does `answer` with each connection."""
    over = threading.Event()

    def serve(sock: socket.socket) -> None:
        with sock, suppress(OSError):
            answer(sock, over)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        over.set()
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL", "SASL_PLAINTEXT"])
@pytest.mark.parametrize("answer", [silent, dripping, short, web, echo])
def test_a_start_ends_in_time(protocol: str, answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "HANDSHAKE_SECONDS", 0.5)
    monkeypatch.setattr(handshake, "ANSWER_SECONDS", 0.5)
    kafka: dict[str, Any] = {"security_protocol": protocol, "startup_timeout": "1s"}
    if protocol == "SASL_PLAINTEXT":
        kafka |= {"sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "u", "sasl_password": "p"}
    begun = time.monotonic()
    with listening(answer) as address, closing(make_client(make_settings(address, **kafka), None, "test")) as client:
        with pytest.raises(ForecasterError) as refused:
            client.start()
        assert time.monotonic() - begun < 10
    assert str(refused.value).startswith("kafka.")
    assert "\n" not in str(refused.value)
