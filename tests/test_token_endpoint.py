"""Tokens of an endpoint: asked for in time, kept while it is away, and every refusal is one line."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.certificates import Authority
from integration.token_endpoint import Answer, Endpoint, token_endpoint
from kafka.errors import KafkaConnectionError
from pydantic import ValidationError

from forecaster.config import KafkaSettings
from forecaster.errors import ConfigError
from forecaster.kafka.credentials import check_credentials
from forecaster.kafka.token_endpoint import AGAIN_SECONDS, TokenEndpoint, TokenRefusedError
from forecaster.testing import FakeClock

CLIENT, CANARY = "forecaster:1 ü", "c4n4ry/ & %"
AWAY = 503, {}, b"busy"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def endpoint(authority: Authority) -> Iterator[Endpoint]:
    numbers = iter(range(1_000))
    with token_endpoint(authority, (CLIENT, CANARY), lambda: f"token-{next(numbers)}") as endpoint:
        yield endpoint


@pytest.fixture
def settings(endpoint: Endpoint, authority: Authority) -> dict[str, Any]:
    return {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "OAUTHBEARER",
        "sasl_username": CLIENT,
        "sasl_password": CANARY,
        "sasl_token_endpoint": endpoint.url,
        "sasl_token_ca_file": authority.file,
    }


def refusal(**settings: Any) -> KafkaConnectionError:
    with pytest.raises(KafkaConnectionError) as refused:
        TokenEndpoint(KafkaSettings(**settings))()
    line = refused.value.args[0]
    assert line.startswith("kafka.")
    assert "\n" not in line
    assert "c4n4ry" not in line
    return refused.value


def test_a_client_shows_its_id_and_secret_and_asks_for_its_scope(endpoint: Endpoint, settings: dict[str, Any]) -> None:
    assert TokenEndpoint(KafkaSettings(**settings, sasl_scope="kafka read"), FakeClock(100.0))() == ("token-0", 3_700.0)
    assert endpoint.asked == [{"grant_type": ["client_credentials"], "scope": ["kafka read"]}]


def test_a_token_is_renewed_before_it_ends_and_not_sooner(settings: dict[str, Any]) -> None:
    clock = FakeClock(0.0)
    granted = TokenEndpoint(KafkaSettings(**settings), clock)
    for seconds, token in ((0, "token-0"), (2_870, "token-0"), (2_890, "token-1"), (2_890, "token-1")):
        clock.now = seconds
        assert granted().token == token


def test_while_the_endpoint_is_away_a_token_is_used_until_it_ends(
    endpoint: Endpoint, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock(0.0)
    granted = TokenEndpoint(KafkaSettings(**settings), clock)
    granted()
    endpoint.answer = AWAY
    clock.now = 3_000.0
    with caplog.at_level(logging.WARNING):
        assert [granted().token for _ in range(3)] == ["token-0"] * 3
    assert [record.getMessage() for record in caplog.records] == ["token_not_renewed"]
    clock.now = 3_600.0
    asked = len(endpoint.asked)
    for _ in range(3):
        with pytest.raises(KafkaConnectionError, match="503"):
            granted()
    assert len(endpoint.asked) == asked + 1  # the libraries try to connect several times a second
    endpoint.answer = None
    clock.advance(AGAIN_SECONDS)
    assert granted().token == "token-1"


def test_a_secret_is_read_anew_for_each_token(settings: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("another")
    del settings["sasl_password"]
    clock = FakeClock()
    granted = TokenEndpoint(KafkaSettings(**settings, sasl_password_file=file), clock)
    with pytest.raises(TokenRefusedError):
        granted()
    file.write_text(CANARY + "\n")
    clock.advance(AGAIN_SECONDS)
    assert granted().token == "token-0"


def test_a_refusal_says_what_the_endpoint_says(settings: dict[str, Any]) -> None:
    refused = refusal(**{**settings, "sasl_username": "nobody"})
    assert isinstance(refused, TokenRefusedError)
    assert refused.args[0].endswith("/token answers 401 invalid_client: who is this?")


@pytest.mark.parametrize(
    "answer",
    [
        AWAY,
        (302, {"Location": "https://elsewhere.example/"}, b""),
        (200, {}, b""),
        (200, {}, b"<html>"),
        (200, {}, b"[]"),
        (200, {}, b"\xff"),
        (200, {}, json.dumps({"access_token": "a", "token_type": "mac"}).encode()),
        (200, {}, json.dumps({"token_type": "Bearer"}).encode()),
        (200, {}, json.dumps({"access_token": "a\x01b", "token_type": "Bearer"}).encode()),
        (200, {}, b'{"access_token": "a", "token_type": "Bearer", "expires_in": NaN}'),
        (200, {}, b'{"access_token": "a", "token_type": "Bearer", "expires_in": -1}'),
    ],
)
def test_an_answer_without_a_token_may_become_one(endpoint: Endpoint, settings: dict[str, Any], answer: Answer) -> None:
    endpoint.answer = answer
    assert not isinstance(refusal(**settings), TokenRefusedError)


def test_an_endpoint_that_nobody_vouches_for_is_told_no_secret(
    endpoint: Endpoint, settings: dict[str, Any], tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "another authority")
    refused = refusal(**{**settings, "sasl_token_ca_file": stranger.file})
    assert isinstance(refused, TokenRefusedError)
    assert "its certificate: " in refused.args[0]
    assert endpoint.asked == []


def test_an_endpoint_that_is_away_is_named(settings: dict[str, Any]) -> None:
    assert "Connection refused" in refusal(**{**settings, "sasl_token_endpoint": "https://127.0.0.1:9/"}).args[0]


@pytest.mark.parametrize("url", ["http://idp.example/token", "https://user:c4n4ry@idp.example/token", "idp.example"])
def test_an_endpoint_has_an_https_address_without_a_user(settings: dict[str, Any], url: str) -> None:
    with pytest.raises(ValidationError, match="sasl_token_endpoint"):
        KafkaSettings(**{**settings, "sasl_token_endpoint": url})


def test_the_check_of_a_configuration_looks_at_the_files_and_asks_nobody(
    endpoint: Endpoint, settings: dict[str, Any], tmp_path: Path
) -> None:
    check_credentials(KafkaSettings(**settings))
    assert endpoint.asked == []
    (tmp_path / "ca").write_text("none")
    with pytest.raises(ConfigError, match=r"^kafka\.sasl_token_ca_file: .* holds no certificate in PEM"):
        check_credentials(KafkaSettings(**{**settings, "sasl_token_ca_file": tmp_path / "ca"}))
