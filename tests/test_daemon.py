"""The loop over an in-memory broker: what is counted, what is committed, and what a failure does."""

import json
import threading
import urllib.error
import urllib.request
from contextlib import nullcontext

import builders
import pytest
from prometheus_client import CollectorRegistry

from forecaster.checkpoint.reader import Reader
from forecaster.config import Settings
from forecaster.daemon import Daemon, _on_a_thread
from forecaster.errors import BrokerUnavailableError, ConfigError, PoisonError
from forecaster.networks.kinds import AnyNetwork
from forecaster.records import Message, RecordBatch
from forecaster.telemetry.metrics import Metrics
from forecaster.testing import FakeClock, MemoryBroker, MemoryClient
from forecaster.web.endpoints import Endpoints

START = builders.START_MS


class Until(MemoryClient):
    """Stops the daemon once everything has been polled and committed."""

    daemon: Daemon

    def poll(self, timeout_ms: int) -> RecordBatch:
        records = super().poll(timeout_ms)
        idle = not len(records) and not self.daemon.checkpoints.busy
        if idle and self.broker.available and not self._stale and not self._dropped:
            self.daemon.stopping.set()
        return records


def tick(series: str, step: int, value: float | str = 1.0) -> Message:
    text = json.dumps({"series": series, "ts": START + 1000 * step, "value": value})
    return Message("ticks", series.encode(), text.encode())


def start(
    broker: MemoryBroker, clock: FakeClock, settings: Settings | None = None, made: AnyNetwork | None = None
) -> Daemon:
    line = builders.pipeline(settings, made)

    def reader(partition: int) -> Reader:
        return Reader(line.settings.kafka.group_id, partition, line.identity)

    client = Until(line.settings, None, "test", reader, broker=broker)
    daemon = client.daemon = Daemon(line, client, Metrics(), clock)
    daemon.stopping.wait = lambda _=None: daemon.stopping.is_set()  # type: ignore[method-assign]  # no waiting
    client.start()
    return daemon


def settle(daemon: Daemon) -> None:
    """Let the daemon take all ticks, and write every checkpoint that is due."""
    for _ in range(2):
        daemon.stopping.clear()
        daemon.loop()


@pytest.fixture
def broker() -> MemoryBroker:
    made = MemoryBroker(FakeClock(START / 1000))
    made.create_topic("ticks", 2)
    return made


