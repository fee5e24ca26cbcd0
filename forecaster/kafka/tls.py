"""The TLS that shows who the broker is, and shows it who we are."""

import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from kafka.errors import KafkaConnectionError

from forecaster.config import KafkaSettings
from forecaster.errors import ConfigError
from forecaster.kafka.secrets import key_password

HANDSHAKE_SECONDS = 10.0


class _EndingSocket(ssl.SSLSocket):
    """kafka-python waits for ever for a handshake, and leaves the socket open where one has failed."""

    _timer: threading.Timer | None = None

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002  # as the library has it
        """Take a step of it, and let it fail after `HANDSHAKE_SECONDS`."""
        if self._timer is None:
            self._timer = threading.Timer(HANDSHAKE_SECONDS, self._hang_up)
            self._timer.daemon = True
            self._timer.start()
        try:
            super().do_handshake(block)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError:
            self._timer.cancel()
            self.close()
            raise
        self._timer.cancel()

    def _hang_up(self) -> None:
        """Wake whoever waits for the socket."""
        with suppress(OSError):  # it is closed already
            socket.socket.shutdown(self, socket.SHUT_RDWR)  # that of TLS would let what follows be sent in clear


class FreshContext:
    """Stands where kafka-python takes a TLS context, and makes it from the files of now for each connection."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka

    def wrap_socket(self, sock: socket.socket, **options: Any) -> ssl.SSLSocket:
        """A file that is away or half replaced fails this connection alone: the next one reads it again."""
        try:
            context = tls_context(self._kafka)
            context.sslsocket_class = _EndingSocket
            return context.wrap_socket(sock, **options)
        except (ConfigError, OSError) as error:
            sock.close()
            raise KafkaConnectionError(str(error)) from None


def tls_context(kafka: KafkaSettings) -> ssl.SSLContext:
    """What verifies the broker, its name too, and shows it our certificate; `ConfigError` names a file at fault."""
    context = trusting(kafka.ssl_ca_file, "kafka.ssl_ca_file")
    if kafka.ssl_cert_file is not None:
        _load_own(context, kafka)
    return context


def trusting(ca_file: Path | None, setting: str) -> ssl.SSLContext:
    """What verifies servers by the authorities in `ca_file`, or the system's; `ConfigError` names its `setting`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is None:
        context.load_default_certs()
        return context
    try:
        context.load_verify_locations(ca_file)
    except OSError:  # of which SSLError is one
        raise ConfigError(f"{setting}: {ca_file} holds no certificate in PEM") from None
    return context


def _load_own(context: ssl.SSLContext, kafka: KafkaSettings) -> None:
    names = f"kafka.ssl_cert_file, kafka.ssl_key_file: {kafka.ssl_cert_file} and {kafka.ssl_key_file}"
    try:
        # without a password OpenSSL would ask the terminal for one
        context.load_cert_chain(str(kafka.ssl_cert_file), kafka.ssl_key_file, key_password(kafka) or "")
    except OSError as error:
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"{names} do not belong together") from None
        raise ConfigError(
            f"{names} are no certificate and key in PEM, or kafka.ssl_key_password is not the key's"
        ) from None
