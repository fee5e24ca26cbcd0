"""After a scale-down the pods that are gone leave the group at once, on a real Apache Kafka."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from integration.helpers import unique
from integration.rigs import KafkaRig, Reader, group_of
from kafka import KafkaAdminClient

from forecaster.cli import operate as cli_operate
from forecaster.config import Settings
from forecaster.errors import BrokerUnavailableError, ForecasterError
from forecaster.kafka.client import Client
from forecaster.kafka.python_members import remove_members

pytestmark = pytest.mark.kafka

SESSION_S = 60  # far longer than these tests wait for anything


@pytest.fixture
def rig(kafka: str) -> Iterator[KafkaRig]:
    made = KafkaRig(kafka)
    made.settings = group_of(made.settings, session_timeout=SESSION_S * 1_000)
    yield made
    made.close()


def member(rig: KafkaRig, pod: str, worker: int = 1) -> Client:
    client = rig.client(settings=group_of(rig.settings, group_instance_id=pod, worker_index=worker))
    client.start()
    return client


def both_joined(rig: KafkaRig, *pods: str) -> list[Client]:
    clients = [member(rig, pod) for pod in pods]
    rig.poll_until([Reader(client) for client in clients], lambda: all(client.positions() for client in clients))
    return clients


def ids(settings: Settings) -> set[str]:
    with closing(KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)) as admin:
        members = admin.describe_groups([settings.kafka.group_id])[settings.kafka.group_id]["members"]
    return {found["group_instance_id"] for found in members}


def remove(rig: KafkaRig, replicas: int, answers=lambda _: False, name: str = "fc") -> list[str]:
    return remove_members(rig.settings, "test", name, replicas, answers)


def test_the_pods_that_stay_have_all_partitions_long_before_the_session_of_the_others_ends(rig: KafkaRig) -> None:
    stays, goes = both_joined(rig, "fc-0", "fc-1")
    goes.close()
    assert ids(rig.settings) == {"fc-0-1", "fc-1-1"}  # a static member does not leave by itself
    began = time.monotonic()
    assert remove(rig, 1) == ["fc-1-1"]
    rig.poll_until([Reader(stays)], lambda: set(stays.positions()) == {0, 1})
    assert time.monotonic() - began < SESSION_S / 2
    assert ids(rig.settings) == {"fc-0-1"}


def test_members_of_other_names_and_pods_that_are_to_be_stay(rig: KafkaRig) -> None:
    for client in both_joined(rig, "other-fc-7", "fc-1"):
        client.close()
    assert remove(rig, 2) == []
    assert remove(rig, 0, name="f") == []
    assert ids(rig.settings) == {"other-fc-7-1", "fc-1-1"}


def test_a_pod_that_still_runs_is_waited_for(rig: KafkaRig) -> None:
    asked: list[str] = []

    def answers(pod: str) -> bool:
        asked.append(pod)
        return len(asked) < 3

    client = member(rig, "fc-1")
    rig.poll_until([Reader(client)], lambda: len(client.positions()) == 2)
    client.close()
    assert remove(rig, 1, answers) == ["fc-1-1"]
    assert asked == ["fc-1"] * 3


def test_a_pod_that_never_ends_is_named_and_stays(rig: KafkaRig) -> None:
    client = member(rig, "fc-1")
    rig.poll_until([Reader(client)], lambda: len(client.positions()) == 2)
    rig.settings = group_of(rig.settings, shutdown_timeout=1, session_timeout=1)
    with pytest.raises(ForecasterError, match=r"^fc-1-1: still running, and so left in group"):
        remove(rig, 1, lambda _: True)
    assert ids(rig.settings) == {"fc-1-1"}


def test_a_group_without_members_is_nothing_to_do(rig: KafkaRig) -> None:
    assert remove(rig, 0) == []


def test_a_broker_that_is_away_is_named_within_the_startup_timeout(rig: KafkaRig) -> None:
    rig.settings = group_of(rig.settings, bootstrap_servers="127.0.0.1:1", startup_timeout=500)
    with pytest.raises(BrokerUnavailableError, match=r"^kafka\.bootstrap_servers: "):
        remove(rig, 0)


def test_the_command_says_whom_it_removed(rig: KafkaRig, tmp_path: Path) -> None:
    member_of = both_joined(rig, "fc-0", "fc-3")
    for client in member_of:
        client.close()
    config = tmp_path / "forecaster.toml"
    kafka = rig.settings.kafka
    config.write_text(f'[kafka]\nbootstrap_servers = "{kafka.bootstrap_servers}"\ngroup_id = "{kafka.group_id}"\n')
    pods = ["--statefulset", "fc", "--replicas", "1", "--service", f"{unique('nowhere')}.invalid"]
    command = [sys.executable, "-m", "forecaster", "remove-members", "--config", config, *pods]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"removed from group {kafka.group_id}: fc-3-1\n"), done.stderr


def test_a_pod_counts_as_running_while_nobody_can_tell_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(number: int):
        def connect(*_: object, **__: object) -> None:
            raise cli_operate.socket.gaierror(number, "no answer")

        return connect

    monkeypatch.setattr(cli_operate.socket, "create_connection", failing(cli_operate.socket.EAI_AGAIN))
    assert cli_operate._listens("fc-1.fc", 9108)
    monkeypatch.setattr(cli_operate.socket, "create_connection", failing(cli_operate.socket.EAI_NONAME))
    assert not cli_operate._listens("fc-1.fc", 9108)
