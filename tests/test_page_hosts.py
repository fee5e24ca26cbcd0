"""By which names the page answers: no web site may read it through a name of its own (DNS rebinding)."""

import socket

import pytest
from live_page import LivePage
from pydantic import ValidationError

from forecaster.config import WebSettings
from forecaster.web.hosts import Hosts

OWN = ["127.0.0.1:8080", "localhost", "LocalHost:8080", "localhost.:80", "[::1]:8080", "[::1]", "page.localhost:1"]
ADDRESSES = ["10.1.2.3:8080", "192.168.0.7", "[fd00::7]:8080", "[fe80::1%25eth0]:80"]
STRANGE = [
    "evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "notlocalhost",
    "127.0.0.1@x", "", ":8080", "[::1].x", "a b", "1.2.3.4.5", "0x7f.1", "\xe9.example",
]  # fmt: skip


@pytest.mark.parametrize("listens", ["127.0.0.1", "::1", "localhost"])
def test_on_loopback_the_page_has_addresses_and_localhost_for_names_and_no_other(listens):
    hosts = Hosts(listens, None)
    assert [name for name in OWN + ADDRESSES if not hosts.allow(name)] == []
    assert [name for name in STRANGE if hosts.allow(name)] == []


@pytest.mark.parametrize("listens", ["127.0.0.1", "0.0.0.0", "::", "10.1.2.3"])
def test_names_that_are_set_are_right_and_only_they_wherever_the_page_listens(listens):
    hosts = Hosts(listens, ("Forecaster.example.com",))
    names = [*OWN, *ADDRESSES, "forecaster.EXAMPLE.com", "forecaster.example.com:443", "forecaster.example.com."]
    assert [name for name in names if not hosts.allow(name)] == []
    assert [name for name in [*STRANGE, "x.forecaster.example.com"] if hosts.allow(name)] == []


@pytest.mark.parametrize("listens", ["0.0.0.0", "::", "10.1.2.3", "pod-7"])
def test_beyond_loopback_any_name_is_right_until_some_are_set(listens):
    assert all(Hosts(listens, None).allow(name) for name in OWN + ADDRESSES + STRANGE)
    assert not Hosts(listens, ()).allow("evil.example")


@pytest.mark.parametrize("path", ["/", "/events", "/search?q=", "/page.js", "/nothing"])
def test_a_request_under_a_strangers_name_gets_nothing_but_the_setting(path):
    with LivePage() as page, socket.create_connection(page.server_address(), 20) as client:
        page.feed("secret", [1.0])
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(10_000), b""))
    assert answer.startswith(b"HTTP/1.1 421 ")
    assert b"web.hosts" in answer
    assert b"secret" not in answer


@pytest.mark.parametrize("name", ["https://x", "x:80", "", "x/", "*", "a b", "x" * 254])
def test_a_host_in_the_settings_is_a_bare_name(name):
    with pytest.raises(ValidationError, match="hosts"):
        WebSettings(hosts=[name])
