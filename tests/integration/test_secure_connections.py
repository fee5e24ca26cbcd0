"""Who may talk to whom: what fails is one line that names the setting, secrets are read late and shown nowhere."""

import logging
import time
import traceback
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from integration.certificates import Authority
from integration.daemon import Stream, forecaster
from integration.helpers import produce, read_topic, wait_until
from integration.rigs import LIBRARIES, KafkaRig, Library, Reader, group_of, make_settings
from integration.secure_broker import PASSWORD, USER, SecureBroker, unsigned_token
from integration.token_endpoint import Endpoint, token_endpoint

from forecaster.errors import RefusedError, RetryableError
from forecaster.kafka import credentials
from forecaster.kafka.clients import make_client
from forecaster.records import Message

pytestmark = pytest.mark.kafka


def refusal(library: Library, security: dict[str, Any], startup_timeout: str = "30s") -> str:
    """What a start says, and soon: only what the broker might still become is waited for."""
    settings = make_settings(client=library, **security, startup_timeout=startup_timeout)
    begun = time.monotonic()
    with closing(make_client(settings, None, "test")) as client, pytest.raises(RefusedError) as refused:
        client.start()
    assert time.monotonic() - begun < 10
    assert refused.value.exit_code == 1
    line = str(refused.value)
    assert "\n" not in line
    return line


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "another authority")


def test_a_wrong_password_is_named(library: Library, secure_broker: SecureBroker, tmp_path: Path) -> None:
    wrong = tmp_path / "password"
    wrong.write_text("wr0ng-canary")
    line = refusal(library, secure_broker.security("SCRAM", sasl_password_file=str(wrong)))
    assert line.startswith("kafka.sasl_username, kafka.sasl_password_file: the broker refuses it")
    assert "canary" not in line


@pytest.mark.parametrize(
    ("listener", "changes", "said"),
    [
        ("SCRAM", {"sasl_mechanism": "SCRAM-SHA-256"}, "kafka.sasl_mechanism: the broker knows PLAIN, SCRAM-SHA-512"),
        ("EXPIRED", {}, "kafka.bootstrap_servers: the broker's certificate is not valid now"),
        ("ELSEWHERE", {}, "kafka.bootstrap_servers: the broker's certificate is for another name"),
        ("MTLS", {"ssl_cert_file": None, "ssl_key_file": None}, "kafka.ssl_cert_file: the broker asks for a cert"),
    ],
)
def test_what_does_not_fit_the_broker_is_named(
    library: Library, secure_broker: SecureBroker, listener: str, changes: dict[str, Any], said: str
) -> None:
    assert refusal(library, secure_broker.security(listener, **changes)).startswith(said)


def test_a_broker_of_another_authority_is_not_trusted(
    library: Library, secure_broker: SecureBroker, stranger: Authority
) -> None:
    for listener in ("SCRAM", "MTLS"):
        line = refusal(library, secure_broker.security(listener, ssl_ca_file=str(stranger.file)))
        assert line.startswith("kafka.ssl_ca_file: the broker's certificate is not signed by it")


def test_a_certificate_that_the_broker_does_not_trust_is_named(
    library: Library, secure_broker: SecureBroker, stranger: Authority
) -> None:
    cert, key = map(str, stranger.issue("stranger"))
    line = refusal(library, secure_broker.security("MTLS", ssl_cert_file=cert, ssl_key_file=key))
    assert line.startswith("kafka.ssl_cert_file: the broker refuses ours")


def test_sasl_is_missed_where_the_broker_has_none(library: Library, secure_broker: SecureBroker) -> None:
    plain = {"bootstrap_servers": secure_broker.bootstrap, "security_protocol": "SASL_PLAINTEXT", "ssl_ca_file": None}
    line = refusal(library, secure_broker.security("SCRAM", **plain))
    assert line.startswith('kafka.security_protocol: "SASL_PLAINTEXT": the broker takes no SASL here')


