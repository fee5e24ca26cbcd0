"""The broker and the topics."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from forecaster.config.durations import PositiveDuration
from forecaster.config.section import Section

TLS_SETTINGS = ("ssl_ca_file", "ssl_cert_file", "ssl_key_file", "ssl_key_password", "ssl_key_password_file")
SASL_SETTINGS = ("sasl_mechanism", "sasl_username", "sasl_password", "sasl_password_file", "sasl_token_file")


class KafkaSettings(Section):
    """How to reach the broker, and the consumer group."""

    bootstrap_servers: Annotated[str, Field(min_length=1)] = "localhost:9092"
    client: Literal["kafka-python", "librdkafka"] = "kafka-python"
    group_id: Annotated[str, Field(min_length=1)] = "forecaster"
    auto_offset_reset: Literal["earliest", "latest"] = "earliest"
    max_poll_records: Annotated[int, Field(ge=1, le=100_000)] = 5_000
    session_timeout: PositiveDuration = 45_000
    group_instance_id: Annotated[str | None, Field(min_length=1)] = None
    transactional_id: Annotated[str | None, Field(min_length=1)] = None
    worker_index: Annotated[int, Field(ge=0)] = 0
    transaction_timeout: PositiveDuration = 10_000
    lost_offsets: Literal["continue", "stop"] = "continue"
    stuck_timeout: PositiveDuration = 60_000
    startup_timeout: PositiveDuration = 60_000
    delivery_timeout: PositiveDuration = 60_000
    shutdown_timeout: PositiveDuration = 30_000
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    ssl_ca_file: Path | None = None
    ssl_cert_file: Path | None = None
    ssl_key_file: Path | None = None
    ssl_key_password: SecretStr | None = None
    ssl_key_password_file: Path | None = None
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    sasl_password_file: Path | None = None
    sasl_token_file: Path | None = None

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.security_protocol in {"SSL", "SASL_SSL"}

    @property
    def sasl(self) -> bool:
        """Whether this client tells who it is by SASL."""
        return self.security_protocol.startswith("SASL")

    @model_validator(mode="after")
    def _used(self) -> "KafkaSettings":
        """Refuse what `security_protocol` has no use for: whoever sets it believes to be protected by it."""
        for used, names in ((self.tls, TLS_SETTINGS), (self.sasl, SASL_SETTINGS)):
            unused = [name for name in names if getattr(self, name) is not None]
            if unused and not used:
                raise ValueError(f'{unused[0]}: security_protocol = "{self.security_protocol}" makes no use of it')
        return self

    @model_validator(mode="after")
    def _tls_whole(self) -> "KafkaSettings":
        if self.ssl_key_password is not None and self.ssl_key_password_file is not None:
            raise ValueError("ssl_key_password and ssl_key_password_file: only one of them")
        if (self.ssl_cert_file is None) != (self.ssl_key_file is None):
            raise ValueError("ssl_cert_file and ssl_key_file: a certificate goes with its key, set both")
        if self.ssl_key_file is None and (self.ssl_key_password or self.ssl_key_password_file):
            raise ValueError("ssl_key_password: there is no ssl_key_file")
        return self

    @model_validator(mode="after")
    def _sasl_whole(self) -> "KafkaSettings":
        if self.sasl and self.sasl_mechanism is None:
            raise ValueError(f'sasl_mechanism: security_protocol = "{self.security_protocol}" needs one')
        if self.sasl_mechanism is None:
            return self
        mechanism, token = f'sasl_mechanism = "{self.sasl_mechanism}"', self.sasl_mechanism == "OAUTHBEARER"
        if self.sasl_password is not None and self.sasl_password_file is not None:
            raise ValueError("sasl_password and sasl_password_file: only one of them")
        if token != (self.sasl_token_file is not None):
            raise ValueError(f"sasl_token_file: {mechanism} " + ("needs it" if token else "has a password instead"))
        has_password = self.sasl_password is not None or self.sasl_password_file is not None
        if token and (self.sasl_username is not None or has_password):
            raise ValueError(f"sasl_username, sasl_password: {mechanism} has a token instead")
        if not token and not self.sasl_username:
            raise ValueError(f"sasl_username: {mechanism} needs it")
        if not token and not has_password:
            raise ValueError(f"sasl_password_file: {mechanism} needs it, or sasl_password")
        return self


class TopicSettings(Section):
    """Topic names; a missing one is created with `partitions` when `create` is on."""

    input: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")] = "ticks"
    output: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")] = "forecasts"
    dead_letter: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")] = "forecasts.dlq"
    state: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")] = "forecasts.state"
    dead_letters_per_minute: Annotated[int | None, Field(ge=0)] = None
    create: bool = True
    partitions: Annotated[int, Field(ge=1, le=10_000)] = 4
    replication_factor: Annotated[int, Field(ge=-1, le=10)] = -1

    @model_validator(mode="after")
    def _distinct(self) -> "TopicSettings":
        names = [self.input, self.output, self.dead_letter, self.state]
        if len(set(names)) != len(names):
            raise ValueError("input, output, dead_letter and state must be four different topics")
        return self
