"""A process that has imported TensorFlow and forks a daemon on request: a second each instead of ten.

It runs no operation itself, so that the runtime of each child is its own. Requests and answers
are JSON lines over its standard input and output.
"""

import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from chaos import traps


def main() -> None:
    """Answer requests until the input ends, then kill every child that is left."""
    import forecaster.bundle.store
    import forecaster.daemon
    import forecaster.kafka.clients
    import forecaster.kafka.rdkafka_group
    import forecaster.kafka.rdkafka_publisher
    import forecaster.pipeline  # noqa: F401

    children: set[int] = set()
    actions = {"run": _run, "bundle": _bundle}
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "exit-code":
            answer = _exit_code(request["pid"], children)
        else:
            pid = _fork(actions[request["do"]], request)
            children.add(pid)
            answer = {"pid": pid}
        print(json.dumps(answer), flush=True)
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _exit_code(pid: int, children: set[int]) -> dict[str, int | None]:
    """The exit code of a child that ended (negative: a signal), null for one that lives."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    if not ended:
        return {"code": None}
    children.discard(pid)
    return {"code": os.waitstatus_to_exitcode(status)}


def _fork(action: Any, request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.environ.update(request.get("environment", {}))
        code = action(request)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001  # the child must never come back to the loop of its parent
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)


def _run(request: dict[str, Any]) -> int:
    from forecaster.cli.main import main as command_line

    traps.install(Path(request["trap"]), request["topics"], request["client"])
    if "FAKETIME_TIMESTAMP_FILE" in os.environ:
        # libfaketime makes clock_nanosleep fail where it leaves the monotonic clock alone; waiting is as good
        time.sleep = lambda seconds: threading.Event().wait(seconds) and None
    command_line(["run", "--config", request["config"]])
    return 0


def _bundle(request: dict[str, Any]) -> int:
    from chaos.bundles import drawn
    from forecaster.bundle.store import save_bundle
    from forecaster.networks.kinds import make_engine

    manifest, network = drawn(request["stream"], request["seed"])
    engine = make_engine(network)
    engine.warm_up()  # fills the cache of compiled shapes
    while engine.compile_next():
        pass
    save_bundle(Path(request["folder"]), manifest, network)
    return 0


if __name__ == "__main__":
    main()
