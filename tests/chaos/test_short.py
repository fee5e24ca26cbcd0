"""The short run, as part of all tests; `python -m chaos` breaks more."""

import json
import os
import subprocess
import sys

import pytest
from integration.kafka_broker import missing_tools

from chaos.rows import SHORT
from chaos.traps import LABELS
from chaos.worker import ROOT

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]


@pytest.mark.parametrize(("client", "stream"), [("kafka-python", "values"), ("librdkafka", "channels")])
def test_every_fault_once_loses_nothing_and_doubles_nothing(client: str, stream: str) -> None:
    missing = missing_tools()
    if missing is not None:
        refuse = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        refuse(f"NO KAFKA, NO FAULT SURVIVED: {missing}")
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    done = subprocess.run(
        [sys.executable, "-m", "chaos", "--short", "--client", client, "--stream", stream],
        capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    said = f"{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, said
    rows = json.loads(done.stdout.splitlines()[-1])["rows"]
    assert rows["kill"]["kills"] == dict.fromkeys([*LABELS, "random"], 1), said
    assert all(rows[name]["faults"] == 1 for name in SHORT), said
    judged = rows["stream"]
    assert judged["ticks"] > 36_000
    assert (judged["lost"], judged["doubled"], judged["different"]) == (0, 0, 0)
