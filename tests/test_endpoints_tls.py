"""The metrics endpoint over TLS: probes for everybody, metrics for who shows a certificate where that is asked."""

import logging
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from integration.certificates import LOOPBACK, Authority
from integration.helpers import wait_until
from prometheus_client import CollectorRegistry, Counter

from forecaster.cli.main import main
from forecaster.config import MetricsSettings
from forecaster.errors import ConfigError
from forecaster.web.endpoints import Endpoints
from forecaster.web.tls import metrics_tls


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def server(authority: Authority) -> dict[str, Any]:
    cert, key = authority.issue("server", *LOOPBACK)
    return {"tls_cert_file": cert, "tls_key_file": key}


@contextmanager
def serving(**settings: Any) -> Iterator[int]:
    registry = CollectorRegistry()
    Counter("scraped", "A metric.", registry=registry).inc()
    probes = {"/livez": lambda: True}
    with Endpoints("127.0.0.1", 0, registry, probes, metrics_tls(MetricsSettings(**settings))) as endpoints:
        yield endpoints.port


def get(port: int, path: str, authority: Authority, own: tuple[Path, Path] | None = None) -> tuple[int, str]:
    context = ssl.create_default_context(cafile=authority.file)
    if own is not None:
        context.load_cert_chain(*own)
    try:
        with urllib.request.urlopen(f"https://127.0.0.1:{port}{path}", timeout=5, context=context) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_metrics_and_probes_come_over_tls(authority: Authority, server: dict[str, Any]) -> None:
    with serving(**server) as port:
        assert "scraped_total 1.0" in get(port, "/metrics", authority)[1]
        assert get(port, "/livez", authority) == (200, "ok\n")


def test_metrics_are_for_clients_with_a_certificate_and_probes_for_all(
    authority: Authority, server: dict[str, Any]
) -> None:
    with serving(**server, tls_client_ca_file=authority.file) as port:
        assert get(port, "/metrics", authority) == (403, "show a certificate\n")
        assert get(port, "/livez", authority) == (200, "ok\n")
        assert "scraped_total 1.0" in get(port, "/metrics", authority, authority.issue("prometheus"))[1]


def test_a_certificate_of_another_authority_opens_nothing(
    authority: Authority, server: dict[str, Any], tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "stranger", "another authority").issue("stranger")
    with serving(**server, tls_client_ca_file=authority.file) as port, pytest.raises((OSError, ssl.SSLError)):
        get(port, "/metrics", authority, stranger)


def test_a_certificate_that_is_replaced_is_shown_to_the_next_client(
    authority: Authority, server: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    renewed = Authority(tmp_path / "renewed", "the next authority")
    with serving(**server) as port:
        assert get(port, "/livez", authority)[0] == 200
        server["tls_cert_file"].write_text("half a certificate")
        assert get(port, "/livez", authority)[0] == 200
        assert [record.getMessage() for record in caplog.records] == ["certificate_not_read"]
        for file, fresh in zip(server.values(), renewed.issue("server", *LOOPBACK), strict=True):
            file.write_bytes(fresh.read_bytes())
        assert get(port, "/livez", renewed)[0] == 200


def test_whoever_talks_no_tls_leaves_one_line_and_harms_nobody(
    authority: Authority, server: dict[str, Any], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(**server) as port, caplog.at_level(logging.WARNING):
        for noise in (b"GET /metrics HTTP/1.0\r\n\r\n", b"\x00" * 100, b""):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
                sock.sendall(noise)
        wait_until(lambda: caplog.records, 10, what="the line")
        assert get(port, "/livez", authority)[0] == 200
    assert {record.getMessage() for record in caplog.records} == {"request_failed"}
    assert capsys.readouterr().err == ""


def test_the_healthcheck_asks_over_tls_even_where_the_certificate_has_run_out(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = authority.issue("old", *LOOPBACK, valid=(-30, -1))
    files = {"tls_cert_file": cert, "tls_key_file": key, "tls_client_ca_file": authority.file}
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # which is not for asking oneself
    with serving(**files) as port:
        for name, value in {**files, "host": "127.0.0.1", "port": port}.items():
            monkeypatch.setenv(f"FORECASTER_METRICS__{name.upper()}", str(value))
        with pytest.raises(SystemExit) as ended:
            main(["healthcheck"])
    assert ended.value.code == 0


@pytest.mark.parametrize("name", ["tls_cert_file", "tls_key_file", "tls_client_ca_file"])
@pytest.mark.parametrize("content", [None, "something else"])
def test_a_file_that_is_wrong_is_told_by_its_setting(
    authority: Authority, server: dict[str, Any], tmp_path: Path, name: str, content: str | None
) -> None:
    wrong = tmp_path / "wrong.pem"
    if content is not None:
        wrong.write_text(content)
    with pytest.raises(ConfigError, match=r"^metrics\.tls_cert_file, [^\n]*wrong\.pem[^\n]*$"):
        metrics_tls(MetricsSettings(**{**server, "tls_client_ca_file": authority.file, name: wrong}))
