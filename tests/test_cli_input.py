"""Where a command reads ticks from: arguments that go together, and those that do not."""

import argparse
from pathlib import Path

import pytest

from forecaster.cli.main import main
from forecaster.cli.recorded import add_input_arguments, input_parts
from forecaster.config import Settings
from forecaster.recording import Recording, join


def read(*arguments: str) -> Recording:
    parser = argparse.ArgumentParser()
    add_input_arguments(parser)
    return join(input_parts(parser.parse_args(arguments), Settings(), lambda _: None))


def ended(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The last line of a command that ends with exit code 2."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_columns_are_named_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "quotes.csv").write_text("year,month,day,symbol,bid,ask\n1970,1,2,EURUSD,1,3\n")
    recording = read(
        *("--input", str(tmp_path / "quotes.csv"), "--time-column", "year,month,day"),
        *("--series-column", "symbol", "--value-column", "bid,ask"),
    )
    assert list(recording.ticks()) == [("EURUSD", 86_400_000, 2.0)]


def test_csv_and_parquet_files_may_stand_side_by_side(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table({"ts": [1], "a": [1.0]}), tmp_path / "one.parquet")
    (tmp_path / "two.csv").write_text("ts,b\n2,2\n")
    recording = read("--input", str(tmp_path / "one.parquet"), str(tmp_path / "two.csv"))
    assert list(recording.ticks()) == [("a", 1, 1.0), ("b", 2, 2.0)]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "one of the arguments --input --from-kafka is required"),
        (("--input", "x.csv", "--from-kafka"), "--from-kafka: not allowed with argument --input"),
        (("--input", "x.csv", "--from", "2024-01-01"), "--from: goes with --from-kafka"),
        (("--from-kafka", "--from", "yesterday"), "'yesterday' is neither epoch milliseconds nor ISO 8601"),
        (("--from-kafka", "--time-column", "at"), "--time-column: goes with --input"),
        (("--from-kafka", "--value-column", "a"), "--value-column: goes with --input"),
    ],
)
def test_arguments_that_contradict_each_other_are_named(capsys, tmp_path, arguments, named) -> None:
    assert named in ended(capsys, "train", "--out", str(tmp_path / "bundle"), *arguments)


@pytest.mark.parametrize("command", ["train", "replay", "backtest", "produce"])
def test_a_mistake_in_a_file_ends_every_command_in_one_line(capsys, tmp_path, command) -> None:
    path = tmp_path / "zones.csv"
    path.write_text("ts,a\n2024-05-01T00:00:00Z,1\n2024-05-01T00:00:01,2\n")
    out = ["--out", str(tmp_path / "bundle")] if command == "train" else []
    line = ended(capsys, command, "--input", str(path), *out)
    assert line == (
        f"forecaster: {path}: row 3: '2024-05-01T00:00:01' in column 'ts' is a time without a zone, "
        "row 2 has a time with a zone"
    )
    assert not (tmp_path / "bundle").exists()
