"""Connections of kafka-python: security, addresses, and the topics that must exist at the start."""

import logging
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from kafka import KafkaAdminClient, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource
from kafka.errors import (
    AuthorizationError,
    FencedInstanceIdError,
    InconsistentGroupProtocolError,
    InvalidSessionTimeoutError,
    KafkaError,
    KafkaTimeoutError,
    NoError,
    SaslAuthenticationFailedError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)

from forecaster.config import KafkaSettings, Settings, TopicSettings, format_duration
from forecaster.errors import BrokerUnavailableError, ConfigError, FencedError, RefusedError, RetryableError
from forecaster.kafka.credentials import check_credentials, read_secrets_late, security_options
from forecaster.kafka.handshake import check_handshake
from forecaster.kafka.python_headers import read_any_header

logger = logging.getLogger(__name__)

# A host name, IPv4 address or bracketed IPv6 address, and a port.
SERVER = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[^\s:/\[\]]+):(\d{1,5})")
MAX_PORT = 65_535
RETRY_SECONDS = 0.2
LAST_SECONDS = 1.0  # to say why nothing came of it
REFUSALS = (AuthorizationError, SaslAuthenticationFailedError)
READING = {
    "enable_auto_commit": False,
    "isolation_level": "read_committed",  # also makes the lookup of committed offsets wait for open transactions
    "auto_offset_reset": "earliest",  # only for offsets that expire while they are read
    "allow_auto_create_topics": False,
    "metadata_max_age_ms": 60_000,  # how soon new partitions are found
    "fetch_max_wait_ms": 100,  # also how long a seek waits for the fetch that is under way
    "max_partition_fetch_bytes": 4 * 2**20,
    "fetch_max_bytes": 32 * 2**20,
    "metrics_enabled": False,
}
STATE_TOPIC = {
    "cleanup.policy": "compact",
    # only what is in a finished segment is compacted, and all that is there is read at a start
    "segment.bytes": str(32 * 2**20),
    "min.cleanable.dirty.ratio": "0.3",
}
CHATTER = {
    "kafka": logging.WARNING,  # and below it every byte that is sent, passwords and tokens too
    "kafka.cluster": logging.CRITICAL,  # these repeat, some with a traceback, what kafka.net.manager says
    "kafka.net.connection": logging.CRITICAL,
    "kafka.net.selector": logging.ERROR,  # warns of every large batch that it decodes
    "kafka.net.transport": logging.CRITICAL,
}


def prepare_library() -> None:
    """Make kafka-python quiet about what it repeats, and able to read any header; a second call changes nothing."""
    for name, level in CHATTER.items():
        logging.getLogger(name).setLevel(level)
    read_any_header()
    read_secrets_late()


def one_line(error: BaseException) -> str:
    """Return the kind and text of a kafka-python error as one line."""
    text = " ".join(str(error).split())
    kind = type(error).__name__
    return text if text.startswith((kind, "[Error")) else f"{kind}: {text}".removesuffix(": ")


def routed(error: BaseException, what: str) -> Exception:
    """Return what the daemon does about `error`: stop where the broker refuses this user or setting, else retry."""
    if isinstance(error, FencedInstanceIdError):
        return FencedError("kafka.group_instance_id: another daemon has joined the group under this one's name")
    if isinstance(error, InvalidSessionTimeoutError):
        return ConfigError(f"kafka.session_timeout: the broker does not allow it: {one_line(error)}")
    if isinstance(error, InconsistentGroupProtocolError):
        return ConfigError(f"kafka.group_id: the group is in use by other software: {one_line(error)}")
    if isinstance(error, SaslAuthenticationFailedError):
        return RefusedError(f"kafka.sasl_username, its password or token: the broker refuses it: {one_line(error)}")
    if isinstance(error, AuthorizationError):
        return ConfigError(f"kafka: not allowed to {what}: {one_line(error)}")
    return RetryableError(f"could not {what}: {one_line(error)}")


def connection_options(kafka: KafkaSettings, client_id: str) -> dict[str, Any]:
    """Return the arguments that every client of kafka-python gets: addresses, name, security, reconnecting."""
    prepare_library()
    check_credentials(kafka)
    return {
        "bootstrap_servers": _servers(kafka.bootstrap_servers),
        "client_id": client_id,
        **security_options(kafka),
        "reconnect_backoff_max_ms": 1_000,  # the default of 30 s would add to every outage
    }


def _servers(text: str) -> list[str]:
    servers = [server.strip() for server in text.split(",")]
    for server in servers:
        match = SERVER.fullmatch(server)
        if match is None or not 0 < int(match[2]) <= MAX_PORT:
            raise ConfigError(f'kafka.bootstrap_servers: {server!r} is no "host:port"')
    return servers


def unavailable(kafka: KafkaSettings, error: BaseException) -> BrokerUnavailableError:
    waited = format_duration(kafka.startup_timeout)
    where = f"kafka.bootstrap_servers: no broker is ready at {kafka.bootstrap_servers}"
    return BrokerUnavailableError(f"{where} within {waited}: {one_line(error)}")


def wire(topic: str, offsets: Mapping[int, int], source: str) -> dict[TopicPartition, OffsetAndMetadata]:
    """Offsets with the topic's id beside them, so that they are never taken for another topic's."""
    return {TopicPartition(topic, n): OffsetAndMetadata(offset, source, -1) for n, offset in offsets.items()}


