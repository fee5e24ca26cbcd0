"""Any combination of settings is refused in one line that names the setting, or it trains and serves."""

import json
import re
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from forecaster.bundle.store import load_configured, save_bundle
from forecaster.cli.inspect import toml_lines
from forecaster.config import Settings, load_settings
from forecaster.engines import compiling
from forecaster.errors import ConfigError
from forecaster.grid import Grid
from forecaster.pipeline import Pipeline
from forecaster.recording import Recording
from forecaster.replay import record_batches
from forecaster.vocabulary import CodeBook
from training.fit import train
from training.prepare import Source

START_MS, ROUNDS = 1_714_554_000_000, 120  # a Wednesday, 09:00 UTC
SCHEMA = Draft202012Validator(json.loads((Path(__file__).parents[1] / "docs/forecast.schema.json").read_text("utf-8")))
SESSIONS = {"hours": ["09:00-11:30", "12:30-15:00"], "holidays": ["2024-05-03"], "early_closes": ["2024-05-06 10:00"]}
SEEDS = 0, 11, 13, 15, 19, 26, 29, 39  # all tasks, networks and cells, channels, covariates, bars, sessions among them
Tree = dict[str, Any]


ALWAYS = {
    "model": {"context_length": [12], "units": [[3]], "horizon": [1, 2, 6]},
    "training": {"epochs": [1], "steps_per_epoch": [1], "batch_size": [4]},
    "stream": {"step": ["tick", "1s", "30min", "1h", "1d"]},
}
OFFERED = {
    "model": {
        "task": ["forecast", "symbols", "classify", "paths"],
        "network": ["carried", "segment", "encoder-decoder"],
        "aggregate": ["mean", "min", "max", "last"],
        "quantiles": [[0.5], [0.01, 0.5], [0.001, 0.25, 0.5, 0.999]],
        "seasons": [[], ["1d"], ["1d", "1w"], ["10s"], ["3d"]],
        "transform": ["none", "log"],
        "segment_length": [1, 2, 3],
        "short_windows": ["masked", "filled"],
        "attention": ["none", "dot", "additive"],
        "cell": ["gru", "lstm"],
        "dropout": [0.0, 0.9],
        "precision": ["float32", "bfloat16"],
        "sampling": [{"paths": 1, "top_k": 1}, {"paths": 3, "temperature": 0.05, "top_p": 0.1}],
    },
    "stream": {
        "bar": ["last", "mean", "sum", "ohlc-mean"],
        "time_zone": ["UTC", "Europe/London", "Australia/Lord_Howe"],
        "sessions": [SESSIONS, {"hours": ["22:00-04:00"], "days": ["mon", "wed", "sun"]}],
        "allowed_lateness": ["0s", "5s", "3h"],
        "max_gap": ["0s", "5s", "2d"],
        "late_restart": [1],
    },
    "input": {
        "channels": [["a", "b"]],
        "past_covariates": [["w.t"], ["w", "v"]],
        "known_covariates": [["k"]],
        "label_field": ["label"],
        "value_format": ["number", "numeric_string"],
        "time_unit": ["s", "us"],
    },
    "training": {"caution": [0.0, 10.0], "teacher_forcing": [0.0, 1.0], "sizes": [[[2]], [[2, 2]]]},
    "state": {"window_type": ["float32", "float16"]},
}


def sampled(offered: dict[str, list]) -> dict[str, st.SearchStrategy]:
    return {name: st.sampled_from(values) for name, values in offered.items()}


TREES = st.fixed_dictionaries(
    {
        section: st.fixed_dictionaries(sampled(ALWAYS.get(section, {})), optional=sampled(offered))
        for section, offered in OFFERED.items()
    }
)
EVERY = {f"{section}.{name}" for section in ("model", "stream", "input", "training", "state")
         for name in type(getattr(Settings(), section)).model_fields}  # fmt: skip


def loaded(tree: Tree, path: Path) -> Settings:
    """`tree` as `load_settings` reads it from a file at `path`."""
    lines = [f"{name}.{key} = {_toml(value)}" for name, section in tree.items() for key, value in section.items()]
    path.write_text("\n".join(lines))
    return load_settings(path)


def _toml(value: Any) -> str:
    if not isinstance(value, dict):
        return json.dumps(value)
    return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"


def without_the_named(tree: Tree, error: ConfigError) -> Tree:
    """`tree` without the setting that `error` names first."""
    text = str(error)
    assert "\n" not in text
    named = [".".join(found) for found in re.findall(r"(?=\b([a-z]+)(?:\.|: )([a-z_]+))", text)]
    section, name = next(one for one in named if one in EVERY).split(".")
    assert name in tree[section], f"{text}: names a setting that nobody made"
    return tree | {section: {key: value for key, value in tree[section].items() if key != name}}