def forecasts(broker: MemoryBroker) -> list[tuple[str, int]]:
    bodies = [json.loads(record.value) for record in broker.records("forecasts")]
    return [(body["series"], (body["origin"] - START) // 1000) for body in bodies]


def test_every_tick_is_forecast_once_and_committed_behind(broker: MemoryBroker) -> None:
    for step in range(5):
        for series in ("a", "b"):
            broker.append(tick(series, step))
    daemon = start(broker, FakeClock(START / 1000 + 9))
    daemon.loop()
    assert sorted(forecasts(broker)) == [(series, step) for series in "ab" for step in range(5)]
    committed = sum(offset for (_, topic, _), offset in broker.committed.items() if topic == "ticks")
    assert committed == 10
    registry = daemon.metrics.registry
    assert registry.get_sample_value("forecaster_ticks_total", {"outcome": "forecast"}) == 10
    assert registry.get_sample_value("forecaster_forecasts_total") == 10
    assert registry.get_sample_value("forecaster_tick_to_forecast_seconds_count") == 10
    assert registry.get_sample_value("forecaster_series") == 2


def test_a_tick_of_an_unknown_code_is_forecast_from_and_counted(broker: MemoryBroker) -> None:
    for step, code in enumerate(["up", "sideways", "flat", "backwards"]):
        broker.append(tick("a", step, code))
    daemon = start(broker, FakeClock(START / 1000 + 9), made=builders.code_network())
    daemon.loop()
    assert daemon.metrics.registry.get_sample_value("forecaster_forecasts_total") == 4
    assert daemon.metrics.registry.get_sample_value("forecaster_unknown_codes_total") == 2


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
@pytest.mark.parametrize("operation", ["publish", "commit"])
def test_a_failure_gives_the_state_up_and_goes_on_from_the_commit(broker: MemoryBroker, operation, delivery) -> None:
    for step in range(6):
        broker.append(tick("a", step))
    daemon = start(broker, FakeClock(START / 1000), Settings(delivery=delivery))
    daemon.client.fail_next(operation)
    daemon.loop()
    published = forecasts(broker)
    repeats = 2 if (operation, delivery) == ("commit", "at_least_once") else 1  # published before the commit failed
    assert sorted(published) == sorted([("a", step) for step in range(6)] * repeats)
    assert daemon.metrics.registry.get_sample_value("forecaster_broker_failures_total") == 1
    assert daemon.metrics.registry.get_sample_value("forecaster_ticks_total", {"outcome": "forecast"}) == 6


def test_while_publishing_fails_the_pauses_grow_although_partitions_are_placed_in_between(broker) -> None:
    class Slow(Until):
        """Returns nothing from the poll that places a partition, as a real broker does."""

        def _take(self, limit: int) -> list:
            return [] if self._dropped else super()._take(limit)

    broker.append(tick("a", 0))
    line = builders.pipeline()
    client = Slow(line.settings, None, "test", broker=broker)
    daemon = client.daemon = Daemon(line, client, Metrics(), FakeClock(START / 1000))
    pauses: list[float] = []
    daemon.stopping.wait = pauses.append  # type: ignore[method-assign]
    client.start()
    client.fail_next("publish", 6)
    daemon.loop()
    assert pauses == [0.0, 0.5, 1.0, 2.0, 4.0, 5.0]
    assert forecasts(broker) == [("a", 0)]


def test_a_checkpoint_waits_while_the_group_is_rebalanced(broker: MemoryBroker) -> None:
    clock = FakeClock(START / 1000)
    daemon = start(broker, clock)
    broker.append(tick("a", 0))
    settle(daemon)
    clock.advance(61)
    joined, daemon.client.joined = daemon.client.joined, lambda: False
    daemon._turn()
    assert daemon.checkpoints.busy
    daemon._turn()
    assert broker.records("forecasts.state") == []
    daemon.client.joined = joined
    daemon._turn()
    assert broker.records("forecasts.state")


def test_a_clock_that_is_set_back_holds_no_checkpoint_up(broker: MemoryBroker) -> None:
    clock = FakeClock(START / 1000)
    daemon = start(broker, clock)
    broker.append(tick("a", 0))
    clock.advance(-3600)
    settle(daemon)
    assert broker.records("forecasts.state")


def test_dead_letters_from_before_the_clock_was_set_back_count_no_more() -> None:
    broker, clock = MemoryBroker(), FakeClock(START / 1000)
    broker.create_topic("ticks", 1)
    daemon = limited(broker, clock, topics={"dead_letters_per_minute": 8})
    for back_s in (0, 3600):
        for message in junk(5):
            broker.append(message)
        clock.advance(-back_s)
        daemon.stopping.clear()
        daemon.loop()
    assert len(broker.records("forecasts.dlq")) == 10


def test_a_restart_replays_in_silence_and_goes_on_with_the_same_forecasts(broker: MemoryBroker) -> None:
    undisturbed = MemoryBroker(FakeClock(START / 1000))
    undisturbed.create_topic("ticks", 2)
    for step in range(20):
        for target in (broker, undisturbed):
            target.append(tick("a", step, value=step % 7))
        if step == 9:
            first = start(broker, FakeClock(START / 1000))
            first.loop()
            first.client.close()
    second = start(broker, FakeClock(START / 1000))
    second.loop()
    start(undisturbed, FakeClock(START / 1000)).loop()
    left, right = (
        [json.loads(record.value) | {"scale": 1.0} for record in one.records("forecasts")]
        for one in (broker, undisturbed)
    )
    builders.assert_equal(left, right)
    assert second.metrics.registry.get_sample_value("forecaster_replayed_records_total") == 10
    assert second.metrics.registry.get_sample_value("forecaster_ticks_total", {"outcome": "forecast"}) == 10


def checkpoint_metric(daemon: Daemon, name: str, **labels: str) -> float | None:
    daemon.metrics.show_checkpoints("ticks", daemon.checkpoints.whole())
    return daemon.metrics.registry.get_sample_value(f"forecaster_checkpoint_{name}", labels)


def test_the_age_of_a_checkpoint_counts_from_the_last_time_that_nothing_was_missing(broker: MemoryBroker) -> None:
    clock = FakeClock(START / 1000)
    daemon = start(broker, clock)
    begun = clock.now

    def whole(partition: str) -> float | None:
        return checkpoint_metric(daemon, "timestamp_seconds", topic="ticks", partition=partition)

    broker.append(tick("a", 0), partition=0)
    daemon.loop()
    assert (whole("0"), whole("1")) == (begun, begun)
    clock.advance(61)
    settle(daemon)
    assert whole("0") == begun + 61
    clock.advance(61)
    settle(daemon)  # nothing has come: the checkpoint is as good as a new one
    assert whole("0") == begun + 122
    daemon.client.revoke([0])
    settle(daemon)
    assert checkpoint_metric(daemon, "failures_total", reason="interrupted") == 0


def test_a_checkpoint_that_a_failure_ends_is_counted(broker: MemoryBroker) -> None:
    clock = FakeClock(START / 1000)
    daemon = start(broker, clock)
    broker.append(tick("a", 0))
    daemon.loop()
    clock.advance(61)
    daemon.client.fail_next("publish")
    settle(daemon)
    assert checkpoint_metric(daemon, "failures_total", reason="interrupted") == 1


def test_without_checkpoints_none_has_an_age(broker: MemoryBroker) -> None:
    daemon = start(broker, FakeClock(START / 1000), Settings(state={"checkpoint_interval": "0s"}))
    broker.append(tick("a", 0), partition=0)
    daemon.loop()
    assert checkpoint_metric(daemon, "timestamp_seconds", topic="ticks", partition="0") is None
    assert checkpoint_metric(daemon, "interval_seconds") == 0


def test_a_restart_goes_on_from_the_last_checkpoint_and_replays_only_what_lies_behind_it(broker: MemoryBroker) -> None:
    undisturbed = MemoryBroker(FakeClock(START / 1000))
    undisturbed.create_topic("ticks", 2)
    clock = FakeClock(START / 1000)
    daemon = start(broker, clock)
    for step in range(40):
        for target in (broker, undisturbed):
            target.append(tick("a", step, value=step % 7))
            target.append(tick("b", step, value=step % 5))
        if step in (9, 19):
            settle(daemon)
            clock.advance(61)
            settle(daemon)
        if step == 24:
            settle(daemon)
            daemon.client.close()
    second = start(broker, clock)
    second.loop()
    start(undisturbed, FakeClock(START / 1000)).loop()
    left, right = (
        [json.loads(record.value) | {"scale": 1.0} for record in one.records("forecasts")]
        for one in (broker, undisturbed)
    )
    builders.assert_equal(left, right)
    assert second.metrics.registry.get_sample_value("forecaster_replayed_records_total") == 2 * 5
    assert second.metrics.registry.get_sample_value("forecaster_restores_total", {"source": "checkpoint"}) == 2
    assert second.metrics.registry.get_sample_value("forecaster_series") == 2


def test_a_failure_in_the_middle_of_a_checkpoint_leaves_the_one_before_it(broker: MemoryBroker) -> None:
    clock = FakeClock(START / 1000)
    daemon = start(broker, clock)
    for step in range(30):
        broker.append(tick("a", step, value=step % 7))
        if step in (9, 19):
            settle(daemon)
            clock.advance(61)
            daemon.stopping.clear()
            daemon.loop()
            if step == 19:
                daemon.client.fail_next("commit")
            settle(daemon)
    settle(daemon)
    assert [step for _, step in forecasts(broker)] == list(range(30))
    assert daemon.metrics.registry.get_sample_value("forecaster_replayed_records_total") == 10


def test_a_partition_that_leaves_takes_its_series_along(broker: MemoryBroker) -> None:
    for number in range(2):
        broker.append(tick(f"s{number}", 0), partition=number)
    daemon = start(broker, FakeClock(START / 1000))
    daemon.loop()
    assert len(daemon.pipeline.windows.slots) == 2
    daemon.client.revoke([1])
    daemon.stopping.clear()
    daemon.loop()
    assert daemon.pipeline.windows.slots.names[0] == "s0"
    assert len(daemon.pipeline.windows.slots) == 1
    assert daemon.metrics.registry.get_sample_value("forecaster_series") == 1


def test_a_stop_while_the_output_cannot_be_flushed_says_so(broker: MemoryBroker) -> None:
    broker.append(tick("a", 0))
    daemon = start(broker, FakeClock(START / 1000))
    publish = daemon.client.publish

    def stopped(messages, state) -> None:
        daemon.stopping.set()
        daemon.client.fail_next("publish")
        publish(messages, state)

    daemon.client.publish = stopped
    with pytest.raises(BrokerUnavailableError, match="not flushed"):
        daemon.loop()
    assert ("forecaster", "ticks", 0) not in {k for k, v in broker.committed.items() if v}


def test_probes_answer_by_their_function_and_anything_else_is_not_found() -> None:
    good = threading.Event()
    with Endpoints("127.0.0.1", 0, CollectorRegistry(), {"/readyz": good.is_set}) as endpoints:

        def status(path: str) -> int:
            try:
                return urllib.request.urlopen(f"http://127.0.0.1:{endpoints.port}{path}", timeout=5).status
            except urllib.error.HTTPError as error:
                error.close()
                return error.code

        assert status("/readyz") == 503
        good.set()
        assert status("/readyz") == 200
        assert status("/metrics") == 200
        assert status("/etc/passwd") == 404


def test_a_port_that_is_taken_is_named() -> None:
    with (
        Endpoints("127.0.0.1", 0, CollectorRegistry(), {}) as endpoints,
        pytest.raises(ConfigError, match=r"metrics\.port"),
    ):
        Endpoints("127.0.0.1", endpoints.port, CollectorRegistry(), {})


def limited(broker: MemoryBroker, clock: FakeClock, **state_and_topics) -> Daemon:
    setup = Settings(kafka={"max_poll_records": 5}, **state_and_topics)
    line = builders.pipeline(setup)
    client = Until(setup, None, "test", broker=broker)
    daemon = client.daemon = Daemon(line, client, Metrics(), clock)
    daemon.stopping.wait = lambda _=None: daemon.stopping.is_set()  # type: ignore[method-assign]
    client.start()
    return daemon


def junk(count: int) -> list[Message]:
    return [Message("ticks", b"k", b"{" if n % 3 else b"") for n in range(count)]


def test_too_many_dead_letters_within_a_minute_stop_the_daemon_before_the_batch_is_published() -> None:
    broker, clock = MemoryBroker(FakeClock(START / 1000)), FakeClock(START / 1000)
    broker.create_topic("ticks", 1)
    for message in [*junk(4), tick("a", 0), *junk(5)]:  # two polls of five
        broker.append(message)
    daemon = limited(broker, clock, topics={"dead_letters_per_minute": 8})
    daemon.client.fail_next("publish")  # what is tried twice counts once
    with pytest.raises(PoisonError) as stopped:
        daemon.loop()
    assert str(stopped.value) == (
        "topics.dead_letters_per_minute: 9 within a minute, more than 8 (not_json 5, empty 4); "
        "stopped before the batch whose first is ticks/0/5"
    )
    assert stopped.value.exit_code == 1
    assert len(broker.records("forecasts.dlq")) == 4
    assert broker.committed["forecaster", "ticks", 0] == 5


@pytest.mark.parametrize(
    ("limit", "apart_s", "stops"), [(8, 59.9, True), (8, 60.0, False), (10, 0.0, False), (9, 0.0, True)]
)
def test_dead_letters_count_for_a_minute(limit, apart_s, stops) -> None:
    broker, clock = MemoryBroker(), FakeClock(START / 1000)
    broker.create_topic("ticks", 1)
    daemon = limited(broker, clock, topics={"dead_letters_per_minute": limit})
    for message in junk(5):
        broker.append(message)
    daemon.loop()
    clock.advance(apart_s)
    daemon.stopping.clear()
    for message in junk(5):
        broker.append(message)
    with pytest.raises(PoisonError) if stops else nullcontext():
        daemon.loop()
    assert len(broker.records("forecasts.dlq")) == (5 if stops else 10)


def test_evictions_and_series_in_two_partitions_are_counted_and_warned_of_once_a_minute(broker, caplog) -> None:
    clock = FakeClock(START / 1000)
    daemon = limited(broker, clock, state={"max_series": 3})
    for minute in range(3):
        for n in range(10):
            broker.append(tick(f"s{n}", 3 * minute + n // 5, float(n)), partition=n // 5)
        broker.append(tick("s0", 3 * minute + 1), partition=0)
        broker.append(tick("s0", 3 * minute + 1), partition=1)
        daemon.stopping.clear()
        daemon.loop()
        clock.advance(40)  # the second minute is told of with the third
    registry = daemon.metrics.registry
    evicted = registry.get_sample_value("forecaster_series_evicted_total", {"reason": "limit"})
    warnings = [record for record in caplog.records if record.levelname == "WARNING" and record.name == "forecaster"]
    told = [record.fields["count"] for record in warnings if record.getMessage() == "series_evicted"]
    assert evicted == daemon.pipeline.windows.slots.begun.total() - len(daemon.pipeline.windows.slots)
    assert len(told) == 2
    shared = [record.fields for record in warnings if record.getMessage() == "series_in_two_partitions"]
    assert shared[0] == {"count": 1, "series": "s0", "partition": 1, "owner": 0}
    assert registry.get_sample_value("forecaster_series_in_two_partitions_total") >= sum(f["count"] for f in shared)


def test_a_shape_that_cannot_be_compiled_is_told_and_serving_goes_on(caplog):
    def compile_next() -> bool:
        raise RuntimeError("no\nroom")

    caplog.set_level("INFO")
    with _on_a_thread(compile_next):
        pass
    assert [record.fields["error"] for record in caplog.records if record.getMessage() == "shape_not_compiled"] == [
        "no room"
    ]


def test_compiling_ends_with_what_it_runs_beside():
    calls = []
    with _on_a_thread(lambda: not calls.append(1)):
        while not calls:
            pass
    assert all(thread.name != "compile" for thread in threading.enumerate())
