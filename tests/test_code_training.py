"""Training on codes: what a recording must have, what is learnt of it, and figures as a slow reference has them."""

from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from builders import START_MS, code_network, manifest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.family.ngrams import Ngrams
from forecaster.config import InputSettings, Settings, load_settings
from forecaster.errors import ConfigError
from forecaster.formats.json_encode import JsonTickEncoder
from forecaster.recording import Columns, Fingerprint, Recording, join, read_parts, read_recording
from forecaster.recording.ticks import recoded
from forecaster.vocabulary import CodeBook, Vocabulary
from training.code_backtest import average_precision, code_scores
from training.code_examples import cross_entropy
from training.codes import Lexicon, code_runs
from training.data import sequences
from training.fit import train
from training.origins import Choice
from training.prepare import Source

SMALL = {"epochs": 4, "steps_per_epoch": 20, "batch_size": 8, "learning_rate": 0.02}
CODED = Columns(coded=True)


def circle(rounds=600, codes="xyz", labels=None, series=("a", "b")) -> Recording:
    """Codes that go round, each series from another one on."""
    book, time_ms = CodeBook(), START_MS + 1_000 * np.arange(rounds)
    texts = [codes[(n + s) % len(codes)] for n in range(rounds) for s in range(len(series))]
    value = book.ids(texts, None if labels is None else [labels.get(text) for text in texts])
    places = np.tile(np.arange(len(series)), rounds)
    return Recording(list(series), places, np.repeat(time_ms, len(series)), value, 0, book.codes, book.labels)


def setup_of(task="symbols", **model) -> Settings:
    chosen = {"task": task, "context_length": 16, "units": [6], "dropout": 0.0} | model
    return Settings(model=chosen if task == "classify" else {"horizon": 2} | chosen, training=SMALL)


def test_what_goes_round_is_learnt_and_the_vocabulary_is_what_was_seen() -> None:
    told, network = train(Source([circle()]), setup_of())
    assert set(told.network.vocabulary) == {"x", "y", "z"}
    assert told.kind == "symbols"
    assert told.training["validation_loss"] < 0.5 * told.training["baseline_validation_loss"]
    scores = code_scores(circle(), setup_of(), told, network, Choice())["overall"]
    assert scores["model"]["accuracy"] > 0.95 > scores["shares of each answer"]["accuracy"]


def test_labels_are_learnt_and_scored() -> None:
    labels = {"x": "near", "y": "calm", "z": "calm"}
    told, network = train(Source([circle(labels=labels)]), setup_of("classify"))
    assert (told.kind, set(told.network.labels)) == ("class", {"near", "calm"})
    figures = code_scores(circle(labels=labels), setup_of("classify"), told, network, Choice())["overall"]["model"]
    assert figures["average_precision"]["near"] > 0.95


def test_where_a_recording_is_cut_changes_neither_fingerprint_nor_bundle() -> None:
    whole = circle(300)
    texts = [code for _, _, code in whole.ticks()]
    parts = []
    for low, high in pairwise((0, 7, 200, len(whole))):  # each with a book of its own
        book, part = CodeBook(), whole.part(low, high)
        value = book.ids(texts[low:high])
        parts.append(Recording(part.names, part.series, part.time_ms, value, 0, book.codes, book.labels))
    one, other = Fingerprint(), Fingerprint()
    list(one.passing(recoded([whole], CodeBook())))
    list(other.passing(recoded(parts, CodeBook())))
    assert one.hexdigest() == other.hexdigest()
    assert list(join(parts).ticks()) == list(whole.ticks())