@pytest.mark.parametrize(
    ("listener", "spoken"), [("SCRAM", "SASL_PLAINTEXT"), ("EXPIRED", "PLAINTEXT"), ("PLAINTEXT", "SSL")]
)
def test_a_listener_of_another_protocol_is_named_once_waiting_has_not_helped(
    library: Library, secure_broker: SecureBroker, listener: str, spoken: str
) -> None:
    """A broker that is only starting may hang up as well."""
    changes: dict[str, Any] = {"security_protocol": spoken}
    if spoken != "SSL":
        changes["ssl_ca_file"] = None
    line = refusal(library, secure_broker.security(listener, **changes), startup_timeout="2s")
    assert line.startswith(f'kafka.security_protocol: "{spoken}": ')


def test_a_token_that_has_expired_is_refused(library: Library, secure_broker: SecureBroker, tmp_path: Path) -> None:
    old = tmp_path / "token"
    old.write_text(unsigned_token(USER, seconds=-3_600))
    line = refusal(library, secure_broker.security("OAUTH", sasl_token_file=str(old)))
    assert line.startswith("kafka.sasl_token_file: the broker refuses it")


def test_a_secret_shows_in_no_log_and_no_traceback(
    library: Library, secure_broker: SecureBroker, caplog: pytest.LogCaptureFixture
) -> None:
    """At the level at which kafka-python would log every byte that it sends, with PLAIN the password among them."""
    security = secure_broker.security("SCRAM", sasl_mechanism="PLAIN")
    with caplog.at_level(logging.DEBUG):
        rig = KafkaRig(secure_broker.bootstrap, "exactly_once", library, security)
        reader = joined(rig)
        settings = rig.settings
        rig.close()
        wrong = group_of(settings, sasl_password_file=secure_broker.token_file)
        with closing(make_client(wrong, None, "test")) as client, pytest.raises(RefusedError) as refused:
            client.start()
    shown = [caplog.text, repr(vars(reader.client)), *traceback.format_exception(refused.value)]
    secrets = PASSWORD, secure_broker.token_file.read_text()
    assert not [secret for secret in secrets if any(secret in text for text in shown)]


