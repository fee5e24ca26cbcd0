"""What this client proves who it is with, as either library wants it: read late, read again, shown nowhere."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from kafka.errors import KafkaConnectionError
from kafka.net.sasl import get_sasl_mechanism, register_sasl_mechanism

from forecaster.config import KafkaSettings
from forecaster.errors import ConfigError
from forecaster.kafka.secrets import key_password, password, unreadable
from forecaster.kafka.tls import FreshContext, tls_context, trusting
from forecaster.kafka.token_endpoint import TokenEndpoint
from forecaster.kafka.tokens import Token, TokenFile

LOOK_SECONDS = 5.0
PASSWORD_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
READ_ONCE = ("ssl_ca_file", "ssl_cert_file", "ssl_key_file", "ssl_key_password_file", "sasl_password_file")
FILES = (*READ_ONCE, "sasl_token_ca_file")


def security_options(kafka: KafkaSettings) -> dict[str, Any]:
    """What every client of kafka-python is told of security, and what librdkafka's options are made of."""

    def text(file: Path | None) -> str | None:
        return None if file is None else str(file)

    passwords = kafka.sasl_mechanism in PASSWORD_MECHANISMS
    return {
        "security_protocol": kafka.security_protocol,
        "ssl_context": FreshContext(kafka) if kafka.tls else None,  # kafka-python looks at none of the files then
        "ssl_cafile": text(kafka.ssl_ca_file),
        "ssl_certfile": text(kafka.ssl_cert_file),
        "ssl_keyfile": text(kafka.ssl_key_file),
        "ssl_password": key_password(kafka),
        "sasl_mechanism": kafka.sasl_mechanism,
        "sasl_plain_username": kafka.sasl_username if passwords else None,
        "sasl_plain_password": password(kafka) if passwords else None,
        "sasl_oauth_token_provider": _token(kafka),
    }


def _token(kafka: KafkaSettings) -> Token | None:
    if kafka.sasl_mechanism != "OAUTHBEARER":
        return None
    return Token(TokenFile(kafka) if kafka.sasl_token_endpoint is None else TokenEndpoint(kafka))


def read_secrets_late() -> None:
    """Make kafka-python read a `Secret` at each authentication; a second call changes nothing."""
    for name in PASSWORD_MECHANISMS:
        mechanism = get_sasl_mechanism(name)
        if not issubclass(mechanism, _Late):
            register_sasl_mechanism(name, type(f"Late{mechanism.__name__}", (_Late, mechanism), {}), overwrite=True)


class _Late:
    """Comes before a mechanism of kafka-python in the order of its bases."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**{**config, "sasl_plain_password": config["sasl_plain_password"]()})


def check_credentials(kafka: KafkaSettings) -> None:
    """Raise `ConfigError` that names the setting whose file cannot be read or does not hold what it should."""
    for name in FILES:
        _check_readable(f"kafka.{name}", getattr(kafka, name))
    token_file = None if kafka.sasl_token_file is None else TokenFile(kafka)
    try:
        for secret in (password(kafka), key_password(kafka), token_file):
            if secret is not None:
                secret()
    except KafkaConnectionError as error:
        raise ConfigError(error.args[0]) from None
    if kafka.sasl_token_endpoint is not None:
        trusting(kafka.sasl_token_ca_file, "kafka.sasl_token_ca_file")
    if kafka.tls:
        tls_context(kafka)


def _check_readable(setting: str, file: Path | None) -> None:
    try:
        if file is not None:
            file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{setting}: {unreadable(file, error)}") from None


class Watch:
    """Tells when the files that a connection was made with have changed since; looks at them now and then.

    Not at a token, which is renewed all the time and asked for again by either library.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._files: list[Path] = [file for name in READ_ONCE if (file := getattr(kafka, name)) is not None]
        self._seen, self._looked = self._state(), time.monotonic()

    def changed(self) -> bool:
        """Whether they have; from then on what is there now is what they are compared with."""
        if not self._files or time.monotonic() - self._looked < LOOK_SECONDS:
            return False
        before, self._seen, self._looked = self._seen, self._state(), time.monotonic()
        return before != self._seen

    def _state(self) -> list[tuple[int, int, int]]:
        """Inode, time and size of each that is there."""
        found = []
        for file in self._files:
            with suppress(OSError):  # it is being replaced: the next look sees what it is replaced with
                stat = file.stat()
                found.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
        return found