def await_metadata(consumer: Any, topic: str, deadline: float) -> None:
    """Have a consumer know `topic` by `deadline` (of `time.monotonic`); raises `KafkaError` where it cannot."""
    while not consumer.partitions_for_topic(topic):
        if time.monotonic() > deadline:
            raise KafkaTimeoutError(f"no metadata of {topic}")


def topic_id(consumer: Any, topic: str) -> str:
    """The id of `topic` as the last metadata have it; empty where the broker has none."""
    found = consumer._cluster.topic_id(topic)  # noqa: SLF001
    return "" if found is None or found.int == 0 else str(found)


def refresh_metadata(consumer: Any, timeout_ms: int) -> None:
    """Have the metadata of now; raises `KafkaError` without an answer."""
    asked = consumer._cluster.request_update()  # noqa: SLF001
    consumer._net.run(consumer._manager.wait_for, asked, timeout_ms)  # noqa: SLF001


def check_topics(settings: Settings, client_id: str, deadline: float) -> None:
    """Make sure that all topics exist and are of the right kind, creating missing ones where that is allowed.

    `deadline` is in seconds of `time.monotonic`; a broker that is still starting is asked again until then.
    """
    options = connection_options(settings.kafka, client_id)
    check_handshake(settings.kafka, options, deadline, certain=True)
    while True:
        left_ms = max(1, int((deadline - time.monotonic()) * 1_000))
        try:
            with closing(KafkaAdminClient(**options, bootstrap_timeout_ms=left_ms)) as admin:
                return _check_topics(admin, settings, left_ms)
        except REFUSALS as error:
            raise routed(error, "look at its topics") from None
        except (KafkaError, OSError) as error:
            if time.monotonic() + RETRY_SECONDS > deadline:
                check_handshake(settings.kafka, options, deadline + LAST_SECONDS, certain=False)
                raise unavailable(settings.kafka, error) from None
        time.sleep(RETRY_SECONDS)


def _check_topics(admin: Any, settings: Settings, timeout_ms: int) -> None:
    topics = settings.topics
    wanted = {"input": topics.input, "output": topics.output, "dead_letter": topics.dead_letter}
    if settings.state.checkpoint_interval:
        wanted["state"] = topics.state
    missing = _missing(admin, list(wanted.values()))
    if missing and not topics.create:
        named = ", ".join(f"topics.{role} = {name!r}" for role, name in wanted.items() if name in missing)
        raise ConfigError(f"{named}: no such topic, and topics.create is off")
    for name in missing:
        role = next(role for role, topic in wanted.items() if topic == name)
        _create(admin, name, f"topics.{role}", topics, STATE_TOPIC if role == "state" else {})
    if missing:  # of those that were there before a partition may lack its leader: the others are read all the same
        admin.wait_for_topics(missing, timeout_ms=timeout_ms)
    _check_policies(admin, wanted)


def _check_policies(admin: Any, wanted: Mapping[str, str]) -> None:
    """Refuse a state topic that forgets; warn of an input topic that does not keep every record."""
    roles = [role for role in ("input", "state") if role in wanted]
    try:
        resources = [ConfigResource("TOPIC", wanted[role]) for role in roles]
        found = admin.describe_configs(resources, config_filter="all")["topic"]
        policies = {role: str(found[wanted[role]]["cleanup.policy"]["value"]).split(",") for role in roles}
    except (KafkaError, KeyError) as error:  # not every broker tells, nor may every user ask
        logger.debug("cleanup policies are not known: %s", one_line(error))
        return
    if policies.get("state", ["compact"]) != ["compact"]:  # "compact,delete" loses what an idle partition has
        name = wanted["state"]
        raise ConfigError(f'topics.state = {name!r}: its cleanup.policy deletes checkpoints: it must be "compact"')
    if "compact" in policies["input"]:
        logger.warning(
            "topics.input = %r is compacted: ticks of one key replace each other, and what is replayed differs from "
            "what was forecast",
            wanted["input"],
        )


def _missing(admin: Any, names: Sequence[str]) -> list[str]:
    found = {topic["name"] for topic in admin.describe_topics(list(names)) if topic["error_code"] == 0}
    return [name for name in names if name not in found]


def _create(admin: Any, name: str, setting: str, topics: TopicSettings, configs: Mapping[str, str]) -> None:
    size = {"num_partitions": topics.partitions, "replication_factor": topics.replication_factor}
    wanted = {name: {**size, "configs": dict(configs)}}
    answer = admin.create_topics(wanted, raise_errors=False)["topics"][0]
    error = for_code(answer["error_code"])
    if error.retriable:
        raise error(answer["error_message"])
    if error not in (NoError, TopicAlreadyExistsError):  # another worker may have been faster
        why = answer["error_message"] or error.description
        raise ConfigError(f"{setting}: {name!r} is missing and cannot be created: {why}")


def input_partitions(settings: Settings, client_id: str) -> list[int]:
    """The partitions of the input topic; raises `ConfigError` without one, `KafkaError` without an answer."""
    options = connection_options(settings.kafka, client_id)
    name = settings.topics.input
    check_handshake(settings.kafka, options, time.monotonic() + settings.kafka.startup_timeout / 1_000, certain=True)
    with closing(KafkaAdminClient(**options, bootstrap_timeout_ms=settings.kafka.startup_timeout)) as admin:
        (topic,) = admin.describe_topics([name])
    error = for_code(topic["error_code"])
    if error is UnknownTopicOrPartitionError:
        raise ConfigError(f"topics.input = {name!r}: no such topic")
    if error is not NoError:
        raise error(name)
    return sorted(partition["partition_index"] for partition in topic["partitions"])