def test_a_secret_shows_in_nothing_that_an_operator_or_a_consumer_sees(
    library: Library, secure_broker: SecureBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Stream(secure_broker.bootstrap, tmp_path, f'[model]\nbundle = "{drawn_bundle(tmp_path)}"\n')
    produce(secure_broker.bootstrap, stream.input, [{"value": b"no tick"}])
    for name, value in secure_broker.security("SCRAM", sasl_password=PASSWORD, sasl_password_file=None).items():
        monkeypatch.setenv(f"FORECASTER_KAFKA__{name.upper()}", str(value))
    monkeypatch.setenv("FORECASTER_KAFKA__CLIENT", library)
    printed = forecaster("check-config", "--config", str(stream.config))
    assert printed.returncode == 0
    with stream.daemon() as daemon:
        wait_until(lambda: daemon.metric("forecaster_dead_letters_total") >= 1, 60, what="the dead letter")
        page = daemon.get("/metrics")
        assert daemon.terminate() == 0
        log = daemon.log()
    monkeypatch.setenv("FORECASTER_KAFKA__SASL_USERNAME", "nobody")
    refused = forecaster("run", "--config", str(stream.config))
    assert (refused.returncode, refused.stderr.splitlines()[-1][:28]) == (1, "forecaster: kafka.sasl_usern")
    topics = [str(record) for topic in (stream.output, stream.dead) for record in read_topic(stream.bootstrap, topic)]
    seen = [printed.stdout, printed.stderr, page, log, refused.stdout, refused.stderr, *topics]
    assert not [text for text in seen if PASSWORD in text]


def drawn_bundle(folder: Path) -> Path:
    import builders  # noqa: PLC0415  # TensorFlow, which the other tests need not wait for

    from forecaster.bundle.store import save_bundle  # noqa: PLC0415

    made = builders.network()
    save_bundle(folder / "bundle", builders.manifest(made), made)
    return folder / "bundle"


def joined(rig: KafkaRig) -> Reader:
    reader = Reader(rig.client())
    reader.client.start()
    wait_until(lambda: reader.poll() is not None and reader.client.joined(), what="membership")
    return reader


def test_records_go_both_ways_with_a_token_from_a_file(library: Library, secure_broker: SecureBroker) -> None:
    rig = KafkaRig(secure_broker.bootstrap, "exactly_once", library, secure_broker.security("OAUTH"))
    rig.send([b"tick"])
    reader = joined(rig)
    reader.until(1)
    reader.client.publish([Message(rig.settings.topics.output, b"k", b"forecast")])
    reader.client.commit()
    rig.close()
    assert rig.output() == [(b"k", b"forecast", [])]


@pytest.fixture
def endpoint(secure_broker: SecureBroker) -> Iterator[Endpoint]:
    with token_endpoint(secure_broker.authority, (USER, PASSWORD), lambda: unsigned_token(USER)) as endpoint:
        yield endpoint


def of_endpoint(secure_broker: SecureBroker, endpoint: Endpoint, **changes: Any) -> dict[str, Any]:
    settings = {
        "sasl_token_file": None,
        "sasl_token_endpoint": endpoint.url,
        "sasl_token_ca_file": str(secure_broker.authority.file),
        "sasl_username": USER,
        "sasl_password_file": str(secure_broker.password_file),
    }
    return secure_broker.security("OAUTH", **settings | changes)


def test_records_go_both_ways_with_tokens_of_an_endpoint_that_live_for_a_second(
    library: Library, secure_broker: SecureBroker, endpoint: Endpoint
) -> None:
    endpoint.seconds = 1.0
    rig = KafkaRig(secure_broker.bootstrap, "exactly_once", library, of_endpoint(secure_broker, endpoint))
    rig.send([b"tick"])
    reader = joined(rig)
    reader.until(1)
    asked = len(endpoint.asked)
    wait_until(lambda: (reader.poll(), len(endpoint.asked) > asked + 1)[1], what="fresh tokens")
    reader.client.publish([Message(rig.settings.topics.output, b"k", b"forecast")])
    reader.client.commit()
    rig.close()
    assert rig.output() == [(b"k", b"forecast", [])]


def test_an_endpoint_that_refuses_or_is_away_is_named(
    library: Library, secure_broker: SecureBroker, endpoint: Endpoint, stranger: Authority
) -> None:
    begin = "kafka.sasl_token_endpoint: "
    for change in ({"sasl_username": "nobody"}, {"sasl_token_ca_file": str(stranger.file)}):
        assert refusal(library, of_endpoint(secure_broker, endpoint, **change)).startswith(begin + endpoint.url)
    away = of_endpoint(secure_broker, endpoint, sasl_token_endpoint="https://127.0.0.1:9/")
    assert refusal(library, away, startup_timeout="2s").startswith(begin + "https://127.0.0.1:9/ gives no token")


def test_a_password_that_changes_in_its_file_is_taken_at_the_next_connection(
    secure_broker: SecureBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "LOOK_SECONDS", 0.2)
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    security = secure_broker.security("SCRAM", sasl_password_file=str(file))
    rigs = [KafkaRig(secure_broker.bootstrap, "exactly_once", library, security) for library in LIBRARIES]
    readers = [joined(rig) for rig in rigs]
    secure_broker.change_password("n3w-password")
    file.write_text("n3w-password\n")
    secure_broker.broker.stop()
    secure_broker.broker.start()
    try:
        for rig, reader in zip(rigs, readers, strict=True):
            wait_until(partial(delivered, reader, rig.settings.topics.output), 60, what="a forecast")
            rig.close()
    finally:
        secure_broker.change_password(PASSWORD)


def delivered(reader: Reader, topic: str) -> bool:
    try:
        reader.poll()
        reader.client.publish([Message(topic, b"k", b"forecast")])
        reader.client.commit()
    except RetryableError:
        reader.client.reset()
        return False
    return True
