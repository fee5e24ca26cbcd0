"""Settings: what is wrong is refused in one line that names it; the environment wins; secrets stay secret."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from forecaster.cli.main import main
from forecaster.config import Settings, StreamSettings, format_duration, load_settings, parse_duration
from forecaster.config.section import Section
from forecaster.errors import ConfigError

SCRAM = "[kafka]\nsecurity_protocol = 'SASL_SSL'\nsasl_mechanism = 'SCRAM-SHA-512'\nsasl_username = 'u'\n"
OAUTH = "[kafka]\nsecurity_protocol = 'SASL_SSL'\nsasl_mechanism = 'OAUTHBEARER'\n"
KEYED = "[kafka]\nsecurity_protocol = 'SSL'\nssl_cert_file = 'c'\nssl_key_file = 'k'\n"
SECTIONS = [name for name, field in Settings.model_fields.items() if isinstance(field.default, Section)]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    import os  # noqa: PLC0415

    for name in [name for name in os.environ if name.startswith("FORECASTER_")]:
        monkeypatch.delenv(name)


def refusal(tmp_path, text):
    path = tmp_path / "forecaster.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as refused:
        load_settings(path)
    line = str(refused.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line.removeprefix(f"{path}: ")


@pytest.mark.parametrize("section", SECTIONS)
def test_an_unknown_key_in_any_section_is_refused(tmp_path, section):
    assert refusal(tmp_path, f"[{section}]\nhorzion = 3") == f"{section}.horzion: unknown setting"


@pytest.mark.parametrize("key", ["strem", "_env_file", "_cli_parse_args", "__pydantic_self__", "self", '"a\\nb"', '""'])
def test_an_unknown_key_at_the_top_is_refused(tmp_path, key):
    assert refusal(tmp_path, f"{key} = 1").endswith(": unknown setting")


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ('delivery = "at_most_once"', "delivery"),
        ('emit = "all"', "emit"),
        ("kafka = 1", "kafka"),
        ('[kafka]\nbootstrap_servers = ""', "kafka.bootstrap_servers"),
        ("[kafka]\nmax_poll_records = 0", "kafka.max_poll_records"),
        ('[kafka]\nsession_timeout = "0s"', "kafka.session_timeout"),
        ("[kafka]\nsession_timeout = 45", "kafka.session_timeout"),
        ('[kafka]\nsession_timeout = "45 seconds"', "kafka.session_timeout"),
        ('[kafka]\nclient = "other"', "kafka.client"),
        ('[kafka]\nsasl_mechanism = "GSSAPI"', "kafka.sasl_mechanism"),
        ('[kafka]\nsasl_mechanism = "PLAIN"', "kafka: sasl_mechanism"),
        ('[kafka]\nsecurity_protocol = "SSL"\nsasl_token_file = "t"', "kafka: sasl_token_file"),
        ('[kafka]\nsecurity_protocol = "SASL_PLAINTEXT"\nssl_ca_file = "ca"', "kafka: ssl_ca_file"),
        ('[kafka]\nsecurity_protocol = "SSL"\nssl_cert_file = "c"', "kafka: ssl_cert_file and ssl_key_file"),
        ('[kafka]\nsecurity_protocol = "SSL"\nssl_key_password = "p"', "kafka: ssl_key_password"),
        (
            f"{KEYED}ssl_key_password = 'p'\nssl_key_password_file = 'f'",
            "kafka: ssl_key_password and ssl_key_password_file",
        ),
        ('[kafka]\nsecurity_protocol = "SASL_SSL"', "kafka: sasl_mechanism"),
        (f"{SCRAM}sasl_password = 'p'\nsasl_password_file = 'f'", "kafka: sasl_password and sasl_password_file"),
        (f"{SCRAM}", "kafka: sasl_password_file"),
        (f"{SCRAM}sasl_password = 'p'\nsasl_token_file = 't'", "kafka: sasl_token_file"),
        (
            "[kafka]\nsecurity_protocol = 'SASL_SSL'\nsasl_mechanism = 'PLAIN'\nsasl_password = 'p'",
            "kafka: sasl_username",
        ),
        (OAUTH, "kafka: sasl_token_file"),
        (
            f"{OAUTH}sasl_token_file = 't'\nsasl_token_endpoint = 'https://i/t'",
            "kafka: sasl_token_file and sasl_token_endpoint",
        ),
        (f"{OAUTH}sasl_token_file = 't'\nsasl_scope = 's'", "kafka: sasl_scope"),
        (f"{OAUTH}sasl_token_endpoint = 'https://i/t'\nsasl_username = 'u'", "kafka: sasl_password_file"),
        (f"{OAUTH}sasl_token_endpoint = 'http://i/t'", "kafka.sasl_token_endpoint"),
        (f"{SCRAM}sasl_password = 'p'\nsasl_token_endpoint = 'https://i/t'", "kafka: sasl_token_endpoint"),
        (f"{SCRAM}sasl_password = ''", "kafka.sasl_password"),
        ('[kafka]\nsecurity_protocol = "SSL"\nssl_ca_file = "c\\u0000"', "kafka.ssl_ca_file"),
        ('[tracing]\nendpoint = "http://user:pa55@collector:4318/v1/traces"', "tracing.endpoint"),
        (f"{OAUTH}sasl_token_file = 't'\nsasl_password = 'p'", "kafka: sasl_username, sasl_password"),
        ('[topics]\ninput = "a b"', "topics.input"),
        ('[topics]\ninput = "same"\noutput = "same"', "topics"),
        ("[topics]\npartitions = 0", "topics.partitions"),
        ('[input]\ntime_unit = "minutes"', "input.time_unit"),
        ('[input]\nvalue_format = "text"', "input.value_format"),
        ('[input]\nseries_field = ""', "input.series_field"),
        ('[input]\nseries_field = "ts"', "input"),
        ('[input]\nvalue_field = "data"\ntime_field = "data.t"', "input"),
        ('[input]\nvalue_field = "data..v"', "input.value_field"),
        ('[stream]\nstep = "0s"', "stream"),
        ('[stream]\nstep = "1 month"', "stream.step"),
        ('[stream]\nstep = "1.5s"', "stream.step"),
        ('[stream]\nstep = "-1s"', "stream.step"),
        ("[stream]\nstep = 1000", "stream.step"),
        ('[stream]\nstep = "tick"\nbar = "mean"', "stream"),
        ('[stream]\nbar = "median"', "stream.bar"),
        ('[stream]\nallowed_lateness = "999999999999w"', "stream.allowed_lateness"),
        ('[stream]\nmax_future = "0s"', "stream.max_future"),
        ("[stream]\nlate_restart = 0", "stream.late_restart"),
        ("[model]\nhorizon = 0", "model.horizon"),
        ("[model]\nhorizon = 2.5", "model.horizon"),
        ("[model]\nquantiles = [0.0, 0.5]", "model.quantiles.0"),
        ("[model]\nquantiles = [0.5, 1.0]", "model.quantiles.1"),
        ("[model]\nquantiles = [0.5, nan]", "model.quantiles.1"),
        ("[model]\nquantiles = [0.1, 0.9]", "model.quantiles"),
        ("[model]\nquantiles = [0.9, 0.5]", "model.quantiles"),
        ("[model]\nquantiles = [0.5, 0.5]", "model.quantiles"),
        ("[model]\nquantiles = []", "model.quantiles"),
        ("[model]\ncontext_length = 1", "model.context_length"),
        ("[model]\nunits = []", "model.units"),
        ("[model]\nunits = [0]", "model.units.0"),
        ('[model]\ncell = "rnn"', "model.cell"),
        ('[model]\naggregate = "sum"', "model.aggregate"),
        ('[model]\nnetwork = "segment"\ncell = "lstm"', "model"),
        ('[stream]\ntime_zone = "Europe/Londn"', "stream.time_zone"),
        ('[stream]\ntime_zone = "Europe"', "stream.time_zone"),
        ('[stream]\ntime_zone = "../etc/passwd"', "stream.time_zone"),
        ('[stream]\nstep = "tick"\ntime_zone = "Europe/London"', "stream"),
        ('[stream.sessions]\nhours = ["9:30-16:00"]', "stream.sessions.hours.0"),
        ('[stream.sessions]\nhours = ["09:30-16:00"]\nopen = "09:30"', "stream.sessions.open"),
        ('[model]\nnetwork = "segment"\naggregate = "max"', "model"),
        ("[model]\ndropout = 1", "model.dropout"),
        ('[model]\nname = "a@b"', "model.name"),
        ('[model]\nseasons = ["0s"]', "model.seasons.0"),
        ('[stream]\nstep = "tick"\n[model]\nseasons = ["1d"]', "settings"),
        ("[training]\ntrain_fraction = 0.9\nvalidation_fraction = 0.2", "training"),
        ("[training]\nlearning_rate = inf", "training.learning_rate"),
        ("[training]\nseed = -1", "training.seed"),
        ("[metrics]\nport = 70000", "metrics.port"),
        ('[metrics]\ntls_cert_file = "c"', "metrics: tls_cert_file and tls_key_file"),
        ('[metrics]\ntls_client_ca_file = "c"', "metrics: tls_client_ca_file"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(tmp_path, text, setting):
    assert refusal(tmp_path, text).startswith(f"{setting}: ")


def test_several_faults_are_one_line_that_says_how_many_more(tmp_path):
    assert refusal(tmp_path, "[model]\nhorizon = 0\nunits = []\ncontext_length = 0").endswith(" (and 2 more)")


@pytest.mark.parametrize("text", ["[", "a = ", "a = 1\na = 2"])
def test_what_is_no_toml_is_refused(tmp_path, text):
    assert refusal(tmp_path, text).startswith("not valid TOML: ")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load_settings(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_settings(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'a = "\xff"')
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_settings(tmp_path / "latin.toml")


def test_the_environment_wins_over_the_file_setting_by_setting(tmp_path, monkeypatch):
    path = tmp_path / "forecaster.toml"
    path.write_text('emit = "latest"\n[model]\nhorizon = 5\ncontext_length = 9\n', "utf-8")
    monkeypatch.setenv("FORECASTER_MODEL__HORIZON", "7")
    monkeypatch.setenv("FORECASTER_MODEL__UNITS", "[8, 4]")
    monkeypatch.setenv("FORECASTER_STREAM__STEP", "tick")
    monkeypatch.setenv("FORECASTER_KAFKA__BOOTSTRAP_SERVERS", "broker:1")
    loaded = load_settings(path)
    assert (loaded.emit, loaded.model.horizon, loaded.model.context_length) == ("latest", 7, 9)
    assert (loaded.model.units, loaded.stream.step, loaded.kafka.bootstrap_servers) == ((8, 4), None, "broker:1")


@pytest.mark.parametrize(
    ("name", "value", "setting"),
    [
        ("MODEL__HORIZON", "0", "model.horizon"),
        ("MODEL__HORIZN", "3", "model.horizn"),
        ("MODEL__UNITS", "64,32", "model"),
        ("KAFKA", "{", "kafka"),
        ("EMIT", "all", "emit"),
    ],
)
def test_a_wrong_variable_is_refused_in_one_line_that_names_it(monkeypatch, name, value, setting):
    monkeypatch.setenv(f"FORECASTER_{name}", value)
    with pytest.raises(ConfigError, match=rf"^environment: {setting}\b[^\n]*$"):
        load_settings(None)


def test_secrets_are_never_printed(tmp_path, monkeypatch):
    monkeypatch.setenv("FORECASTER_KAFKA__SASL_PASSWORD", "hunter2")
    path = tmp_path / "scram.toml"
    path.write_text(SCRAM)
    loaded = load_settings(path)
    assert loaded.kafka.sasl_password.get_secret_value() == "hunter2"
    for text in (repr(loaded), str(loaded), loaded.model_dump_json(), str(loaded.model_dump(mode="json"))):
        assert "hunter2" not in text
    monkeypatch.delenv("FORECASTER_KAFKA__SASL_PASSWORD")
    assert "hunter" not in refusal(tmp_path, '[kafka]\nsasl_password = ["hunter2"]')


def test_settings_cannot_be_changed():
    loaded = load_settings(None)
    with pytest.raises(ValidationError):
        loaded.emit = "latest"
    with pytest.raises(ValidationError):
        loaded.model.horizon = 3


LONGEST_MS = 1_000 * 365 * 86_400_000


@given(st.one_of(st.integers(0, LONGEST_MS), st.integers(0, 1_000).map(lambda n: n * 86_400_000)))
@settings(max_examples=300, deadline=None)
def test_durations_round_trip(milliseconds):
    assert parse_duration(format_duration(milliseconds)) == milliseconds


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("500ms", 500), ("1s", 1_000), ("15min", 900_000), ("2 h", 7_200_000), ("1d", 86_400_000), ("1w", 604_800_000)],
)
def test_a_duration_is_a_whole_number_and_a_unit(text, milliseconds):
    assert parse_duration(text) == milliseconds


def test_durations_are_written_in_their_largest_unit():
    assert [format_duration(ms) for ms in (0, 1, 1_500, 60_000, 604_800_000)] == ["0ms", "1ms", "1500ms", "1min", "1w"]


def test_what_is_dumped_loads_again():
    dumped = json.loads(load_settings(None).model_dump_json())
    dumped["stream"] |= {"step": "tick", "max_gap": "3d"}
    again = Settings(**dumped)
    assert json.loads(again.model_dump_json()) == dumped


def test_the_gap_limit_is_max_gap_or_one_context():
    assert StreamSettings(step="2s").gap_limit_ms(10) == 20_000
    assert StreamSettings(step="2s", max_gap="5s").gap_limit_ms(10) == 5_000
    assert StreamSettings(step="tick").gap_limit_ms(10) is None
    assert StreamSettings(step="tick", max_gap="5s").gap_limit_ms(10) == 5_000


def test_a_variable_of_an_unknown_section_is_refused_but_not_those_of_kubernetes(monkeypatch) -> None:
    monkeypatch.setenv("FORECASTER_SERVICE_HOST", "10.0.0.1")
    load_settings(None)
    monkeypatch.setenv("FORECASTER_STREM__STEP", "1h")
    with pytest.raises(ConfigError, match="FORECASTER_STREM__STEP: unknown setting"):
        load_settings(None)


def test_what_check_config_prints_is_read_back_as_the_same_settings(tmp_path, capsys):
    path = tmp_path / "forecaster.toml"
    path.write_text('[model]\ntask = "symbols"\n[model.sampling]\ntop_k = 3\n[kafka]\ngroup_id = "é"\n', "utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["check-config", "--config", str(path)])
    assert ended.value.code == 0
    printed = tmp_path / "printed.toml"
    printed.write_text(capsys.readouterr().out, "utf-8")
    assert load_settings(printed) == load_settings(path)


def test_check_config_refuses_an_address_that_names_no_port(tmp_path, capsys):
    path = tmp_path / "forecaster.toml"
    path.write_text('[kafka]\nbootstrap_servers = "kafka.example"\n', "utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["check-config", "--config", str(path)])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("forecaster: kafka.bootstrap_servers: 'kafka.example' is no")
