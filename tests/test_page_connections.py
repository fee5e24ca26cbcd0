"""Clients of the page that hold on to a connection: they end it for themselves, and for nobody else."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from integration.helpers import wait_until
from live_page import LivePage

from forecaster.web import connection
from forecaster.web.page import SPARE_CONNECTIONS

WHOLE = b"GET /page.css HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextmanager
def connected(page: LivePage, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    with socket.socket() as client:
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(20)
        client.connect(page.server_address())
        yield client


def is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def dribble(client: socket.socket, text: bytes) -> Iterator[bool]:
    """Sends a byte at each step, and tells whether the other end is still there."""
    client.settimeout(0.02)
    for byte in text:
        try:
            client.sendall(bytes([byte]))
            yield client.recv(1) != b""
        except TimeoutError:
            yield True
        except (ConnectionResetError, BrokenPipeError):
            yield False


@pytest.fixture(autouse=True)
def warned(monkeypatch) -> list[str]:
    """Why connections were cut, as the log has it."""
    why: list[str] = []
    monkeypatch.setattr(connection.Connection.cut, "add", lambda _, **fields: why.append(fields["why"]))
    return why


@pytest.mark.parametrize("before", [b"", b"GET", WHOLE[:-2], b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n"])
def test_a_request_that_does_not_end_is_not_waited_for(monkeypatch, before, warned):
    monkeypatch.setattr(connection, "ASK_S", 0.2)
    with LivePage() as page, connected(page) as client:
        client.sendall(before)
        assert is_closed(client)
    assert warned == (["asks too slowly"] if before else [])  # browsers connect ahead of need


def test_a_request_that_comes_byte_by_byte_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(connection, "ASK_S", 0.2)
    with LivePage() as page, connected(page) as client:
        assert not all(dribble(client, b"GET / HTTP/1.1\r\nX: " + b"x" * 500))


def test_a_second_request_has_no_longer_than_the_first(monkeypatch):
    monkeypatch.setattr(connection, "ASK_S", 0.5)
    with LivePage() as page, connected(page) as client:
        client.sendall(WHOLE.replace(b"GET", b"HEAD"))
        while b"\r\n\r\n" not in client.recv(1_000_000):
            pass
        assert not all(dribble(client, b"GET / HTTP/1.1\r\nX: " + b"x" * 500))


def test_a_viewer_is_not_taken_for_one_that_does_not_ask(monkeypatch):
    monkeypatch.setattr(connection, "ASK_S", 0.1)
    monkeypatch.setattr("forecaster.web.broadcast.EVERY_S", 0.05)
    with LivePage() as page, connected(page) as client:
        client.sendall(WHOLE.replace(b"/page.css", b"/events"))
        seen = b""
        while seen.count(b"event: fleet") < 8:
            seen += client.recv(10_000)


def test_connections_that_ask_nothing_lock_nobody_out(warned):
    with LivePage(max_viewers=2) as page, ExitStack() as stack:
        for _ in range(2 * (SPARE_CONNECTIONS + 2)):
            stack.enter_context(connected(page))
        assert page.get("/page.css")[0] == 200
        assert len(page.server.server_state.connections) <= SPARE_CONNECTIONS + 2
    assert set(warned) == {"too many at once"}


def test_a_viewer_that_reads_nothing_loses_its_place(monkeypatch, warned):
    monkeypatch.setattr(connection, "TAKE_S", 0.2)
    monkeypatch.setattr("forecaster.web.broadcast.EVERY_S", 0.002)
    with LivePage() as page, connected(page, 4_096) as client:
        client.sendall(WHOLE.replace(b"/page.css", b"/events"))
        wait_until(lambda: len(page.viewers) == 1, what="the viewer")
        wait_until(lambda: len(page.viewers) == 0, what="its end")
    assert warned == ["takes nothing"]
