"""Fixtures that more than one room of tests needs: a real Apache Kafka."""

import os
from collections.abc import Iterator

import pytest
from integration.kafka_broker import KafkaBroker, missing_tools


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[KafkaBroker | None]:
    """The broker that this session started, or None where FORECASTER_TEST_BOOTSTRAP names one."""
    if os.environ.get("FORECASTER_TEST_BOOTSTRAP"):
        yield None
        return
    missing = missing_tools()
    if missing is not None:
        refuse = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        refuse(f"NO KAFKA, NOTHING PROVEN ON A REAL BROKER: {missing}; or set FORECASTER_TEST_BOOTSTRAP")
    broker = KafkaBroker()
    try:
        broker.start()
        yield broker
    finally:
        broker.close()


@pytest.fixture(scope="session")
def kafka(kafka_broker: KafkaBroker | None) -> str:
    """Bootstrap servers of a real Apache Kafka."""
    return kafka_broker.bootstrap if kafka_broker else os.environ["FORECASTER_TEST_BOOTSTRAP"]
