"""Secrets as settings give them: a text or a file, read when it is needed, in no text of their own."""

from pathlib import Path

from kafka.errors import KafkaConnectionError
from pydantic import SecretStr

from forecaster.config import KafkaSettings


class Secret:
    """The text of a secret: `given`, or what `file` holds whenever it is called. It shows in no text of itself."""

    def __init__(self, name: str, given: SecretStr | None, file: Path | None) -> None:
        self._name, self._given, self._file = name, given, file

    def __call__(self) -> str:
        """The secret, without the marks that editors put before and behind it; raises as a failed connection does."""
        if self._file is None:
            return "" if self._given is None else self._given.get_secret_value()
        try:
            text = self._file.read_text("utf-8-sig").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise KafkaConnectionError(f"kafka.{self._name}: {unreadable(self._file, error)}") from None
        if not text:
            raise KafkaConnectionError(f"kafka.{self._name}: {self._file} is empty")
        return text

    def __repr__(self) -> str:
        return f"Secret({self._name})"


def password(kafka: KafkaSettings) -> Secret:
    """The password of `sasl_username`."""
    file = kafka.sasl_password_file
    return Secret("sasl_password" if file is None else "sasl_password_file", kafka.sasl_password, file)


def key_password(kafka: KafkaSettings) -> Secret | None:
    """What the key in `ssl_key_file` is encrypted with; None for a key that is not."""
    file = kafka.ssl_key_password_file
    if file is None and kafka.ssl_key_password is None:
        return None
    return Secret("ssl_key_password" if file is None else "ssl_key_password_file", kafka.ssl_key_password, file)


def unreadable(file: Path | None, error: OSError | UnicodeDecodeError) -> str:
    """What to say of a file that could not be read."""
    return f"{file} cannot be read: {error.strerror if isinstance(error, OSError) else 'it is no text'}"
