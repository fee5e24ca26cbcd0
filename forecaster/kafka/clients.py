"""The client that `kafka.client` names."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from forecaster.checkpoint.reader import Reader
from forecaster.config import Settings
from forecaster.errors import ConfigError
from forecaster.kafka.group_client import GroupClient
from forecaster.kafka.halves import Group, Publisher
from forecaster.kafka.placement import Placement
from forecaster.kafka.python_connect import connection_options
from forecaster.kafka.python_transactions import transactional_id


def make_client(
    settings: Settings,
    rebuild_span_ms: int | None,
    client_id: str,
    make_reader: Callable[[int], Reader] | None = None,
    clock: Callable[[], float] = time.time,
) -> GroupClient:
    """A client that is not started yet.

    `rebuild_span_ms` is how much record time is replayed before the committed offset of a newly assigned
    partition without a checkpoint, None for all of its log. `make_reader` makes what reads the checkpoints
    of an input partition; None where there are none. `clock` gives seconds since the epoch, for the lag.
    Raises `ConfigError` where the library is not installed, or the settings name no broker that can be reached.
    """
    options = connection_options(settings.kafka, client_id)
    group, publisher = _halves(settings, options)
    placement = Placement(settings, rebuild_span_ms, options, make_reader)
    return GroupClient(settings, client_id, group, publisher, placement, clock)


def _halves(settings: Settings, options: Mapping[str, Any]) -> tuple[Group, Publisher]:
    name = transactional_id(settings)
    if settings.kafka.client == "kafka-python":
        from forecaster.kafka import python_group, python_publisher  # noqa: PLC0415  # only the one that is used

        return python_group.Group(settings, options), python_publisher.Publisher(settings, options, name)
    try:
        from forecaster.kafka import rdkafka_group, rdkafka_publisher  # noqa: PLC0415  # an extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "confluent_kafka":
            raise
        raise ConfigError(
            'kafka.client: confluent-kafka is not installed: pip install "forecaster[librdkafka]"'
        ) from None
    return rdkafka_group.Group(settings, options), rdkafka_publisher.Publisher(settings, options, name)
