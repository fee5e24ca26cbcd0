"""What viewers of the live page cost: a daemon without a page, with one that nobody looks at, with a hundred viewers.

python -m benchmarks.viewers [--quick] [--save]

Each viewer looks at a series of its own. They read in one process at the lowest priority: in life they sit elsewhere.
The three take turns with backlogs of the same size; the daemon with a page is one, with and without its viewers.
"""

import json
import os
import selectors
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from urllib.parse import quote
from urllib.request import urlopen

from integration.helpers import wait_until

from benchmarks.contender import Contender, Setup
from benchmarks.harness import Lab, Series, main
from benchmarks.load import companion
from benchmarks.report import Report

SERIES, TICKS, VIEWERS = 10_000, 400_000, 100
EVENT = b"event: fleet"


def measure(lab: Lab, *, quick: bool) -> Report:
    report, ticks = Report(), TICKS // (4 if quick else 1)
    with Contender(lab, Setup("librdkafka")) as plain, Contender(lab, Setup("librdkafka", page=True)) as paged:
        daemons = [(plain.start().ready(), Series(SERIES)), (paged.start().ready(), Series(SERIES))]
        for daemon, series in daemons:
            daemon.rate(series.ticks(2 * SERIES))
        (_, without), (_, series) = daemons
        names = wait_until(lambda: drawn_names(paged.page_port), 60, what="a hundred series on the page")
        for _ in range(1 if quick else 7):
            report.add("viewers.no_page_per_s", plain.rate(without.ticks(ticks)))
            report.add("viewers.none_per_s", paged.rate(series.ticks(ticks)))
            with viewers(paged.page_port, names) as seen:
                report.add("viewers.hundred_per_s", paged.rate(series.ticks(ticks)))
                report.add("viewers.frames_per_viewer", frames(seen) / VIEWERS)
    report.ratio("viewers.hundred_over_none", "viewers.hundred_per_s", "viewers.none_per_s")
    report.ratio("viewers.hundred_over_no_page", "viewers.hundred_per_s", "viewers.no_page_per_s")
    return report


def drawn_names(port: int) -> list[str]:
    """A hundred series that the page knows; none while it knows fewer."""
    found: set[str] = set()
    for digit in range(10):
        with urlopen(f"http://127.0.0.1:{port}/search?q=sensor-{digit}", timeout=20) as answer:
            found |= set(json.load(answer)["names"])
    return sorted(found)[:VIEWERS] if len(found) >= VIEWERS else []


@contextmanager
def viewers(port: int, names: list[str]) -> Iterator[Connection]:
    """A viewer of each of `names`, all of whom have had a frame; `frames` asks how many they have had."""
    with companion(look, port, names) as ours:
        yield ours


def frames(seen: Connection) -> int:
    """Frames that all viewers together have had so far."""
    seen.send(None)
    return int(seen.recv())


def look(port: int, names: list[str], answer: Connection) -> None:
    """Open the stream of each name and read; says how many have come once all have had one, and when asked."""
    os.nice(19)
    chosen, waiting, count = selectors.DefaultSelector(), set(), 0
    for name in names:
        viewer = socket.create_connection(("127.0.0.1", port))
        viewer.sendall(f"GET /events?name={quote(name)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        chosen.register(viewer, selectors.EVENT_READ)
        waiting.add(viewer)
    chosen.register(answer, selectors.EVENT_READ)
    while True:
        for key, _ in chosen.select():
            if key.fileobj is answer:
                answer.recv()
                answer.send(count)
                continue
            found = key.fileobj.recv(2**16).count(EVENT)  # type: ignore[union-attr]
            count += found
            if found and waiting:
                waiting.discard(key.fileobj)
                if not waiting:
                    answer.send(count)


if __name__ == "__main__":
    main("viewers", __doc__, measure)
