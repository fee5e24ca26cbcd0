"""A scene: one stream of numbered ticks on one broker, workers over it, and the judgement of what came out."""

import json
from collections.abc import Collection
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from integration.helpers import create_topics, produce, read_topic, unique, wait_until
from integration.kafka_broker import KafkaBroker
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from chaos.oracle import Place, Published, judge, judge_letters
from chaos.proxy import Proxy
from chaos.streams import STREAMS
from chaos.ticks import Ticks
from chaos.worker import Worker, Zygote

DRAIN_TIMEOUT = 600.0
SESSION_SECONDS = 6
DELIVERY_SECONDS = 5
TRANSACTION_SECONDS = 4

STATE_TOPIC = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1", "segment.ms": "60000"}
CONFIG = """
delivery = "{delivery}"
[kafka]
client = "{client}"
bootstrap_servers = "{bootstrap}"
group_id = "{group}"
session_timeout = "{session}s"
delivery_timeout = "{deadline}s"
max_poll_records = {poll}
{kafka}
[topics]
input = "{input}"
output = "{output}"
dead_letter = "{dead}"
state = "{state}"
create = {create}
[input]
{input_section}
[stream]
{stream_section}
step = "1s"
allowed_lateness = "{lateness}s"
rebuild_span = "500d"
[model]
{model_section}
bundle = "{bundle}"
{state_section}
[metrics]
host = "127.0.0.1"
port = 0
"""


@dataclass
class Rig:
    """What all scenes of one call share; `bundle` is for ticks of `stream`.

    `broker` has a second listener, which `proxy` is in front of.
    """

    folder: Path
    delivery: str
    zygote: Zygote
    bundle: Path
    stream: str
    broker: KafkaBroker
    proxy: Proxy

    @property
    def exactly_once(self) -> bool:
        return self.delivery == "exactly_once"


