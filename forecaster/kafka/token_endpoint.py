"""Tokens of a token endpoint by the client credentials grant (RFC 6749, section 4.4)."""

import base64
import http.client
import json
import logging
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import IO, Any

from kafka.errors import KafkaConnectionError

from forecaster.config import KafkaSettings
from forecaster.errors import ConfigError
from forecaster.kafka.secrets import password
from forecaster.kafka.tls import trusting
from forecaster.kafka.tokens import Granted, token_of
from forecaster.telemetry.logs import event

ANSWER_SECONDS = 5.0
MOST_BYTES = 2**16  # of an answer
UNTOLD_SECONDS = 60.0  # that a token is used whose answer does not say how long it lives
RENEWED_AT = 0.8  # of its life
AGAIN_SECONDS = 2.0  # after a failure: the libraries try to connect several times a second
MOST_WHY = 300  # letters of what a refusal tells
REFUSED = frozenset((400, 401, 403))


class TokenRefusedError(KafkaConnectionError):  # type: ignore[misc]  # kafka-python ships no types
    """The endpoint knows this client and its wish, and says no: no waiting changes that."""


class TokenEndpoint:
    """Asks for a token when there is none, and for the next one before it ends; for several threads."""

    def __init__(self, kafka: KafkaSettings, clock: Callable[[], float] = time.time) -> None:
        self._kafka, self._clock, self._secret = kafka, clock, password(kafka)
        self._granted = Granted("", 0.0)
        self._failure = KafkaConnectionError()
        self._ask_at = 0.0
        self._lock = threading.Lock()

    def __call__(self) -> Granted:
        """The token of now; raises `KafkaConnectionError` that names the setting where there is none."""
        with self._lock:
            now = self._clock()
            if now >= self._ask_at:
                self._renew(now)
            if now >= self._granted.ends:
                raise type(self._failure)(*self._failure.args)  # again and again: one object would keep every traceback
            return self._granted

    def _renew(self, now: float) -> None:
        try:
            self._granted = self._ask(now)
        except KafkaConnectionError as error:
            self._failure, self._ask_at = error, now + AGAIN_SECONDS
            if now < self._granted.ends:
                event("token_not_renewed", logging.WARNING, error=error.args[0])
        else:
            self._ask_at = now + RENEWED_AT * (self._granted.ends - now)

    def _ask(self, now: float) -> Granted:
        where = f"kafka.sasl_token_endpoint: {self._kafka.sasl_token_endpoint}"
        try:
            with self._opener().open(self._request(), timeout=ANSWER_SECONDS) as answer:
                return _granted(answer.read(MOST_BYTES), now)
        except urllib.error.HTTPError as error:
            with error:
                kind = TokenRefusedError if error.code in REFUSED else KafkaConnectionError
                raise kind(f"{where} answers {error.code} {_why(error)}".strip()) from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise TokenRefusedError(f"{where}: its certificate: {reason.verify_message}") from None
            raise KafkaConnectionError(f"{where} gives no token: {reason}") from None

    def _opener(self) -> urllib.request.OpenerDirector:
        try:
            context = trusting(self._kafka.sasl_token_ca_file, "kafka.sasl_token_ca_file")
        except ConfigError as error:  # it is half replaced
            raise KafkaConnectionError(str(error)) from None
        return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirects)

    def _request(self) -> urllib.request.Request:
        form = {"grant_type": "client_credentials", "scope": self._kafka.sasl_scope}
        known_by = f"{_quoted(self._kafka.sasl_username or '')}:{_quoted(self._secret())}"
        return urllib.request.Request(  # noqa: S310  # https alone is a setting
            str(self._kafka.sasl_token_endpoint),
            urllib.parse.urlencode({name: value for name, value in form.items() if value}).encode(),
            {"Authorization": f"Basic {base64.b64encode(known_by.encode()).decode()}", "Accept": "application/json"},
        )


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """urllib would show the secret to whatever an answer names."""

    def redirect_request(self, *_: Any) -> None:
        """Take the answer for the refusal that it is."""


def _quoted(text: str) -> str:
    """As section 2.3.1 has it before base64."""
    return urllib.parse.quote_plus(text)


def _granted(answer: bytes, now: float) -> Granted:
    """Raises `ValueError` for an answer without a token (section 5.1)."""
    told = json.loads(answer)
    if not isinstance(told, dict) or str(told.get("token_type")).lower() != "bearer":
        raise ValueError("its answer has no bearer token")
    seconds = float(str(told.get("expires_in", UNTOLD_SECONDS)))  # some servers have it as a text
    if not 0 < seconds < float("inf"):
        raise ValueError(f"its token ends in {seconds} s")
    return Granted(token_of(told.get("access_token")), now + seconds)


def _why(error: IO[bytes]) -> str:
    """What the answer of an error tells (section 5.2), if anything, on one line."""
    try:
        told = json.loads(error.read(MOST_BYTES))
        texts = [str(told[name]) for name in ("error", "error_description") if name in told]
    except (OSError, ValueError, TypeError):
        return ""
    return " ".join(": ".join(texts).split())[:MOST_WHY]