@pytest.mark.parametrize(
    ("task", "recording", "line"),
    [
        (
            "symbols",
            circle(codes="abcdefghij"),
            "model.vocabulary_limit: the training part has 10 different codes, more than 9",
        ),
        ("symbols", circle(codes="a"), "input.value_field: 'a' is the only code: there is nothing to tell apart"),
        (
            "classify",
            circle(),
            "input.label_field: the training part has no label: two labels at least are to be told apart",
        ),
        ("classify", circle(labels={"x": "near"}), "input.label_field: the training part has only 'near': two"),
        ("symbols", circle(codes=["x" * 300, "y"]), "input.value_field: '" + "x" * 40 + "'… has 300 characters"),
    ],
)
def test_what_cannot_be_learnt_is_refused_in_one_line(task, recording, line) -> None:
    with pytest.raises(ConfigError) as raised:
        train(Source([recording]), setup_of(task, vocabulary_limit=9))
    assert str(raised.value).startswith(line)


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        ('[stream]\nbar = "mean"\n[model]\ntask = "symbols"', 'stream.bar: a bar of codes is the "last" one'),
        ('[model]\ntask = "symbols"\ntransform = "log"', 'transform: the values of task = "symbols" are codes'),
        ('[model]\ntask = "symbols"\nseasons = ["1h"]', 'seasons: the values of task = "symbols" are codes'),
        ('[model]\ntask = "classify"\nhorizon = 3', 'horizon: task = "classify" tells what is'),
        ('[model]\ntask = "paths"\nnetwork = "segment"', 'network: task = "paths" has a carried network'),
        ('[input]\nvalue_format = "numeric_string"\n[model]\ntask = "symbols"', "input.value_format: the values of"),
        ("[model.sampling]\ntop_p = 0", "model.sampling.top_p: "),
        ("[model.sampling]\nway = 1", "model.sampling.way: unknown setting"),
    ],
)
def test_a_setting_that_codes_have_no_use_for_is_refused_by_name(tmp_path, toml, line) -> None:
    path = tmp_path / "forecaster.toml"
    path.write_text(toml)
    with pytest.raises(ConfigError) as raised:
        load_settings(path)
    assert line in str(raised.value)
    assert "\n" not in str(raised.value)


def read(tmp_path: Path, text: str, columns: Columns = CODED, settings: InputSettings | None = None) -> Recording:
    path = tmp_path / "codes.csv"
    path.write_text(text)
    return read_recording([path], settings or InputSettings(), columns)


def test_a_file_of_codes_has_text_and_whole_numbers_and_an_empty_cell_is_missing(tmp_path) -> None:
    ticks = read(tmp_path, "series,ts,value\na,1000,NA\na,2000,7\nb,2000,\na,3000,NA\n")
    values = [value for _, _, value in ticks.ticks()]
    assert values[:2] + values[3:] == ["NA", "7", "NA"]
    assert np.isnan(values[2])
    assert ticks.labels == [None, None]


def test_a_label_stands_beside_its_code_in_long_and_wide_files(tmp_path) -> None:
    long = read(tmp_path, "series,ts,value,near\na,1000,x,yes\na,2000,x,\n", settings=InputSettings(label_field="near"))
    assert list(zip(long.codes, long.labels, strict=True)) == [("x", "yes"), ("x", None)]
    wide = read(tmp_path, "ts,a,b,near\n1000,x,y,yes\n", Columns(coded=True, label="near"))
    assert wide.names == ["a", "b"]
    assert list(zip(wide.codes, wide.labels, strict=True)) == [("x", "yes"), ("y", "yes")]


@pytest.mark.parametrize(
    ("text", "columns", "line"),
    [
        ("series,ts,value\na,1000,x\n", Columns(coded=True, label="near"), "has no column 'near'"),
        (
            "series,ts,a,b\ns,1,x,y\n",
            Columns(coded=True, value=("a", "b")),
            "codes have no mean: name one value column",
        ),
    ],
)
def test_columns_that_codes_cannot_have_are_refused(tmp_path, text, columns, line) -> None:
    with pytest.raises(ConfigError, match=line):
        read(tmp_path, text, columns)


def test_parquet_gives_the_codes_that_csv_gives_and_refuses_fractions(tmp_path) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs the extra parquet")
    parquet = pytest.importorskip("pyarrow.parquet")
    for name, column in {"texts": ["3", None, "up"], "whole": [3, None, 4], "fractions": [3.0, 1.5, None]}.items():
        table = pa.table({"series": ["a"] * 3, "ts": [1000, 2000, 3000], "value": column})
        parquet.write_table(table, tmp_path / f"{name}.parquet")
    texts, whole = (
        list(join(read_parts([tmp_path / f"{name}.parquet"], InputSettings(), CODED)).ticks())
        for name in ("texts", "whole")
    )
    assert [texts[0][2], texts[2][2], whole[0][2], whole[2][2]] == ["3", "up", "3", "4"]
    assert np.isnan(texts[1][2])
    assert np.isnan(whole[1][2])
    with pytest.raises(ConfigError, match=r"row 2: '1\.5' in column 'value' is no code"):
        list(read_parts([tmp_path / "fractions.parquet"], InputSettings(), CODED))


