"""Files of credentials: what is wrong with one is told by its setting, and what is in one shows nowhere."""

import logging
import traceback
from pathlib import Path
from typing import Any

import pytest
from integration.certificates import Authority
from kafka.errors import KafkaConnectionError
from pydantic import SecretStr

from forecaster.config import KafkaSettings
from forecaster.errors import ConfigError
from forecaster.kafka.credentials import Watch, check_credentials
from forecaster.kafka.python_connect import connection_options
from forecaster.kafka.rdkafka_connect import library_options
from forecaster.kafka.secrets import Secret, key_password
from forecaster.kafka.tls import FreshContext, tls_context

CANARY = "c4n4ry-0f-a-secret"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def mutual(authority: Authority) -> dict[str, Any]:
    cert, key = authority.issue("user")
    return {
        "security_protocol": "SSL",
        "ssl_ca_file": authority.file,
        "ssl_cert_file": cert,
        "ssl_key_file": key,
    }


def refusal(**settings: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        check_credentials(KafkaSettings(**settings))
    line = str(refused.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("name", ["ssl_ca_file", "ssl_cert_file", "ssl_key_file", "ssl_key_password_file"])
def test_a_file_that_is_not_there_is_named(mutual: dict[str, Any], tmp_path: Path, name: str) -> None:
    line = refusal(**{**mutual, name: tmp_path / "none"})
    assert line == f"kafka.{name}: {tmp_path / 'none'} cannot be read: No such file or directory"


def test_files_that_hold_something_else_are_named(authority: Authority, mutual: dict[str, Any], tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("something else")
    assert refusal(**{**mutual, "ssl_ca_file": other}).startswith("kafka.ssl_ca_file: ")
    assert refusal(**{**mutual, "ssl_cert_file": other}).startswith("kafka.ssl_cert_file, kafka.ssl_key_file: ")
    _, key = authority.issue("another")
    assert refusal(**{**mutual, "ssl_key_file": key}).endswith("do not belong together")


def test_an_encrypted_key_needs_its_password_and_asks_no_terminal(authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.issue("locked", password=CANARY)
    locked = {"security_protocol": "SSL", "ssl_cert_file": cert, "ssl_key_file": key}
    assert "kafka.ssl_key_password is not the key's" in refusal(**locked)
    wrong = refusal(**locked, ssl_key_password=SecretStr("wr0ng-canary"))
    assert "kafka.ssl_key_password is not the key's" in wrong
    assert "canary" not in wrong
    file = tmp_path / "password"
    file.write_text(CANARY + "\n")
    check_credentials(KafkaSettings(**locked, ssl_key_password_file=file))
    check_credentials(KafkaSettings(**locked, ssl_key_password=SecretStr(CANARY)))


@pytest.mark.parametrize(("content", "why"), [(b"", "is empty"), (b"\n", "is empty"), (b"\xff", "it is no text")])
def test_a_password_file_without_a_password_is_named(
    mutual: dict[str, Any], tmp_path: Path, content: bytes, why: str
) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)
    scram = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "u"}
    for name, security in (("sasl_password_file", scram), ("ssl_key_password_file", mutual)):
        line = refusal(**security, **{name: file})
        assert line.startswith(f"kafka.{name}: ")
        assert line.endswith(why)


@pytest.mark.parametrize("content", ["two\nlines", "two words", "b\u00e4r", "a\x01auth=b"])
def test_a_file_without_a_token_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    oauth = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "OAUTHBEARER"}
    assert refusal(**oauth, sasl_token_file=file) == f"kafka.sasl_token_file: {file} holds no bearer token"


def test_a_secret_is_read_whenever_it_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "password"
    secret = Secret("sasl_password_file", None, file)
    file.write_text("first\n")
    assert secret() == "first"
    file.write_bytes(b"\xef\xbb\xbffirst\r\n")  # as an editor of Windows leaves it
    assert secret() == "first"
    file.write_text(" second ")
    assert secret() == " second "
    file.unlink()
    with pytest.raises(KafkaConnectionError, match=r"kafka\.sasl_password_file: .* cannot be read"):
        secret()


def test_no_text_of_the_options_shows_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    settings = KafkaSettings(
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username="u",
        sasl_password=SecretStr(CANARY),
    )
    with caplog.at_level(logging.DEBUG):
        options = connection_options(settings, "test")
        for shown in (options, library_options(options)):
            logging.getLogger("forecaster").debug("%r %s", shown, shown)
    assert options["sasl_plain_password"]() == CANARY
    assert CANARY not in caplog.text


def test_below_a_warning_nothing_of_what_goes_over_the_wire_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    connection_options(KafkaSettings(), "test")
    with caplog.at_level(logging.DEBUG):  # as where the level of everything is lowered to look for a fault
        for name in ("kafka.protocol.parser", "kafka.net.connection", "kafka.admin.client", "kafka.net.sasl.oauth"):
            logging.getLogger(name).debug("Send: %r", CANARY)
    assert CANARY not in caplog.text


def test_a_context_is_made_of_the_files_of_now(mutual: dict[str, Any]) -> None:
    context = FreshContext(KafkaSettings(**mutual))

    class Socket:
        closed = False

        def close(self) -> None:
            self.closed = True

    sock = Socket()
    mutual["ssl_cert_file"].write_text("half a certificate")
    with pytest.raises(KafkaConnectionError, match=r"kafka\.ssl_cert_file") as failed:
        context.wrap_socket(sock, server_hostname="localhost", do_handshake_on_connect=False)
    assert sock.closed
    assert "Traceback" not in "".join(traceback.format_exception_only(failed.value))


def test_the_brokers_name_is_always_checked(mutual: dict[str, Any]) -> None:
    context = tls_context(KafkaSettings(**mutual))
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"


def test_a_file_that_is_replaced_is_noticed_once(mutual: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forecaster.kafka.credentials.LOOK_SECONDS", 0.0)
    watch = Watch(KafkaSettings(**mutual))
    assert not watch.changed()
    fresh = mutual["ssl_cert_file"].with_name("fresh")
    fresh.write_bytes(mutual["ssl_cert_file"].read_bytes())
    fresh.replace(mutual["ssl_cert_file"])  # as Kubernetes does: another file under the same name
    assert watch.changed()
    assert not watch.changed()


def test_a_renewed_token_changes_nothing_for_the_connections_that_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forecaster.kafka.credentials.LOOK_SECONDS", 0.0)
    file = tmp_path / "token"
    file.write_text("first")
    oauth = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "OAUTHBEARER", "sasl_token_file": file}
    settings = KafkaSettings(**oauth)
    provider, watch = connection_options(settings, "test")["sasl_oauth_token_provider"], Watch(settings)
    file.write_text("second")
    assert not watch.changed()
    assert (provider.token(), provider("")[0]) == ("second", "second")


def test_without_a_password_there_is_none_to_ask_for(mutual: dict[str, Any]) -> None:
    assert key_password(KafkaSettings(**mutual)) is None
