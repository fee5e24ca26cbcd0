"""A real Apache Kafka with a listener for each kind of security, beside a plain one for the test itself."""

import base64
import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from cryptography import x509
from integration.certificates import LOOPBACK, Authority
from integration.kafka_broker import KafkaBroker, free_port
from kafka import KafkaAdminClient
from kafka.admin import UserScramCredentialUpsertion

USER, PASSWORD = "forecaster", "c4n4ry-pa55word"
LISTENERS = {"SCRAM": "SASL_SSL", "OAUTH": "SASL_SSL", "MTLS": "SSL", "EXPIRED": "SSL", "ELSEWHERE": "SSL"}
MODULES = "org.apache.kafka.common.security"


class SecureBroker:
    """The broker; `security` gives the settings that one of its listeners wants. Files lie in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.authority = folder, Authority(folder / "own")
        self.ports = {name: free_port() for name in LISTENERS}
        self.password_file, self.token_file = folder / "user.password", folder / "token"
        self.password_file.write_text(PASSWORD + "\n")
        self.token_file.write_text(unsigned_token(USER))
        self.client = self.authority.issue("client")
        self.broker = KafkaBroker(self._properties(), scram=(USER, PASSWORD))
        self.bootstrap = self.broker.bootstrap

    def security(self, listener: str, **changes: Any) -> dict[str, Any]:
        """Settings under `kafka` for `listener`."""
        port = self.ports.get(listener)
        common = {
            "bootstrap_servers": f"127.0.0.1:{port}" if port else self.bootstrap,
            "security_protocol": LISTENERS.get(listener, "PLAINTEXT"),
            "ssl_ca_file": str(self.authority.file),
        }
        cert, key = map(str, self.client)
        kinds = {
            "SCRAM": {
                "sasl_mechanism": "SCRAM-SHA-512",
                "sasl_username": USER,
                "sasl_password_file": str(self.password_file),
            },
            "OAUTH": {"sasl_mechanism": "OAUTHBEARER", "sasl_token_file": str(self.token_file)},
            "MTLS": {"ssl_cert_file": cert, "ssl_key_file": key},
        }
        merged = common | kinds.get(listener, {}) | changes
        return {name: value for name, value in merged.items() if value is not None}

    def change_password(self, text: str) -> None:
        """Let `USER` have another password from now on; connections that are open stay so."""
        change = UserScramCredentialUpsertion(USER, "SCRAM-SHA-512", text)
        with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap)) as admin:
            assert admin.alter_user_scram_credentials([change]) == {USER: None}

    def _properties(self) -> dict[str, str]:
        plain = "PLAINTEXT://127.0.0.1:{port}"
        secure = ",".join(f"{name}://127.0.0.1:{port}" for name, port in self.ports.items())
        protocols = ",".join(f"{name}:{protocol}" for name, protocol in LISTENERS.items())
        properties = {
            "listeners": f"{plain},{secure},CONTROLLER://127.0.0.1:{{controller}}",
            "advertised.listeners": f"{plain},{secure}",
            "listener.security.protocol.map": f"PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,{protocols}",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.name.mtls.ssl.client.auth": "required",
            "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
            "listener.name.scram.scram-sha-512.sasl.jaas.config": f"{MODULES}.scram.ScramLoginModule required;",
            "listener.name.scram.plain.sasl.jaas.config": (
                f'{MODULES}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
            ),
            "listener.name.oauth.sasl.enabled.mechanisms": "OAUTHBEARER",
            "listener.name.oauth.oauthbearer.connections.max.reauth.ms": "3000",
            "listener.name.oauth.oauthbearer.sasl.jaas.config": (
                f'{MODULES}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";'
            ),
        }
        for name in LISTENERS:
            properties |= self._tls(f"listener.name.{name.lower()}.ssl", name)
        return properties

    def _tls(self, prefix: str, listener: str) -> dict[str, str]:
        names = (x509.DNSName("elsewhere.example"),) if listener == "ELSEWHERE" else LOOPBACK
        valid = (-30, -1) if listener == "EXPIRED" else (-1, 30)
        cert, key = self.authority.issue(listener.lower(), *names, valid=valid)
        both = self.authority.folder / f"{listener.lower()}.pem"
        both.write_bytes(key.read_bytes() + cert.read_bytes())
        return {
            f"{prefix}.keystore.type": "PEM",
            f"{prefix}.keystore.location": str(both),
            f"{prefix}.truststore.type": "PEM",
            f"{prefix}.truststore.location": str(self.authority.file),
        }


def unsigned_token(subject: str, *, seconds: float = 3_600) -> str:
    """A JSON web token that nobody signed, as Kafka's own example of a validator takes it."""
    now = time.time()
    parts = {"alg": "none"}, {"sub": subject, "iat": now - 1, "exp": now + seconds}
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return ".".join(encoded) + "."