def test_a_recorded_code_is_encoded_as_a_tick_has_it() -> None:
    encode = JsonTickEncoder(InputSettings()).encode
    assert encode("a", 1000, 'say "hi"') == rb'{"series":"a","ts":1000,"value":"say \"hi\""}'
    assert encode("a", 1000, float("nan")) == b'{"series":"a","ts":1000,"value":null}'


@given(st.lists(st.one_of(st.none(), st.text(min_size=1, max_size=3), st.integers(0, 9)), max_size=20))
@settings(max_examples=100, deadline=None)
def test_ids_are_those_of_a_dictionary(values) -> None:
    book, vocabulary = CodeBook(), Vocabulary(["1", "a", "b"])
    numbers = book.ids(values)
    for value, number, known in zip(values, numbers, vocabulary.ids(values), strict=True):
        assert np.isnan(number) == np.isnan(known) == (value is None)
        if value is not None:
            assert book.codes[int(number)] == str(value)
            assert known == {"1": 1, "a": 2, "b": 3}.get(str(value), 0)


def test_a_run_has_its_known_codes_and_what_comes_after_each_is_the_next_known_one() -> None:
    book = CodeBook()
    value = book.ids(["x", None, "y", "new", "x"])
    ticks = Recording(["a"], np.zeros(5, np.int64), START_MS + 1_000 * np.arange(5), value, 0, book.codes, book.labels)
    runs = code_runs(sequences([ticks], setup_of()), Lexicon.of(book, ("x", "y"), ()))
    assert runs.code.tolist() == [1, 2, 0, 1]
    assert runs.target.tolist() == [1, -1, 0, -1], "an unknown code, and the end, are told by nobody"
    assert runs.before(START_MS + 3_000).tolist() == [2]


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.9]), st.booleans()), min_size=1, max_size=30))
@settings(max_examples=200, deadline=None)
def test_average_precision_is_the_area_that_a_slow_reference_adds_up(pairs) -> None:
    score, positive = np.array([s for s, _ in pairs]), np.array([p for _, p in pairs])
    found, area, before = average_precision(score, positive), 0.0, 0.0
    if not positive.any():
        assert found is None
        return
    for threshold in sorted(set(score.tolist()), reverse=True):
        taken = score >= threshold
        recall = positive[taken].sum() / positive.sum()
        area += (recall - before) * positive[taken].mean()
        before = recall
    assert found == pytest.approx(area)


@given(st.lists(st.integers(0, 2), min_size=6, max_size=60), st.integers(0, 3), st.sampled_from([0.5, 3.0]))
@settings(max_examples=60, deadline=None)
def test_ngrams_are_those_of_dictionaries(places, order, weight) -> None:
    model = Ngrams.of([np.array(places)], order, weight, 3)
    counts: dict[tuple, Counter] = defaultdict(Counter)
    for n, place in enumerate(places):
        for length in range(min(n, order) + 1):
            counts[tuple(places[n - length : n])][place] += 1
    for n, row in enumerate(model.probabilities(np.array(places)), order):
        expected = np.full(3, 1 / 3)
        for length in range(order + 1):
            after = counts[tuple(places[n - length : n])]
            expected = (np.array([after[code] for code in range(3)]) + weight * expected) / (after.total() + weight)
        np.testing.assert_allclose(row, expected)


@given(st.integers(1, 5), st.integers(0, 2**16))
@settings(max_examples=25, deadline=None)
def test_the_loss_is_minus_the_logarithm_of_the_probability(outputs, seed) -> None:
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 2, (4, 3, outputs)).astype(np.float32)
    target = draw.integers(0, max(outputs, 2), (4, 3)).astype(np.int32)
    found = np.asarray(cross_entropy(target, logits))
    if outputs == 1:
        second = 1 / (1 + np.exp(-logits.astype(np.float64)[..., 0]))
        expected = -np.log(np.where(target == 1, second, 1 - second))
    else:
        shares = np.exp(logits.astype(np.float64))
        expected = -np.log(np.take_along_axis(shares, target[..., None], -1)[..., 0] / shares.sum(-1))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_rows_of_a_grid_are_no_choice_of_codes() -> None:
    made = code_network()
    with pytest.raises(ConfigError, match=r"^--rows"):
        code_scores(circle(), setup_of(), manifest(made), made, Choice(rows=(1, 50)))
