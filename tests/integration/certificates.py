"""Certificates of a test's own authority, made when needed."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)
LOOPBACK = (x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost"))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def pem_of(key: ec.EllipticCurvePrivateKey, password: str | None = None) -> bytes:
    kind = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, kind)


class Authority:
    """Signs certificates; all files lie in `folder`, where `ca.crt` is its own."""

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        self.folder, self._name = folder, _name(name)
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.file = folder / "ca.crt"
        basic = x509.BasicConstraints(ca=True, path_length=0)
        self.file.write_bytes(self._signed(self._name, self._key, basic, critical=True))

    def issue(
        self, name: str, *names: x509.GeneralName, valid: tuple[int, int] = (-1, 30), password: str | None = None
    ) -> tuple[Path, Path]:
        """Files of a certificate and its key; `valid` from and to, in days from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = x509.SubjectAlternativeName(names or (x509.DNSName(name),))
        cert, secret = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        cert.write_bytes(self._signed(_name(name), key, alternatives, valid=valid))
        secret.write_bytes(pem_of(key, password))
        return cert, secret

    def _signed(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        extension: x509.ExtensionType,
        *,
        critical: bool = False,
        valid: tuple[int, int] = (-1, 30),
    ) -> bytes:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self._name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).add_extension(extension, critical)
        builder = builder.not_valid_before(now + valid[0] * DAY).not_valid_after(now + valid[1] * DAY)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
