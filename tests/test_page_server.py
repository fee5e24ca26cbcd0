"""The live page's server from outside: what it answers, with which headers, and what it refuses."""

import hashlib
import json
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integration.helpers import wait_until
from live_page import LivePage, Stream, records, tick

from forecaster.web.app import MOST_SEARCHES, served_files
from forecaster.web.guard import HEADERS

TRAVERSALS = [
    "/../forecaster.toml", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/static/../page.js", "//etc/passwd",
    "/..\\..\\etc\\passwd", "/page.js/../../app.py", "/page.js%00.html", "/README.md", "/uPlot.LICENSE", "/index.html",
    "/unknown.html", "/page.css/", "/.", "/..", "/%2f%2fetc", "/static", "/static/page.js", "/PAGE.JS", "/file:///etc/passwd",
]  # fmt: skip


@pytest.fixture(scope="module")
def page():
    with LivePage() as running:
        running.feed("a", [1.0, 2.0, 3.0])
        yield running


@pytest.mark.parametrize("path", ["/", "/series?name=a", "/series?name=none", "/page.js", "/search?q=", "/nothing"])
def test_every_answer_forbids_what_is_from_elsewhere(page, path):
    _, headers, _ = page.get(path)
    assert {name: headers[name] for name in HEADERS} == HEADERS
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "server" not in headers


def test_the_page_and_its_parts_come_with_their_types(page):
    assert page.get("/")[1]["content-type"] == "text/html; charset=utf-8"
    for name, kind in (("page.js", "text/javascript"), ("page.css", "text/css"), ("icon.svg", "image/svg+xml")):
        status, headers, body = page.get(f"/{name}")
        assert (status, headers["content-type"].partition(";")[0]) == (200, kind)
        assert body == served_files()[name]


def test_what_is_not_ours_is_what_was_published():
    folder = files("forecaster.web") / "static"
    rows = re.findall(
        r"(?m)^\| `([^`]+)` \| `[^`]+` \| `([0-9a-f]{64})` \|$", (folder / "README.md").read_text("utf-8")
    )
    assert len(rows) == 3
    assert [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name, _ in rows] == [sum_ for _, sum_ in rows]


def test_the_page_names_no_other_address():
    own = {name: text.decode() for name, text in served_files().items() if not name.startswith("uPlot")}
    assert {name: re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text) for name, text in own.items()} == {
        name: ["http://www.w3.org"] if name == "icon.svg" else [] for name in own
    }


def test_a_series_that_is_unknown_gets_a_plain_page(page):
    status, headers, body = page.get("/series?name=%3Cscript%3E")
    assert (status, headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert b"No such series" in body
    assert b"script" not in body
    with closing(Stream(page, "/events?name=%3Cscript%3E")) as stream:
        assert [stream.next()[0], stream.next()[1]["seen_ms"]] == ["fleet", None]


def test_before_the_page_has_caught_up_no_series_is_called_unknown(page):
    page.caught_up = False
    try:
        assert page.get("/series?name=later")[0] == 200
    finally:
        page.caught_up = True


@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_path_leads_outside_the_files_that_are_served(page, path):
    assert page.get(path)[0] == 404


@settings(max_examples=150, deadline=None)
@given(
    parts=st.lists(st.sampled_from(["..", ".", "%2e%2e", "%2f", "\\", "etc", "passwd", "page.js", "web", "app.py", ""]))
)
def test_whatever_the_path_a_file_is_served_or_nothing(page, parts):
    status, _, body = page.get("/" + "/".join(parts))
    assert status == 404 or (status == 200 and body in served_files().values())


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_nothing_can_be_sent_to_the_page(page, method):
    assert page.get("/search", method)[0] == 405


def test_a_question_that_is_too_long_is_refused(page):
    assert page.get("/search?q=" + "x" * 5_000)[0] == 414
    assert page.get("/" + "x" * 5_000)[0] == 414
    with socket.create_connection(page.server_address()) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 300_000 + b"\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 400")


def test_headers_are_bounded_however_they_come(page):
    with socket.create_connection(page.server_address()) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: yyyyyyyy\r\n" * 2_000 + b"\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 431")


