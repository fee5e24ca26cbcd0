"""The broker and the topics."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from forecaster.config.durations import PositiveDuration
from forecaster.config.section import Section


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
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None


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