def accepted(tree: Tree, path: Path) -> tuple[Tree, Settings]:
    """What is left of `tree` once every setting that a refusal names has been left out."""
    while True:
        try:
            return tree, loaded(tree, path)
        except ConfigError as error:
            tree = without_the_named(tree, error)


@given(tree=TREES)
@hypothesis_settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_a_refused_combination_names_a_setting_without_which_it_is_accepted_and_prints_as_it_was_read(tree, tmp_path):
    path = tmp_path / "forecaster.toml"
    _, settings = accepted(tree, path)
    path.write_text("\n".join(toml_lines(settings.model_dump(mode="json"))))
    assert load_settings(path) == settings


def recorded(settings: Settings, seed: int) -> Recording:
    """Two series with gaps, missing values, and what else `settings` read of a tick."""
    random, stream = np.random.default_rng(seed), settings.stream
    rounds = np.flatnonzero(random.random(ROUNDS) > 0.05)
    rounds[len(rounds) // 2 :] += int(random.choice([0, 3, 40]))
    steps = Grid.of(stream).ahead_ms(np.array([START_MS]), 2 * ROUNDS)[0] if stream.step else START_MS + 977 * rounds
    time_ms = np.repeat(steps[rounds] if stream.step else steps, 2)
    value = 10 ** random.uniform(-9, 9) * (5 + random.normal(0, 1, (len(time_ms), len(settings.input.channels) or 1)))
    value[random.random(value.shape) < 0.1] = np.nan
    known = random.normal(size=(len(time_ms), len(settings.input.covariates)))
    of_series = np.tile([0, 1], len(rounds))
    if settings.model.coded:
        book, texts = CodeBook(), random.choice(list("abcd"), len(time_ms)).tolist()
        labels = [{"a": "fault", "d": None}.get(text, "fine") for text in texts]
        codes = book.ids(texts, labels if settings.model.task == "classify" else None)
        return Recording(["p", "q"], of_series, time_ms, codes, 0, book.codes, book.labels)
    covariates = known if settings.input.covariates else None
    return Recording(
        ["p", "q"], of_series, time_ms, value if settings.input.channels else value[:, 0], covariates=covariates
    )


@pytest.fixture
def _uncompiled(monkeypatch):
    """What is compiled is called as it is: what a combination costs is then not the compiler's time."""

    def as_it_is(function, _):
        return lambda *arguments: function(*tf.nest.map_structure(tf.convert_to_tensor, arguments))

    monkeypatch.setattr(compiling, "_ByShape", as_it_is)
    tf.config.run_functions_eagerly(run_eagerly=True)
    yield
    tf.config.run_functions_eagerly(run_eagerly=False)


def check(message: bytes) -> str:
    """The kind of a message that is as the schema says, with quantiles that are finite and do not cross."""
    body = json.loads(message)
    SCHEMA.validate(body)
    of_channels = body["channels"].values() if body["kind"] == "multivariate" else [body]
    for one in filter(None, of_channels):  # a channel that has had no value has no forecast
        if "quantiles" in one:
            levels = sorted(one["quantiles"], key=float)
            values = np.array([one["quantiles"][level] for level in levels], np.float64)
            assert np.isfinite(values).all()
            assert (np.diff(values, axis=0) >= 0).all()
    return body["kind"]


def served(tree: Tree, seed: int, folder: Path) -> Counter[str]:
    """The outcomes of a recording's ticks, once it has been trained on and served as `tree` says."""
    path, bundle = folder / "forecaster.toml", folder / "bundle"
    settings = loaded(tree, path)
    recording, outcomes = recorded(settings, seed), Counter[str]()
    manifest, network = train(Source([recording], skip_bad_series=True), settings)
    save_bundle(bundle, manifest, network)
    settings = loaded(tree | {"model": tree["model"] | {"bundle": str(bundle)}}, path)
    pipeline = Pipeline(settings, *load_configured(settings))
    for records in record_batches(recording, settings):
        output = pipeline.process(records)
        outcomes += output.outcomes
        kinds = {check(message.value) for message in output.messages[: len(output.forecasts)]}
        assert kinds <= {manifest.kind}
    return outcomes


def drawn(seed: int) -> Tree:
    """One of all the trees, each as likely as any other."""
    random = Random(seed)
    return {
        section: {name: random.choice(values) for name, values in ALWAYS.get(section, {}).items()}
        | {name: random.choice(values) for name, values in offered.items() if random.random() < 0.5}
        for section, offered in OFFERED.items()
    }


@pytest.mark.usefixtures("_uncompiled")
@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_accepted_trains_and_serves_finite_answers_that_do_not_cross(seed, tmp_path):
    tree, outcomes = drawn(seed), None
    while outcomes is None:
        tree, _ = accepted(tree, tmp_path / "forecaster.toml")
        try:
            outcomes = served(tree, seed, tmp_path)
        except ConfigError as error:
            tree = without_the_named(tree, error)
    assert outcomes["forecast"] + outcomes["superseded"] + outcomes["aggregated"] > 0
