"""What every Kafka client must do: one suite over the broker in memory and over a real Apache Kafka."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from itertools import product

import pytest
from integration.helpers import create_topics, kcat, unique, wait_until
from integration.kafka_broker import KafkaBroker, free_port
from integration.rigs import (
    LIBRARIES,
    Delivery,
    KafkaRig,
    Library,
    MemoryRig,
    Reader,
    Rig,
    group_of,
    make_settings,
    topics_of,
)

from forecaster.errors import BrokerUnavailableError, ConfigError, ForecasterError, RetryableError
from forecaster.kafka.client import Client
from forecaster.kafka.clients import make_client
from forecaster.records import Message

HOUR_MS = 3_600_000


DELIVERIES: tuple[Delivery, ...] = ("at_least_once", "exactly_once")
# of what has nothing to do with how messages are delivered
ONE_DELIVERY = pytest.mark.parametrize("delivery", ["exactly_once"])


@pytest.fixture(params=DELIVERIES)
def delivery(request: pytest.FixtureRequest) -> Delivery:
    found: Delivery = request.param
    return found


@pytest.fixture(params=["memory", *(pytest.param(name, marks=pytest.mark.kafka) for name in LIBRARIES)])
def rig(request: pytest.FixtureRequest, delivery: Delivery) -> Iterator[Rig]:
    name = request.param
    made: Rig = MemoryRig(delivery) if name == "memory" else KafkaRig(request.getfixturevalue("kafka"), delivery, name)
    yield made
    made.close()


@pytest.fixture
def kafka_rig(kafka: str, delivery: Delivery, library: Library) -> Iterator[KafkaRig]:
    made = KafkaRig(kafka, delivery, library)
    yield made
    made.close()


def started(client: Client) -> Reader:
    client.start()
    return Reader(client)


def numbered(first: int, last: int) -> list[bytes]:
    return [str(number).encode() for number in range(first, last)]


def deliver(reader: Reader, messages: list[Message]) -> None:
    """Publish and commit, as a member of the group."""
    wait_until(lambda: reader.poll() is not None and reader.client.joined(), what="membership")
    reader.client.publish(messages)
    reader.client.commit()


def run_once(rig: Rig, count: int) -> None:
    """An earlier run of the daemon that reads and commits `count` records."""
    reader = started(rig.client()).until(count)
    reader.client.commit()
    reader.client.close()


@ONE_DELIVERY
def test_everything_is_polled_once_and_in_order(rig: Rig) -> None:
    rig.send(numbered(0, 300), partition=0)
    rig.send(numbered(300, 400), partition=1)
    reader = started(rig.client()).until(400)
    assert reader.values(0) == numbered(0, 300)
    assert reader.values(1) == numbered(300, 400)
    assert [row[1] for row in reader.rows if row[0] == 0] == list(range(300))
    assert not any(row[3] for row in reader.rows)


@ONE_DELIVERY
def test_a_poll_returns_no_more_than_max_poll_records_grouped_by_partition(rig: Rig) -> None:
    rig.send(numbered(0, 50), partition=0)
    rig.send(numbered(0, 50), partition=1)
    reader = started(rig.client(settings=group_of(rig.settings, max_poll_records=30)))
    sizes = []
    while len(reader.rows) < 100:
        batch = reader.poll()
        sizes.append(len(batch))
        assert batch.partition.tolist() == sorted(batch.partition.tolist()) or len(set(batch.partition.tolist())) == 2
    assert max(sizes) <= 30


@ONE_DELIVERY
def test_null_values_keys_and_headers_arrive_as_they_were_sent(rig: Rig) -> None:
    rig.send([b"x"], key=b"k", headers=[("a", b"1"), ("a", b"2")], timestamp_ms=123_456_789)
    rig.send([None], key=b"gone", timestamp_ms=123_456_790)
    client = rig.client()
    client.start()
    batch = wait_until(lambda: (got := client.poll(100)) and got)
    assert batch.key == [b"k", b"gone"]
    assert batch.value == [b"x", None]
    assert list(batch.headers[0]) == [("a", b"1"), ("a", b"2")]
    assert list(batch.headers[1]) == []
    assert batch.timestamp_ms.tolist() == [123_456_789, 123_456_790]


@ONE_DELIVERY
def test_a_header_whose_key_is_no_utf8_does_not_stop_its_partition(kafka_rig: KafkaRig) -> None:
    class Latin1(str):
        __slots__ = ()

        def encode(self, *_: object) -> bytes:
            return super().encode("latin-1")

    kafka_rig.send([b"before"])
    kafka_rig.send([b"with"], headers=[(Latin1("gr\xfc\xdfe"), b"1"), ("plain", b"2")])
    kafka_rig.send([b"behind"], headers=[("plain", b"3")])
    reader = started(kafka_rig.client()).until(3)
    assert reader.values() == [b"before", b"with", b"behind"]
    assert [list(headers) for headers in reader.headers[1:]] == [
        [("gr\\xfc\\xdfe", b"1"), ("plain", b"2")],
        [("plain", b"3")],
    ]


def test_a_restart_goes_on_behind_the_commit(rig: Rig) -> None:
    rig.send(numbered(0, 10))
    run_once(rig, 10)
    rig.send(numbered(10, 15))
    reader = started(rig.client()).until(15)
    assert reader.values(silent=False) == numbered(10, 15)


def test_what_was_not_committed_is_delivered_again(rig: Rig) -> None:
    rig.send(numbered(0, 10))
    run_once(rig, 10)
    rig.send(numbered(10, 15))
    crashed = started(rig.client()).until(15)
    crashed.client.close()
    reader = started(rig.client()).until(15)
    assert reader.values(silent=False) == numbered(10, 15)


def test_exactly_the_records_below_the_commit_are_replayed_silently(rig: Rig) -> None:
    rig.send(numbered(0, 10), partition=0)
    rig.send(numbered(0, 5), partition=1)
    run_once(rig, 15)
    rig.send(numbered(10, 12), partition=0)
    reader = started(rig.client(span_ms=None)).until(17)
    assert reader.values(0, silent=True) == numbered(0, 10)
    assert reader.values(0, silent=False) == numbered(10, 12)
    assert reader.values(1, silent=True) == numbered(0, 5)
    assert reader.values(1, silent=False) == []


def test_a_commit_while_records_are_replayed_does_not_move_the_offset_back(rig: Rig) -> None:
    rig.send(numbered(0, 100))
    run_once(rig, 100)
    replaying = started(rig.client(settings=group_of(rig.settings, max_poll_records=10)))
    wait_until(lambda: len(replaying.poll()) > 0)
    replaying.client.commit()
    replaying.client.close()
    reader = started(rig.client()).until(100)
    assert reader.values(silent=False) == []


@ONE_DELIVERY
def test_the_rebuild_span_is_measured_from_the_last_committed_record(rig: Rig) -> None:
    for hour in range(10):
        rig.send([str(hour).encode()], timestamp_ms=1_700_000_000_000 + hour * HOUR_MS)
    run_once(rig, 10)
    rig.send([b"10"], timestamp_ms=1_700_000_000_000 + 100 * HOUR_MS)
    reader = started(rig.client(span_ms=3 * HOUR_MS)).until(5)
    assert reader.values(silent=True) == [b"6", b"7", b"8", b"9"]
    assert reader.values(silent=False) == [b"10"]


@ONE_DELIVERY
def test_a_rebuild_span_of_nothing_replays_only_the_last_instant(rig: Rig) -> None:
    for second in range(5):
        rig.send([str(second).encode()], timestamp_ms=1_700_000_000_000 + second * 1_000)
    run_once(rig, 5)
    rig.send([b"new"], timestamp_ms=1_700_000_100_000)
    assert started(rig.client(span_ms=0)).until(2).values() == [b"4", b"new"]


def test_latest_starts_at_the_end_and_keeps_that_place_over_a_crash(rig: Rig) -> None:
    rig.send(numbered(0, 5))
    latest = group_of(rig.settings, auto_offset_reset="latest")
    first = rig.client(span_ms=0, settings=latest)
    reader = started(first)
    wait_until(lambda: reader.poll() is not None and first.joined())
    first.close()
    rig.send(numbered(5, 8))
    again = started(rig.client(span_ms=0, settings=latest)).until(3)
    assert again.values(silent=False) == numbered(5, 8)


@ONE_DELIVERY
def test_a_commit_below_the_start_of_the_log_goes_on_from_the_oldest_record(rig: Rig) -> None:
    rig.send(numbered(0, 10))
    run_once(rig, 10)
    rig.send(numbered(10, 20))
    rig.delete_before(0, 14)
    reader = started(rig.client()).until(6)
    assert reader.values(silent=False) == numbered(14, 20)


def test_published_messages_are_in_the_topic_when_publish_returns(rig: Rig) -> None:
    topic = rig.settings.topics.output
    reader = started(rig.client())
    headers = [("forecaster-reason", b"x"), ("empty", b"")]
    messages = [
        Message(topic, b"pump", b"1", headers),
        Message(topic, b"pump", b"2"),
        Message(topic, None, b"no key"),
        Message(topic, b"tombstone", None),
        Message(topic, None, None),
    ]
    deliver(reader, messages)
    output = rig.output()
    assert sorted(output, key=repr) == sorted(((m.key, m.value, list(m.headers)) for m in messages), key=repr)
    assert [value for key, value, _ in output if key == b"pump"] == [b"1", b"2"]


def test_many_messages_keep_their_order_by_key(rig: Rig) -> None:
    topic = rig.settings.topics.output
    reader = started(rig.client())
    keys = [b"a", b"b", b"c"]
    deliver(reader, [Message(topic, keys[i % 3], str(i).encode()) for i in range(3_000)])
    output = rig.output()
    assert len(output) == 3_000
    for remainder, key in enumerate(keys):
        assert [int(value) for found, value, _ in output if found == key] == list(range(remainder, 3_000, 3))


def test_publishing_nothing_does_nothing(rig: Rig) -> None:
    reader = started(rig.client())
    deliver(reader, [])
    assert rig.output() == []


def test_a_reset_delivers_everything_since_the_commit_again_and_drops_the_state(rig: Rig) -> None:
    rig.send(numbered(0, 5))
    reader = started(rig.client()).until(5)
    reader.client.commit()
    rig.send(numbered(5, 9))
    reader.until(9)
    reader.drops.clear()
    reader.client.reset()
    reader.until(18)
    assert set(reader.drops) == {0, 1}
    assert reader.values()[9:] == numbered(0, 9)
    assert [row[3] for row in reader.rows[9:]] == [True] * 5 + [False] * 4
    reader.client.publish([Message(rig.settings.topics.output, b"k", b"after")])
    reader.client.commit()
    assert rig.output() == [(b"k", b"after", [])]


def test_two_members_share_the_partitions_and_say_what_they_dropped(rig: Rig) -> None:
    first = started(rig.client())
    wait_until(lambda: (first.poll(), first.client.joined())[1] and set(first.drops) == {0, 1})
    first.drops.clear()
    second = started(rig.client())
    rig.poll_until([first, second], lambda: second.client.joined() and len(second.drops) == 1)
    assert len(first.drops) == 1
    assert first.drops == second.drops
    rig.send(numbered(0, 10), partition=0)
    rig.send(numbered(10, 20), partition=1)
    rig.poll_until([first, second], lambda: len(first.rows) + len(second.rows) >= 20)
    assert {row[0] for row in second.rows} == set(second.drops)
    assert {row[0] for row in first.rows} == {0, 1} - set(second.drops)


def test_a_member_that_leaves_hands_its_partitions_and_its_commit_over(rig: Rig) -> None:
    first = started(rig.client())
    wait_until(lambda: (first.poll(), first.client.joined())[1])
    second = started(rig.client())
    rig.poll_until([first, second], lambda: second.client.joined() and len(second.drops) == 1)
    moved = second.drops[0]
    rig.send(numbered(0, 10), partition=moved)
    rig.poll_until([first, second], lambda: len(second.rows) == 10)
    second.client.commit()
    second.client.close()
    first.until(10)
    assert first.values(moved, silent=True) == numbered(0, 10)
    assert first.values(moved, silent=False) == []


@ONE_DELIVERY
def test_the_lag_counts_what_was_not_polled(rig: Rig) -> None:
    rig.send(numbered(0, 50), timestamp_ms=1_600_000_000_000)
    reader = started(rig.client(settings=group_of(rig.settings, max_poll_records=20)))
    wait_until(lambda: len(reader.poll()) > 0)
    lag = reader.client.lag()
    assert lag[0].records == 30
    assert lag[0].seconds > 3_600
    reader.until(50)
    assert reader.client.lag()[0] == (0, 0.0)
    assert reader.client.lag()[1] == (0, 0.0)


def test_missing_topics_are_created_when_that_is_allowed(rig: Rig) -> None:
    settings = topics_of(rig.settings, {"input": unique("absent")})
    reader = started(rig.client(settings=settings))
    deliver(reader, [Message(settings.topics.dead_letter, b"k", b"v")])
    assert rig.output(settings.topics.dead_letter) == [(b"k", b"v", [])]


@ONE_DELIVERY
def test_a_missing_topic_is_named_when_it_may_not_be_created(rig: Rig) -> None:
    settings = topics_of(rig.settings, {"input": unique("absent"), "create": False})
    with pytest.raises(ConfigError, match=r"^topics\.input = 'absent-.*topics\.create is off$"):
        rig.client(settings=settings).start()


# ---- what only a real broker can show ----


@ONE_DELIVERY
@pytest.mark.parametrize("policy", ["delete", "compact,delete"])
def test_a_state_topic_that_forgets_is_refused(kafka_rig: KafkaRig, policy: str) -> None:
    create_topics(kafka_rig.bootstrap, {kafka_rig.settings.topics.state: 1}, **{"cleanup.policy": policy})
    with pytest.raises(ConfigError, match=r"^topics\.state = .* its cleanup\.policy deletes checkpoints"):
        kafka_rig.client().start()


@pytest.mark.parametrize("server", ["127.0.0.1:{port}", "no-such-host.invalid:9092"])
def test_a_start_without_a_broker_gives_up_in_time_with_one_line(server: str) -> None:
    settings = make_settings(server.format(port=free_port()), startup_timeout="1500ms")
    begun = time.monotonic()
    with pytest.raises(BrokerUnavailableError, match=r"^kafka\.bootstrap_servers: .*within 1500ms") as caught:
        make_client(settings, None, "test").start()
    assert time.monotonic() - begun < 4
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("servers", ["", "localhost", "localhost:", "localhost:70000", "a:1,,b:2", "http://a:9092"])
def test_malformed_bootstrap_servers_are_named(servers: str) -> None:
    settings = group_of(make_settings(), bootstrap_servers=servers)
    with pytest.raises(ConfigError, match=r"^kafka\.bootstrap_servers: "):
        make_client(settings, None, "test")


@pytest.mark.kafka
@ONE_DELIVERY
def test_a_replication_factor_that_the_broker_cannot_give_is_named(kafka_rig: KafkaRig) -> None:
    settings = topics_of(kafka_rig.settings, {"input": unique("absent"), "replication_factor": 3})
    with pytest.raises(ConfigError, match=r"^topics\.input: 'absent-.*replicat"):
        kafka_rig.client(settings=settings).start()


@pytest.mark.kafka
def test_a_dead_letter_of_the_brokers_largest_size_is_cut_and_says_so(kafka_rig: KafkaRig) -> None:
    create_topics(kafka_rig.bootstrap, {kafka_rig.settings.topics.dead_letter: 1}, **{"max.message.bytes": "200000"})
    topic = kafka_rig.settings.topics.dead_letter
    reader = started(kafka_rig.client())
    reason = ("forecaster-reason", b"too_big")
    deliver(
        reader,
        [
            Message(topic, b"k", b"x" * 199_999, [reason]),
            Message(topic, b"s", b"small", [reason]),
            Message(topic, b"k" * 300_000, b"y", [("theirs", b"z" * 10), reason]),
            Message(topic, None, b"forged", [("forecaster-x", b"z" * 300_000), ("forecaster-reason", b"z"), reason]),
        ],
    )
    letters = [(len(value), list(headers)) for _, value, headers in kafka_rig.output(topic)]
    (cut_size, cut_headers), small, *rest = letters
    assert small == (5, [reason])
    assert 199_000 < cut_size < 199_999
    assert cut_headers == [reason, ("forecaster-truncated", b"199999")]
    assert rest == [(0, [reason, ("forecaster-truncated", b"1")]), (0, [reason, ("forecaster-truncated", b"6")])]
    deliver(reader, [Message(kafka_rig.settings.topics.output, b"k", b"goes on")])
    assert kafka_rig.output() == [(b"k", b"goes on", [])]


@pytest.mark.kafka
def test_a_forecast_that_the_topic_refuses_stops_the_daemon(kafka_rig: KafkaRig) -> None:
    create_topics(kafka_rig.bootstrap, {kafka_rig.settings.topics.output: 1}, **{"max.message.bytes": "2000"})
    reader = started(kafka_rig.client())
    with pytest.raises(ForecasterError, match=r"max\.message\.bytes"):
        deliver(reader, [Message(kafka_rig.settings.topics.output, b"k", b"x" * 5_000)])


@pytest.mark.kafka
def test_an_independent_client_reads_what_was_published(kafka_rig: KafkaRig) -> None:
    topic = kafka_rig.settings.topics.output
    reader = started(kafka_rig.client())
    deliver(reader, [Message(topic, b"pump", b'{"point": [1.5]}', [("h", b"v")])])
    line = kcat(kafka_rig.bootstrap, "-C", "-t", topic, "-e", "-q", "-f", "%k|%s|%h")
    assert line == b'pump|{"point": [1.5]}|h=v'


class Outage:
    """A worker that has read, published and committed before its broker goes away."""

    def __init__(self, rig: KafkaRig) -> None:
        self.rig, self.topic = rig, rig.settings.topics.output
        rig.send(numbered(0, 10))
        self.reader = started(rig.client(settings=group_of(rig.settings, delivery_timeout=2_000))).until(10)
        self.publish(b"before")
        rig.send(numbered(10, 15))
        self.reader.until(15)

    def publish(self, value: bytes) -> None:
        self.reader.client.publish([Message(self.topic, b"k", value)])
        self.reader.client.commit()

    def without_a_broker(self) -> None:
        client = self.reader.client
        with pytest.raises(RetryableError, match="could not publish"):
            client.publish([Message(self.topic, b"k", b"during")])
        with pytest.raises(RetryableError, match="could not commit"):  # outside of a transaction a later one tells
            wait_until(client.commit)
        client.reset()
        assert all(len(client.poll(100)) == 0 for _ in range(2))
        self.reader.rows.clear()

    def with_one_again(self) -> None:
        self.reader.until(15)
        assert self.reader.values(silent=True) == numbered(0, 10)
        assert self.reader.values(silent=False) == numbered(10, 15)
        self.publish(b"after")
        values = [value for _, value, _ in self.rig.output()]
        assert values in ([b"before", b"after"], [b"before", b"during", b"after"])
        with suppress(RetryableError):
            self.reader.client.close()
        again = started(self.rig.client()).until(15)
        assert again.values(silent=False) == []


@pytest.mark.kafka
def test_a_broker_outage_is_survived_without_losing_a_record(kafka: str, kafka_broker: KafkaBroker | None) -> None:
    """One outage for every library and delivery."""
    if kafka_broker is None:
        pytest.skip("the broker of FORECASTER_TEST_BOOTSTRAP is not ours to stop")
    with ExitStack() as rigs:
        made = [rigs.enter_context(closing(KafkaRig(kafka, *kind))) for kind in product(DELIVERIES, LIBRARIES)]
        outages = [Outage(rig) for rig in made]
        kafka_broker.stop()
        try:
            for outage in outages:
                outage.without_a_broker()
        finally:
            kafka_broker.start()
        for outage in outages:
            outage.with_one_again()
