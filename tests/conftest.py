"""Fixtures that more than one room of tests needs: a real Apache Kafka, checkpoints in small pieces."""

import logging
import os
import warnings
from collections.abc import Iterator

import pytest
from integration.kafka_broker import KafkaBroker, missing_tools

from forecaster.checkpoint import chunks

with warnings.catch_warnings():
    # kafka-python reads its schemas through importlib.resources.read_text, deprecated in Python 3.11 to 3.12.
    warnings.filterwarnings("ignore", "(read|open)_text is deprecated", DeprecationWarning)
    import kafka as kafka_python  # noqa: F401
    from integration.rigs import LIBRARIES, Library
    from integration.secure_broker import SecureBroker


# kafka-python leaves the socket of a refused connection (never connected, so without a peer) to the garbage collector.
REFUSED_SOCKET = r"unclosed <socket\.socket fd=\d+, family=\d+, type=1, proto=6, laddr=\('0\.0\.0\.0', \d+\)>"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", f"ignore:{REFUSED_SOCKET}:ResourceWarning")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command that ran inside of a test wrote its log to that test's standard error, which is closed after it."""
    before = logging.root.handlers[:]
    yield
    logging.root.handlers[:] = [handler for handler in logging.root.handlers if handler in before]


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Library:
    """Each client library in turn."""
    found: Library = request.param
    return found


@pytest.fixture(scope="module")
def small_records() -> Iterator[None]:
    """Checkpoints of a few series in many records: a chunk of two series or so, each cut into several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CHUNK_BYTES", 1_200)
        patch.setattr(chunks, "RECORD_BYTES", 700)
        yield


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
def secure_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    """A broker of our own with a listener for each kind of security."""
    missing = missing_tools()
    if missing is not None:
        refuse = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        refuse(f"NO KAFKA, NO SECURITY PROVEN ON A REAL BROKER: {missing}")
    secure = SecureBroker(tmp_path_factory.mktemp("secure"))
    try:
        secure.broker.start()
        yield secure
    finally:
        secure.broker.close()


@pytest.fixture(scope="session")
def kafka(kafka_broker: KafkaBroker | None) -> str:
    """Bootstrap servers of a real Apache Kafka."""
    return kafka_broker.bootstrap if kafka_broker else os.environ["FORECASTER_TEST_BOOTSTRAP"]
