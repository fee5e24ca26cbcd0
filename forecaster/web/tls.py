"""TLS of the endpoints that the daemon serves."""

import socket
import ssl
import time
from pathlib import Path

from forecaster.config import MetricsSettings
from forecaster.errors import ConfigError
from forecaster.telemetry.logs import RareWarning


class ServerTls:
    """Certificates are read anew for each connection; what was replaced by something unreadable stays in use.

    A client may show a certificate where there is a `client_ca`: what needs one asks `shown`.
    """

    def __init__(self, cert: Path, key: Path, client_ca: Path | None) -> None:
        self._cert, self._key, self._client_ca = cert, key, client_ca
        self._context = self._load()
        self._unread = RareWarning("certificate_not_read", time.monotonic)

    @property
    def asks_clients(self) -> bool:
        """Whether clients are known by their certificates."""
        return self._client_ca is not None

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._cert, self._key, "")  # without a password OpenSSL would ask the terminal
        if self._client_ca is not None:
            context.load_verify_locations(self._client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def wrap(self, sock: socket.socket) -> ssl.SSLSocket:
        """The handshake follows with the first read, on the thread of the request."""
        try:
            self._context = self._load()
        except OSError as error:  # half replaced, perhaps: the next connection looks again
            self._unread.add(1, setting="metrics.tls_cert_file", file=str(self._cert), error=str(error))
        return self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)


def shown(sock: socket.socket) -> bool:
    """Whether the client at the other end has shown a certificate that our authority signed."""
    return isinstance(sock, ssl.SSLSocket) and bool(sock.getpeercert())


def metrics_tls(metrics: MetricsSettings) -> ServerTls | None:
    """TLS of the metrics endpoint, None without; raises `ConfigError` that names the files at fault."""
    cert, key, client_ca = metrics.tls_cert_file, metrics.tls_key_file, metrics.tls_client_ca_file
    if cert is None or key is None:
        return None
    try:
        return ServerTls(cert, key, client_ca)
    except OSError as error:
        files = ", ".join(str(file) for file in (cert, key, client_ca) if file is not None)
        why = getattr(error, "reason", None) or error.strerror
        raise ConfigError(f"metrics.tls_cert_file, tls_key_file, tls_client_ca_file: {files}: {why}") from None


def unverified() -> ssl.SSLContext:
    """For asking oneself whether one is alive, which a certificate that has run out does not change."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
