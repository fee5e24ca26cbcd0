"""The page's process as the daemon sees it, and what a user can get wrong."""

import socket
import sys
from importlib.util import find_spec

import pytest
from integration.daemon import forecaster
from integration.helpers import wait_until
from prometheus_client import CollectorRegistry, Gauge

from forecaster.config import WebSettings
from forecaster.errors import ConfigError
from forecaster.web import page_process
from forecaster.web.page_process import PageProcess, listen

TELLS = """
import sys
for line in sys.stdin:
    open(sys.argv[1], "w").write(line)
"""


def test_a_port_in_use_ends_the_start_with_one_line_that_names_the_setting(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = tmp_path / "f.toml"
        config.write_text(f"[web]\nenabled = true\nport = {port}\n")
        done = forecaster("run", "--config", str(config))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert f"web.port: cannot listen on 127.0.0.1:{port}" in done.stderr


@pytest.mark.parametrize("host", ["no such host.invalid", "192.0.2.1", "x" * 300, "\u2028"])
def test_a_host_that_is_not_here_is_refused(host):
    with pytest.raises(ConfigError, match=r"^web\.port: cannot listen on "):
        listen(WebSettings(host=host, port=0))


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_without_the_extra_the_start_says_what_to_install(monkeypatch, package):
    monkeypatch.setattr(page_process, "find_spec", lambda name: None if name == package else find_spec(name))
    with pytest.raises(ConfigError, match=rf"^web\.enabled: {package} is not installed: pip install"):
        listen(WebSettings(port=0))


def test_the_page_is_told_the_metrics_and_ended_with_the_block(tmp_path):
    registry, told = CollectorRegistry(), tmp_path / "told"
    Gauge("moon_phase", "Of the moon.", registry=registry).set(0.25)
    page = PageProcess(WebSettings(port=0), [sys.executable, "-c", TELLS, str(told)])
    with page.showing(registry):
        wait_until(lambda: told.exists() and "moon_phase 0.25" in told.read_text(), what="the metrics")
        process = page._process
    assert process.poll() is not None


def test_a_page_that_does_not_start_is_tried_again_after_longer_and_longer(monkeypatch, caplog):
    registry = CollectorRegistry()
    page = PageProcess(WebSettings(port=0), [sys.executable, "-c", "raise SystemExit(3)"])
    monkeypatch.setattr(page._stopping, "wait", lambda _: page._stopping.is_set())
    caplog.set_level("WARNING", logger="forecaster")
    with page.showing(registry):
        wait_until(lambda: len(caplog.records) >= 4, what="four ends")
    assert registry.get_sample_value("forecaster_page_restarts_total") >= 3
    assert [record.fields["restart_seconds"] for record in caplog.records[:4]] == [1.0, 2.0, 4.0, 8.0]
    assert caplog.records[0].fields["exit_code"] == 3


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_address_is_one_that_a_browser_can_open(host):
    page = PageProcess(WebSettings(host=host, port=0), [])
    assert page.address == f"http://127.0.0.1:{page._socket.getsockname()[1]}/"
    page._socket.close()
