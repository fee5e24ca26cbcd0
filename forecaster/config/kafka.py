"""The broker and the topics."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from forecaster.config.durations import PositiveDuration
from forecaster.config.section import Section

TLS_SETTINGS = ("ssl_ca_file", "ssl_cert_file", "ssl_key_file", "ssl_key_password", "ssl_key_password_file")
TOKEN_SETTINGS = ("sasl_token_file", "sasl_token_endpoint")
ENDPOINT_SETTINGS = ("sasl_token_ca_file", "sasl_scope")
SASL_SETTINGS = (
    "sasl_mechanism", "sasl_username", "sasl_password", "sasl_password_file", *TOKEN_SETTINGS, *ENDPOINT_SETTINGS
)  # fmt: skip
Password = Annotated[SecretStr, Field(min_length=1)]


class KafkaSettings(Section):
    """How to reach the broker, and the consumer group ([what is promised](delivery.md))."""

    bootstrap_servers: Annotated[str, Field(min_length=1)] = "localhost:9092"
    """`host:port`, several separated by commas"""
    client: Literal["kafka-python", "librdkafka"] = "kafka-python"
    """the library that moves the records, or `"librdkafka"` for high rates (`pip install
    "forecaster[librdkafka]"`); what is promised is the same"""
    group_id: Annotated[str, Field(min_length=1)] = "forecaster"
    """consumer group; its members share the partitions"""
    auto_offset_reset: Literal["earliest", "latest"] = "earliest"
    """where a group without a committed offset starts"""
    max_poll_records: Annotated[int, Field(ge=1, le=100_000)] = 5_000
    """records in one batch at most"""
    session_timeout: PositiveDuration = 45_000
    """after which a member that is silent loses its partitions"""
    group_instance_id: Annotated[str | None, Field(min_length=1)] = None
    """makes the worker a static member of the group: a restart within `session_timeout` moves no partition"""
    transactional_id: Annotated[str | None, Field(min_length=1)] = None
    """names the worker's transactions, the same after a restart; the group and the host's name if not set"""
    worker_index: Annotated[int, Field(ge=0)] = 0
    """goes behind both names: each worker of one host has its own; with `workers` above 1, the first one's"""
    transaction_timeout: PositiveDuration = 10_000
    """after which the broker ends a transaction; shorter than `session_timeout`"""
    lost_offsets: Literal["continue", "stop"] = "continue"
    """where records were deleted before they were read: go on and count them, or `"stop"` with exit code 1"""
    stuck_timeout: PositiveDuration = 60_000
    """a partition that is not read for so long although records wait makes the worker connect anew"""
    startup_timeout: PositiveDuration = 60_000
    """without an answer from a broker for so long, the start ends with exit code 1"""
    delivery_timeout: PositiveDuration = 60_000
    """a forecast not acknowledged within it is a failure: the state is dropped and restored"""
    shutdown_timeout: PositiveDuration = 30_000
    """a stop that takes longer ends with exit code 1"""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """how the connection is secured ([security](security.md))"""
    ssl_ca_file: Path | None = None
    """PEM file of the authorities that sign brokers' certificates; those of the system if not set"""
    ssl_cert_file: Path | None = None
    """PEM file of our own certificate, for brokers that ask for one, with those between it and the authority"""
    ssl_key_file: Path | None = None
    """PEM file of its key"""
    ssl_key_password: Password | None = None
    """of an encrypted key; hidden wherever settings are shown"""
    ssl_key_password_file: Path | None = None
    """the same from a file"""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    """how the daemon proves who it is"""
    sasl_username: str | None = None
    """who the daemon is to the broker; with `sasl_token_endpoint` its client id there"""
    sasl_password: Password | None = None
    """with `sasl_token_endpoint` its client secret; hidden wherever settings are shown"""
    sasl_password_file: Path | None = None
    """the same from a file, which is read anew for each connection"""
    sasl_token_file: Path | None = None
    """of `OAUTHBEARER`: a token, read anew for each connection and before it ends"""
    sasl_token_endpoint: Annotated[str | None, Field(pattern=r"^https://[^\s/@?#]+(/[^\s#]*)?$")] = None
    """or the https address of an endpoint that gives tokens for `sasl_username` and its password ([client
    credentials](security.md#tokens))"""
    sasl_token_ca_file: Path | None = None
    """PEM file of the authorities that sign the endpoint's certificate; those of the system if not set"""
    sasl_scope: Annotated[str | None, Field(min_length=1)] = None
    """what the endpoint is asked for, several separated by spaces"""

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
            if not used and (unused := self._set(names)):
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
        mechanism, bearer = f'sasl_mechanism = "{self.sasl_mechanism}"', self.sasl_mechanism == "OAUTHBEARER"
        tokens = self._set(TOKEN_SETTINGS)
        if not bearer and tokens:
            raise ValueError(f"{tokens[0]}: {mechanism} has a password instead")
        if bearer and not tokens:
            raise ValueError(f"sasl_token_file: {mechanism} needs it, or sasl_token_endpoint")
        if len(tokens) > 1:
            raise ValueError("sasl_token_file and sasl_token_endpoint: only one of them")
        if tokens != ["sasl_token_endpoint"] and (unused := self._set(ENDPOINT_SETTINGS)):
            raise ValueError(f"{unused[0]}: there is no sasl_token_endpoint")
        if tokens == ["sasl_token_file"]:
            self._check_no_password(mechanism)
        else:
            self._check_password(mechanism)
        return self

    def _check_no_password(self, mechanism: str) -> None:
        if self._set(("sasl_username", "sasl_password", "sasl_password_file")):
            raise ValueError(f"sasl_username, sasl_password: {mechanism} has a token instead")

    def _check_password(self, mechanism: str) -> None:
        passwords = self._set(("sasl_password", "sasl_password_file"))
        if len(passwords) > 1:
            raise ValueError("sasl_password and sasl_password_file: only one of them")
        if not self.sasl_username:
            raise ValueError(f"sasl_username: {mechanism} needs it")
        if not passwords:
            raise ValueError(f"sasl_password_file: {mechanism} needs it, or sasl_password")

    def _set(self, names: Sequence[str]) -> list[str]:
        """Those of `names` that are set."""
        return [name for name in names if getattr(self, name) is not None]


class TopicSettings(Section):
    """Names of the topics."""

    input: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")] = "ticks"
    """ticks are read from it"""
    output: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")] = "forecasts"
    """forecasts are written to it"""
    dead_letter: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")] = "forecasts.dlq"
    """what cannot be processed is written to it, as it came"""
    state: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")] = "forecasts.state"
    """checkpoints; must be compacted"""
    dead_letters_per_minute: Annotated[int | None, Field(ge=0)] = None
    """more dead letters than this within a minute end the daemon with exit code 1, before the batch that brings
    them is published or committed"""
    create: bool = True
    """create a missing topic; without it a missing one ends the start with exit code 2"""
    partitions: Annotated[int, Field(ge=1, le=10_000)] = 4
    """of a topic that is created"""
    replication_factor: Annotated[int, Field(ge=-1, le=10)] = -1
    """of a topic that is created; -1 is the broker's default"""

    @model_validator(mode="after")
    def _distinct(self) -> "TopicSettings":
        names = [self.input, self.output, self.dead_letter, self.state]
        if len(set(names)) != len(names):
            raise ValueError("input, output, dead_letter and state must be four different topics")
        return self