def test_a_search_gives_the_names_that_contain_it_whatever_the_case(page):
    page.fleet.take_ticks(records([tick(f"Pump-{n:03}", 0, 1.0) for n in range(80)]), page.now_ms)
    found = json.loads(page.get("/search?q=pUMP")[2])
    assert (found["total"], len(found["names"]), found["names"][0]) == (80, 50, "Pump-000")


def test_searches_that_take_long_hold_up_no_viewer_and_do_not_pile_up(page, monkeypatch):
    begun, free = threading.Semaphore(0), threading.Event()

    def search(_: str) -> dict[str, object]:
        begun.release()
        assert free.wait(20)
        return {"total": 0, "names": []}

    monkeypatch.setattr(page.fleet, "search", search)
    monkeypatch.setattr("forecaster.web.broadcast.EVERY_S", 0.01)
    with ThreadPoolExecutor(MOST_SEARCHES + 1) as pool, closing(Stream(page)) as viewer:
        asked = [pool.submit(page.get, "/search?q=a") for _ in range(MOST_SEARCHES + 1)]
        refused = next(as_completed(asked, 20)).result()
        assert begun.acquire(timeout=20)
        assert not begun.acquire(blocking=False)  # the second one waits for the first
        assert [viewer.next()[0] for _ in range(5)] == ["fleet"] * 5
        free.set()
        assert sorted(one.result(20)[0] for one in asked) == [200] * MOST_SEARCHES + [503]
    assert refused[2] == b"too many searches, try again later\n"


def test_a_viewer_gets_the_fleet_and_its_series_at_once_and_then_what_moves(page):
    with closing(Stream(page, "/events?name=a")) as stream:
        (first, fleet), (second, series) = stream.next(), stream.next()
        assert (first, second, series["name"], series["value"][-1]) == ("fleet", "series", "a", 3.0)
        assert (fleet["viewers"], fleet["connected"]) == (1, True)
        assert stream.answer.headers["X-Accel-Buffering"] == "no"
        page.feed("a", [9.0], first=3)
        while (event := stream.next())[0] != "series":
            pass
        assert event[1]["value"][-1] == 9.0
    wait_until(lambda: len(page.viewers) == 0, what="the viewer's leaving")


def test_one_viewer_too_many_is_told_so_in_plain_words():
    with LivePage(max_viewers=2) as page, closing(Stream(page)), closing(Stream(page)) as second:
        second.next()
        status, headers, body = page.get("/events")
        assert (status, headers["retry-after"], body) == (503, "10", b"too many viewers, try again later\n")
        assert page.get("/")[0] == 200
        second.close()
        wait_until(lambda: len(page.viewers) == 1, what="the second one's leaving")
        with closing(Stream(page)) as third:
            assert third.next()[0] == "fleet"


def test_a_client_that_asks_too_fast_is_told_so_and_served_again_later():
    with LivePage(requests_per_second=5) as page:
        answers = [page.get("/page.js")[0] for _ in range(30)]
        assert answers[:10] == [200] * 10
        assert 429 in answers
        wait_until(lambda: page.get("/page.js")[0] == 200, what="the client's being served again")


def test_a_viewer_that_reads_nothing_loses_frames_and_holds_nobody_up(monkeypatch):
    monkeypatch.setattr("forecaster.web.broadcast.EVERY_S", 0.002)
    with LivePage() as page, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.connect(page.server_address())
        page.feed("a", [float(n) for n in range(240)])
        slow.sendall(b"GET /events?name=a HTTP/1.1\r\nHost: localhost\r\n\r\n")

        def lost() -> bool:
            page.feed("a", [1.0], first=240 + page.broadcast.fleet.version("a"))
            return page.viewers.dropped > 20

        wait_until(lost, what="the loss of frames")
        with closing(Stream(page)) as quick:
            began = time.monotonic()
            assert [quick.next()[0] for _ in range(20)] == ["fleet"] * 20
            assert time.monotonic() - began < 5


def test_the_server_ends_at_once_although_viewers_look():
    with LivePage() as page:
        streams = [Stream(page) for _ in range(10)]
        for stream in streams:
            stream.next()
        page.server.should_exit = True
        page.thread.join(5)
        assert not page.thread.is_alive()
        for stream in streams:
            stream.close()
