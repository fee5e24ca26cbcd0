"""One connection made by hand before any other: the libraries only repeat what fails in it, and tell no reason."""

import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from kafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    NoError,
    UnsupportedSaslMechanismError,
    for_code,
)
from kafka.net.sasl import get_sasl_mechanism
from kafka.protocol.parser import KafkaProtocol
from kafka.protocol.sasl import SaslAuthenticateRequest, SaslHandshakeRequest

from forecaster.config import KafkaSettings
from forecaster.errors import RefusedError
from forecaster.kafka.tls import tls_context
from forecaster.kafka.token_endpoint import TokenRefusedError

ANSWER_SECONDS = 5.0
READ_BYTES = 64 * 2**10
MOST_BYTES = 2**20  # of an answer; more is none of Kafka's


class _Refused(Exception):  # noqa: N818  # not the user's yet
    """Why broker and client do not come together; where it is not `certain` the broker may just not be ready."""

    def __init__(self, text: str, *, certain: bool = True) -> None:
        super().__init__(text)
        self.certain = certain


def check_handshake(kafka: KafkaSettings, options: Mapping[str, Any], deadline: float, *, certain: bool) -> None:
    """Raise `RefusedError` where the first server that answers and this client do not accept each other.

    Goes up to the authentication, in the words of `options`, and by `deadline` (of `time.monotonic`). With `certain`
    only for what no waiting changes.
    """
    for server in options["bootstrap_servers"]:
        seconds = min(ANSWER_SECONDS, deadline - time.monotonic())
        if seconds <= 0:
            return
        try:
            _talk(kafka, options, server, seconds)
        except _Refused as refused:
            if refused.certain or not certain:
                raise RefusedError(f"{refused} ({server})") from None
        except (KafkaError, OSError):  # no answer, or the secrets' files are away: whoever waits for it says so
            continue
        return


def _talk(kafka: KafkaSettings, options: Mapping[str, Any], server: str, seconds: float) -> None:
    """Connect to `server` and authenticate; raises `_Refused`, or `OSError` where nobody is there."""
    host, _, port = server.rpartition(":")
    host = host.strip("[]")
    try:
        with socket.create_connection((host, int(port)), seconds) as plain, _secured(kafka, plain, host) as sock:
            connection = _Connection(sock, options["client_id"], time.monotonic() + seconds)
            _introduce(kafka, options, connection, host)
    except ssl.SSLError as error:
        raise _why(kafka, error) from None
    except (ConnectionResetError, BrokenPipeError):
        raise _hung_up(kafka) from None


def _secured(kafka: KafkaSettings, sock: socket.socket, host: str) -> AbstractContextManager[socket.socket]:
    return tls_context(kafka).wrap_socket(sock, server_hostname=host) if kafka.tls else nullcontext(sock)


def _hung_up(kafka: KafkaSettings) -> _Refused:
    text = f'kafka.security_protocol: "{kafka.security_protocol}": the broker hangs up, perhaps it wants another'
    return _Refused(text, certain=False)