@dataclass
class Scene:
    """Topics and group of one stream. `feed` it, start `worker`s, break things, then `verdict`."""

    rig: Rig
    ticks: Ticks
    poll: int = 400
    session: int = SESSION_SECONDS
    produced: int = 0
    again: set[Place] = field(default_factory=set)  # forecast twice on purpose
    letters_again: set[bytes] = field(default_factory=set)
    unsettled: set[Place] = field(default_factory=set)  # hidden state was rebuilt: near, not equal

    def __post_init__(self) -> None:
        self.group = unique("group")
        self.topics = {role: unique(role) for role in ("input", "output", "dead", "state")}
        self.workers: list[Worker] = []
        count = self.ticks.partitions
        bootstrap = self.rig.broker.bootstrap
        create_topics(bootstrap, {self.topics["input"]: count, self.topics["dead"]: 1})
        # The second broker never runs: its copies are missing from the start, which min.insync.replicas = 1 allows.
        copies = (1, 2) if self.rig.broker.has_second else None
        create_topics(bootstrap, {self.topics["output"]: count}, replicas=copies)
        create_topics(bootstrap, {self.topics["state"]: count}, **STATE_TOPIC)

    def other_topics(self) -> dict[str, str]:
        """The topics of another daemon over the same input."""
        topics = {"input": self.topics["input"], **{role: unique(role) for role in ("output", "dead", "state")}}
        bootstrap, count = self.rig.broker.bootstrap, self.ticks.partitions
        create_topics(bootstrap, {topics["output"]: count, topics["dead"]: 1})
        create_topics(bootstrap, {topics["state"]: count}, **STATE_TOPIC)
        return topics

    def feed(self, count: int) -> None:
        """Produce the next `count` numbered records."""
        records = [self.ticks.record(number) for number in range(self.produced, self.produced + count)]
        produce(self.rig.broker.bootstrap, self.topics["input"], [record._asdict() for record in records])
        self.produced += count

    def worker(self, index: int = 0, *, proxied: bool = False, static: bool = False, **options: Any) -> Worker:
        """A worker that is not started yet; `options` are those of `config`."""
        bootstrap = f"127.0.0.1:{self.rig.proxy.port}" if proxied else self.rig.broker.bootstrap
        environment = options.pop("environment", {})
        path = self.config(bootstrap, index, static=static, **options)
        worker = Worker(self.rig.zygote, path, self.topics, **environment)
        worker.proxied = proxied
        self.workers.append(worker)
        return worker

    def config(
        self, bootstrap: str, index: int, *, static: bool = False, bundle: Path | None = None,
        topics: dict[str, str] | None = None, group: str | None = None, checkpoint: str = "2s", state: str = "",
    ) -> Path:  # fmt: skip
        """A configuration file for one worker of the group."""
        kafka = state_section = ""
        if self.rig.exactly_once:
            kafka = f'transaction_timeout = "{TRANSACTION_SECONDS}s"\nworker_index = {index}\n'
            kafka += 'group_instance_id = "chaos"\n' if static else ""
            state_section = f'[state]\ncheckpoint_interval = "{checkpoint}"\n{state}'
        path = self.rig.folder / f"{unique(self.group)}.toml"
        path.write_text(
            CONFIG.format(
                delivery=self.rig.delivery, client=self.rig.zygote.client, bootstrap=bootstrap,
                group=group or self.group, session=self.session,
                deadline=DELIVERY_SECONDS, poll=self.poll, kafka=kafka, create="false", lateness=self.ticks.shuffled,
                bundle=bundle or self.rig.bundle, state_section=state_section, **(topics or self.topics),
                **{f"{name}_section": _lines(name, self.ticks.stream) for name in ("input", "stream", "model")},
            )
        )  # fmt: skip
        return path

    def committed(self, group: str | None = None) -> dict[int, int]:
        """The group's committed offset by partition."""
        name = group or self.group
        offsets = wait_until(lambda: self._offsets(name), 60, what=f"an answer about the offsets of {name}")
        return {part.partition: max(0, found.offset) for part, found in offsets[name].items()}

    def _offsets(self, group: str) -> dict[str, Any] | None:
        """What the broker knows of the group; None while it cannot say."""
        with suppress(KafkaError), closing(KafkaAdminClient(bootstrap_servers=self.rig.broker.bootstrap)) as admin:
            return admin.list_group_offsets({group: None})
        return None

    def behind(self, group: str | None = None) -> int:
        """How many records the group has not committed."""
        return self.produced - sum(self.committed(group).values())

    def wait_progress(self, records: int = 1, timeout: float = 60.0) -> None:
        """Wait until that many more records are committed."""
        before = self.behind()
        wait_until(lambda: self.behind() <= max(0, before - records), timeout, what="progress")

    def drain(self, *workers: Worker) -> None:
        """Let `workers`, or a fresh one, take all that was produced."""
        workers = workers or (self.worker().start(),)
        wait_until(lambda: self._drained(workers), DRAIN_TIMEOUT, what="the end of the stream")

    def _drained(self, workers: Collection[Worker], group: str | None = None) -> bool:
        for worker in workers:
            if worker.code is not None:
                raise AssertionError(f"a worker ended with {worker.code}: {worker.log()[-2000:]}")
        return self.behind(group) <= 0

    def verdict(self, *workers: Worker) -> dict[str, int]:
        """Drain the stream, end all workers, and hold the topics against the ticks and an undisturbed run."""
        self.drain(*(workers or self.alive()))
        self.end()
        undisturbed = self.undisturbed()
        letters = judge_letters(self.ticks, self.produced, self.read("dead"), self.letters_again)
        found = Published(self.read("output"))
        forecasts = judge(self.ticks, self.produced, found, undisturbed, self.again, self.unsettled)
        return {"ticks": self.produced, **forecasts, **letters}

    def read(self, role: str) -> list[Any]:
        """All committed records of a topic, once no transaction is open on it any more."""
        return read_settled(self.rig.broker.bootstrap, self.topics[role])

    def undisturbed(self) -> Published:
        """What one daemon publishes for the same ticks when nothing happens to it."""
        group, topics = unique("undisturbed"), self.other_topics()
        config = self.config(self.rig.broker.bootstrap, 0, group=group, topics=topics)
        worker = Worker(self.rig.zygote, config, topics).start()
        wait_until(lambda: self._drained([worker], group), DRAIN_TIMEOUT, what="the end of the undisturbed run")
        worker.kill()
        return Published(read_settled(self.rig.broker.bootstrap, topics["output"]))

    def running(self, *, proxied: bool = False) -> Worker:
        """The scene's one worker: the one that runs, else a fresh one that has its place in the group."""
        alive = self.alive()
        if len(alive) == 1 and alive[0].proxied == proxied:
            return alive[0]
        for worker in alive:
            worker.terminate()
        worker = self.worker(proxied=proxied).start()
        self.wait_ready(worker)
        return worker

    def wait_ready(self, *workers: Worker, timeout: float = 90.0) -> None:
        """Wait until each has its place in the group and its partitions restored."""
        for worker in workers:
            wait_until(worker.is_ready, timeout, what="readiness")

    def alive(self) -> list[Worker]:
        """The workers that run."""
        return [worker for worker in self.workers if worker.pid and worker.code is None]

    def end(self) -> None:
        """Kill every worker that is left."""
        for worker in self.workers:
            if worker.pid:
                worker.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def _lines(section: str, stream: str) -> str:
    """What a section of the configuration says of a stream of that name."""
    lines = list[str]()
    for name, value in STREAMS[stream].settings.get(section, {}).items():
        inner = {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value}
        lines += [f"{key} = {json.dumps(one)}" for key, one in inner.items()]
    return "\n".join(lines)


def read_settled(bootstrap: str, topic: str) -> list[Any]:
    """All committed records of `topic`, once every transaction on it has ended."""
    options = {"bootstrap_servers": bootstrap, "enable_auto_commit": False}
    with closing(KafkaConsumer(**options, isolation_level="read_committed")) as committed, \
            closing(KafkaConsumer(**options)) as written:  # fmt: skip
        parts = [TopicPartition(topic, number) for number in committed.partitions_for_topic(topic)]
        wait_until(
            lambda: committed.end_offsets(parts) == written.end_offsets(parts), 60, what="the end of transactions"
        )
    return read_topic(bootstrap, topic, timeout=300)
