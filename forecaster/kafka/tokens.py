"""Bearer tokens as either library asks for them."""

import re
import time
from collections.abc import Callable
from typing import NamedTuple

from kafka.errors import KafkaConnectionError
from kafka.net.sasl.oauth import AbstractTokenProvider

from forecaster.config import KafkaSettings
from forecaster.kafka.secrets import Secret

TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1
FILE_SECONDS = 60.0  # after which librdkafka asks for it again: whoever writes the file renews it in time


class Granted(NamedTuple):
    """A token, and the epoch second at which it ends."""

    token: str
    ends: float


def token_of(text: object) -> str:
    """`text` as a token; raises `ValueError` for what is none: each library would fail over it in its own way."""
    if not isinstance(text, str) or TOKEN.fullmatch(text.strip()) is None:
        raise ValueError("no bearer token")
    return text.strip()


class TokenFile:
    """The token that something else keeps in `sasl_token_file`."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._file = kafka.sasl_token_file
        self._secret = Secret("sasl_token_file", None, self._file)

    def __call__(self) -> Granted:
        """What the file holds now; raises `KafkaConnectionError` that names it."""
        try:
            return Granted(token_of(self._secret()), time.time() + FILE_SECONDS)
        except ValueError as error:
            raise KafkaConnectionError(f"kafka.sasl_token_file: {self._file} holds {error}") from None


class Token(AbstractTokenProvider):  # type: ignore[misc]  # kafka-python ships no types
    """The token that `granted` gives, for both libraries."""

    def __init__(self, granted: Callable[[], Granted]) -> None:
        super().__init__()
        self._granted = granted

    def token(self) -> str:
        """What kafka-python asks for at each connection."""
        return self._granted().token

    def __call__(self, _: str = "") -> tuple[str, float]:
        """What librdkafka asks for: the token, and the epoch second by which it asks again."""
        token, ends = self._granted()
        return token, ends
