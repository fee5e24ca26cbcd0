"""The contract of Kafka clients over TLS with SCRAM, and over mutual TLS.

A few of its tests here; all of them with FORECASTER_TEST_WHOLE_CONTRACT=1 (`make test-secure`).
"""

import os
from collections.abc import Iterator

import pytest
from integration import test_client_contract as contract
from integration.rigs import Delivery, KafkaRig, Library
from integration.secure_broker import SecureBroker

pytestmark = pytest.mark.kafka

WHOLE = os.environ.get("FORECASTER_TEST_WHOLE_CONTRACT") == "1"
ESSENTIAL = (
    contract.test_exactly_the_records_below_the_commit_are_replayed_silently,
    contract.test_published_messages_are_in_the_topic_when_publish_returns,
    contract.test_a_reset_delivers_everything_since_the_commit_again_and_drops_the_state,
    contract.test_a_member_that_leaves_hands_its_partitions_and_its_commit_over,
)
NOT_OF_A_LISTENER = ("outage", "without_a_broker", "malformed_bootstrap")  # about brokers of their own, or none
EVERY = [
    test
    for name, test in vars(contract).items()
    if name.startswith("test_") and not any(other in name for other in NOT_OF_A_LISTENER)
]
globals().update({test.__name__: test for test in (EVERY if WHOLE else ESSENTIAL)})


@pytest.fixture(params=["exactly_once", "at_least_once"] if WHOLE else ["exactly_once"])
def delivery(request: pytest.FixtureRequest) -> Delivery:
    found: Delivery = request.param
    return found


@pytest.fixture(params=["SCRAM", "MTLS"])
def rig(
    request: pytest.FixtureRequest, secure_broker: SecureBroker, delivery: Delivery, library: Library
) -> Iterator[KafkaRig]:
    made = KafkaRig(secure_broker.bootstrap, delivery, library, secure_broker.security(request.param))
    yield made
    made.close()


@pytest.fixture
def kafka_rig(rig: KafkaRig) -> KafkaRig:
    return rig
