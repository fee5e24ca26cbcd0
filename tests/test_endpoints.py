"""What no client can do to the metrics endpoint: hold it, fill it, or write into the log."""

import logging
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain, repeat
from pathlib import Path

import pytest
from integration.certificates import LOOPBACK, Authority
from integration.helpers import wait_until
from prometheus_client import CollectorRegistry, Counter

from forecaster.config import MetricsSettings
from forecaster.web import server
from forecaster.web.endpoints import Endpoints
from forecaster.web.tls import ServerTls, metrics_tls

CLIENT_HELLO = b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03"  # the begin of one of 16 KiB


@pytest.fixture(params=["plain", "TLS"])
def tls(request: pytest.FixtureRequest, tmp_path: Path) -> ServerTls | None:
    if request.param == "plain":
        return None
    cert, key = Authority(tmp_path).issue("server", *LOOPBACK)
    return metrics_tls(MetricsSettings(tls_cert_file=cert, tls_key_file=key))


@contextmanager
def serving(tls: ServerTls | None = None) -> Iterator[int]:
    registry = CollectorRegistry()
    Counter("scraped", "A metric.", registry=registry).inc()
    with Endpoints("127.0.0.1", 0, registry, {"/livez": lambda: True}, tls) as endpoints:
        yield endpoints.port


def get(port: int, path: str, **headers: str) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def ended(sock: socket.socket) -> bool:
    """Whether the server has hung up."""
    sock.settimeout(0.01)
    try:
        return sock.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_a_client_that_sends_its_request_byte_by_byte_has_no_more_time_than_others(
    tls: ServerTls | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "LONGEST_SECONDS", 0.3)
    letters = chain(CLIENT_HELLO if tls else b"GET /", repeat(0))
    with serving(tls) as port, socket.create_connection(("127.0.0.1", port)) as slow:

        def cut() -> bool:
            with suppress(OSError):  # as it comes to a server that has hung up
                slow.sendall(bytes([next(letters)]))
            return ended(slow)

        wait_until(cut, 10, what="the end of the connection")
        wait_until(lambda: caplog.records, 10, what="the warning")
    assert {"why": "took too long", "count": 1}.items() <= caplog.records[0].fields.items()


def test_among_many_idle_connections_a_probe_is_answered_and_the_oldest_give_way(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 4)
    before = threading.active_count()
    with serving() as port, ExitStack() as stack, caplog.at_level(logging.WARNING):
        idle = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(40)]
        assert get(port, "/livez") == 200
        wait_until(lambda: all(map(ended, idle[:30])), 10, what="the end of the oldest")
        wait_until(lambda: threading.active_count() - before <= 4 + 1, 10, what="the end of their threads")
        assert not ended(idle[-1])
    assert {record.getMessage() for record in caplog.records} == {"connections_cut"}


def test_a_header_that_the_metrics_library_cannot_read_is_an_answer_and_one_line(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving() as port:
        assert get(port, "/metrics", Accept="application/openmetrics-text; version=none") == 500
        assert get(port, "/metrics", Accept="application/openmetrics-text; version=1.0.0") == 200
    assert [record.getMessage() for record in caplog.records] == ["scrape_failed"]
    assert capfd.readouterr().err == ""
