"""What connects librdkafka to the rest: options and errors in kafka-python's words, and waits that end."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from confluent_kafka import KafkaError as LibraryError
from confluent_kafka import KafkaException
from kafka.errors import KafkaError, KafkaTimeoutError, ProducerFencedError, SaslAuthenticationFailedError, for_code

from forecaster.errors import ConfigError
from forecaster.kafka.secrets import Secret

T = TypeVar("T")

library_log = logging.getLogger("forecaster.kafka.librdkafka")

# What kafka-python calls it, and what librdkafka does; there is one table of values for both.
NAMES = {
    "client_id": "client.id",
    "security_protocol": "security.protocol",
    "ssl_cafile": "ssl.ca.location",
    "ssl_certfile": "ssl.certificate.location",
    "ssl_keyfile": "ssl.key.location",
    "ssl_password": "ssl.key.password",
    "sasl_mechanism": "sasl.mechanism",
    "sasl_plain_username": "sasl.username",
    "sasl_plain_password": "sasl.password",
    "sasl_oauth_token_provider": "oauth_cb",
    "reconnect_backoff_max_ms": "reconnect.backoff.max.ms",
    "group_id": "group.id",
    "group_instance_id": "group.instance.id",
    "session_timeout_ms": "session.timeout.ms",
    "heartbeat_interval_ms": "heartbeat.interval.ms",
    "max_poll_interval_ms": "max.poll.interval.ms",
    "isolation_level": "isolation.level",
    "enable_auto_commit": "enable.auto.commit",
    "metadata_max_age_ms": "topic.metadata.refresh.interval.ms",
    "allow_auto_create_topics": "allow.auto.create.topics",
    "fetch_max_wait_ms": "fetch.wait.max.ms",
    "max_partition_fetch_bytes": "max.partition.fetch.bytes",
    "fetch_max_bytes": "fetch.max.bytes",
    "acks": "acks",
    "enable_idempotence": "enable.idempotence",
    "batch_size": "batch.size",
    "linger_ms": "linger.ms",
    "max_request_size": "message.max.bytes",
    "delivery_timeout_ms": "delivery.timeout.ms",
    "request_timeout_ms": "socket.timeout.ms",
    "retry_backoff_ms": "retry.backoff.ms",
    "transactional_id": "transactional.id",
    "transaction_timeout_ms": "transaction.timeout.ms",
}
OWN_ERRORS = {
    LibraryError._TIMED_OUT: KafkaTimeoutError,  # noqa: SLF001  # the library's name for its own errors
    LibraryError._MSG_TIMED_OUT: KafkaTimeoutError,  # noqa: SLF001
    LibraryError._AUTHENTICATION: SaslAuthenticationFailedError,  # noqa: SLF001
    LibraryError._FENCED: ProducerFencedError,  # noqa: SLF001
}


def library_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The `options` of a client of kafka-python as librdkafka's; those that it has not are left out."""
    known = {NAMES[name]: value for name, value in options.items() if name in NAMES and value is not None}
    return {**known, "bootstrap.servers": ",".join(options["bootstrap_servers"]), "log_level": 4}


def made(kind: Callable[..., T], options: Mapping[str, Any]) -> T:
    """A client of librdkafka; raises `ConfigError` for a value that it does not take, else `KafkaError`."""
    try:
        read = {name: value() if isinstance(value, Secret) else value for name, value in options.items()}
        return kind(read, logger=library_log)
    except KafkaException as error:
        failure = error.args[0]
        if failure.code() != LibraryError._INVALID_ARG:  # noqa: SLF001
            raise translated(failure) from None
        raise ConfigError(f"kafka.client: librdkafka takes no such setting: {failure.str().strip()}") from None


def translated(error: LibraryError) -> KafkaError:
    """`error` as kafka-python has it."""
    kind = for_code(error.code()) if error.code() > 0 else OWN_ERRORS.get(error.code(), KafkaError)
    return kind(error.str())


def by(deadline: float, what: str, call: Callable[[], T]) -> T:
    """What `call` returns, by `deadline` (of `time.monotonic`).

    Not all waits of librdkafka have a limit or keep to it, and no signal reaches Python while one lasts: it runs on
    a thread of its own. Raises `KafkaError`; after `KafkaTimeoutError` it goes on, and its handle is of no more use.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(call())
        except BaseException as error:  # noqa: BLE001  # it is raised by `result`
            done.set_exception(error)

    threading.Thread(target=run, name=what, daemon=True).start()
    try:
        return done.result(max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        raise KafkaTimeoutError(f"no answer to {what} in time") from None
    except KafkaException as error:
        raise translated(error.args[0]) from None