def _why(kafka: KafkaSettings, error: ssl.SSLError) -> _Refused:
    """What an operator can do about a failure of TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _Refused(f"{_unverified(error)}: {error.verify_message}")
    reason = (error.reason or "").replace("_", " ").lower()
    if "alert" in reason and ("cert" in reason or "unknown ca" in reason or "handshake failure" in reason):
        missing = "the broker asks for a certificate" if kafka.ssl_cert_file is None else "the broker refuses ours"
        return _Refused(f"kafka.ssl_cert_file: {missing}: {reason}")
    text = f'kafka.security_protocol: "{kafka.security_protocol}": no TLS comes about: {reason}'
    return _Refused(text, certain=False)


def _unverified(error: ssl.SSLCertVerificationError) -> str:
    if "mismatch" in error.verify_message.lower():
        return "kafka.bootstrap_servers: the broker's certificate is for another name"
    if "expired" in error.verify_message or "not yet valid" in error.verify_message:
        return "kafka.bootstrap_servers: the broker's certificate is not valid now"
    return "kafka.ssl_ca_file: the broker's certificate is not signed by it"


class _Connection:
    """Requests and their answers over `sock`, all of them by `deadline` (of `time.monotonic`)."""

    def __init__(self, sock: socket.socket, client_id: str, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline
        self._protocol = KafkaProtocol(client_id=client_id, receive_message_max_bytes=MOST_BYTES)

    def ask(self, request: Any) -> Any:
        """The answer to `request`.

        Raises `TimeoutError` where it comes too late, `ConnectionResetError` where it is none of Kafka's.
        """
        self._protocol.send_request(request)
        self._sock.sendall(self._protocol.send_bytes())
        answers: list[Any] = []
        while not answers:
            self._sock.settimeout(max(0.001, self._deadline - time.monotonic()))  # 0 would not wait and not tell
            data = self._sock.recv(READ_BYTES)
            if not data:
                raise ConnectionResetError
            answers = self._received(data)
        return answers[0][1]

    def _received(self, data: bytes) -> list[Any]:
        try:
            return list(self._protocol.receive_bytes(data))
        except Exception:  # noqa: BLE001  # the library reads what is none of Kafka's as if it were
            raise ConnectionResetError from None


def _introduce(kafka: KafkaSettings, options: Mapping[str, Any], connection: _Connection, host: str) -> None:
    """Ask for SASL; a listener without it says so."""
    answer = connection.ask(SaslHandshakeRequest(mechanism=kafka.sasl_mechanism or "PLAIN", version=1))
    refusal = for_code(answer.error_code)
    if kafka.sasl and refusal is IllegalSaslStateError:
        raise _Refused(f'kafka.security_protocol: "{kafka.security_protocol}": the broker takes no SASL here')
    if not kafka.sasl and refusal in {NoError, UnsupportedSaslMechanismError}:
        text = f'kafka.security_protocol: "{kafka.security_protocol}": the broker wants SASL here'
        raise _Refused(text, certain=False)  # or it takes what it does not ask for
    if kafka.sasl and refusal is UnsupportedSaslMechanismError:
        offered = ", ".join(sorted(answer.mechanisms))
        raise _Refused(f'kafka.sasl_mechanism: the broker knows {offered} here, not "{kafka.sasl_mechanism}"')
    if kafka.sasl:
        _authenticate(kafka, options, connection, host)


def _authenticate(kafka: KafkaSettings, options: Mapping[str, Any], connection: _Connection, host: str) -> None:
    mechanism = get_sasl_mechanism(kafka.sasl_mechanism)(host=host, **options)
    while not mechanism.is_done():
        answer = connection.ask(SaslAuthenticateRequest(_proof_of(mechanism), version=1))
        if for_code(answer.error_code) is not NoError:
            raise _Refused(f"{_proof(kafka)}: the broker refuses it: {' '.join((answer.error_message or '').split())}")
        try:
            mechanism.receive(answer.auth_bytes)
        except (ValueError, KeyError):  # the broker could not show that it knows the password
            raise _Refused(f"{_proof(kafka)}: the broker does not know it") from None


def _proof_of(mechanism: Any) -> bytes:
    try:
        proof: bytes = mechanism.auth_bytes()
    except KafkaConnectionError as error:  # a file may come back, and an endpoint
        raise _Refused(error.args[0], certain=isinstance(error, TokenRefusedError)) from None
    return proof


def _proof(kafka: KafkaSettings) -> str:
    """The settings that this client is known by."""
    if kafka.sasl_mechanism == "OAUTHBEARER":
        return "kafka.sasl_token_file" if kafka.sasl_token_endpoint is None else "kafka.sasl_token_endpoint"
    return f"kafka.sasl_username, kafka.sasl_password{'_file' if kafka.sasl_password_file else ''}"
