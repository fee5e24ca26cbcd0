"""Break things on a real broker, and count what is lost, doubled or different.

    make chaos                        every row, to the count of a full run
    make chaos ARGS="kill --count 50" one row, until it has 50 faults in all
    make chaos-short                  each fault once on one stream, in under five minutes

Results are lines of .cache/chaos/<row>.jsonl: a call goes on from what is there and adds to it (delete the
file, or give another --results folder, to begin anew). A line is one stream that was judged, with all the
faults that happened to it. The last line of the output is one JSON object with the sums of every row and
the names of those that failed; the exit code is 1 if any did.

A stream is of numbered ticks. At its end the oracle reads the forecasts with read_committed and compares
them with what the ticks alone say must be there and with an undisturbed run of the same ticks. It knows
nothing of the daemon's code. With --delivery at_least_once the same rows show that it can fail: `doubled`
is not 0 there, `lost` must be.

With --stream the ticks have channels, covariates, codes or whatever else it names, and the bundle is for those;
sessions and a change of the clocks come with some. Give the results of each a folder of their own.

With --client librdkafka the daemons read and write by the other library; give its results a folder of their own.

Daemons stop at labelled points inside the client library (`traps`), on a signal to themselves. They are forked
from a process that has imported TensorFlow (`zygote`), which takes a second each instead of ten.

| row | what happens |
|---|---|
| kill | kill -9 at each labelled point in turn and at random times; every other stream holds ticks back |
| broker-kill, broker-stop-70s, broker-stop-10min | the broker dies in mid-transaction; memory stays flat |
| scale, rolling-restart | 1 → 4 → 1 workers; three static members restarted in turn, the generation unchanged |
| zombie, twin | SIGSTOP in mid-transaction past the session, then SIGCONT; two workers of one identity |
| undeliverable | the output topic's min.insync.replicas raised in mid-transaction, above the replicas that are alive |
| cut-commit, latency, half-open | a proxy cuts once the broker has an EndTxn, delays, or swallows everything |
| state-… | records of the state topic altered, deleted, from another bundle, of a newer format |
| offsets-back | an operator sets the group back by 10,000 records |
| sigterm | SIGTERM under load, every other time without a broker |
| disk-full, no-space, clock-back | the broker's disk and the daemon's are full; the daemon's clock jumps back an hour |
| hostile, keys | 10,000,000 records that nobody should send; 10,000,000 series, more than are kept |
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from integration.kafka_broker import KafkaBroker

from chaos.ledger import Ledger, Tally, failed, guarded
from chaos.proxy import Proxy
from chaos.rows import ROWS, run_short
from chaos.scene import Rig
from chaos.streams import STREAMS
from chaos.worker import ROOT, Zygote

RESULTS = ROOT / ".cache" / "chaos"


def main() -> None:
    options = _arguments()
    with rig(options.delivery, options.client, options.stream, keep=options.keep) as made:
        totals = run_short(made) if options.short else _rows(made, options)
    print(json.dumps({"rows": totals, "failed": [name for name, total in totals.items() if failed(total)]}))
    sys.exit(any(map(failed, totals.values())))


def _rows(made: Rig, options: argparse.Namespace) -> dict[str, Tally]:
    names = options.rows or list(ROWS)
    for name in names:
        _continue(made, name, Ledger(options.results, name), options.count)
    return {name: Ledger(options.results, name).total() for name in names}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description="Break things and count what is lost.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"all if none is named: {', '.join(ROWS)}")
    parser.add_argument("--short", action="store_true", help="each fault once on one stream, in under five minutes")
    parser.add_argument("--count", type=int, help="stop a row at so many faults, those of earlier runs included")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results that runs add to")
    parser.add_argument("--delivery", choices=("exactly_once", "at_least_once"), default="exactly_once")
    parser.add_argument("--client", choices=("kafka-python", "librdkafka"), default="kafka-python")
    parser.add_argument("--stream", choices=STREAMS, default="values", help="what the ticks are, and the network")
    parser.add_argument("--keep", action="store_true", help="keep the folder with configurations and logs")
    options = parser.parse_args()
    for name in set(options.rows) - ROWS.keys():
        parser.error(f"no row {name!r}: there are {', '.join(ROWS)}")
    return options


def _continue(rig_: Rig, name: str, ledger: Ledger, count: int | None) -> None:
    """Go on with a row from what is done until it has its number of faults."""
    row = ROWS[name]
    upto = row.full if count is None else count
    while (done := ledger.total()["faults"]) < upto:
        tally = guarded(lambda done=done: row.run(rig_, done, upto))
        ledger.append(tally)
        print(json.dumps({"row": name, **tally}), flush=True)
        if not tally["faults"]:
            return  # skipped, or broken before the first fault: no other try would end otherwise


@contextmanager
def rig(delivery: str, client: str, stream: str = "values", *, keep: bool = False) -> Iterator[Rig]:
    """A broker behind a proxy, a zygote and a bundle, in a folder that goes away."""
    folder = Path(tempfile.mkdtemp(prefix="forecaster-chaos-"))
    proxy = Proxy()
    broker = KafkaBroker(proxy_port=proxy.port)
    zygote = Zygote(folder / "compiled", client)
    try:
        broker.start()
        broker.register_second()
        proxy.start(broker.behind_port)
        yield Rig(folder, delivery, zygote, zygote.bundle(folder / "bundle", stream), stream, broker, proxy)
    finally:
        zygote.close()
        proxy.close()
        broker.close()
        if keep:
            print(folder, file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
