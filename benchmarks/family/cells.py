"""The recurrent cells on ETTh1 at horizon 96, by the protocol of `benchmarks.accuracy`: normalised test MSE."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.accuracy import count_rows, ett
from benchmarks.family.row import Row
from benchmarks.family.trained import Protocol
from forecaster.config import InputSettings
from forecaster.recording import Columns, read_recording
from training.origins import Choice

CELLS: dict[str, dict[str, Any]] = {
    "GRU, 64 units": {"units": (64,)},
    "LSTM, 64 units": {"units": (64,), "cell": "lstm"},
    "GRU, 64 + 64 units": {"units": (64, 64)},
    "LSTM, 64 + 64 units": {"units": (64, 64), "cell": "lstm"},
}
RIVAL, HORIZON, MEASURE = "seasonal naive 1d", 96, "normalised MSE"


def etth1(folder: Path, channels: tuple[str, ...] = ()) -> Protocol:
    """The split of the literature, every window of the test part scored in units of the training part's deviation.

    The columns are series, or `channels` of one.
    """
    data = ett(folder / "ett")[0]
    train, validation, test = data.rows
    span = count_rows(data.path) - 1
    return Protocol(
        read_recording([data.path], InputSettings(channels=channels), Columns()),
        {"step": data.step},
        {"train_fraction": train / span, "validation_fraction": validation / span},
        Choice(rows=(train + validation, train + validation + test), normalise_rows=(0, train)),
        {"channels": channels},
    )


def measure(folder: Path, seed: int) -> Iterator[Row]:
    """A row for each cell."""
    protocol = etth1(folder)
    for name, cell in CELLS.items():
        trained = protocol.train(seed, horizon=HORIZON, seasons=("1d",), context_length=240, **cell)
        scores = trained.scores()
        mse, naive = (scores[who]["normalised_mse"] for who in ("model", RIVAL))
        yield Row(name, "ETTh1", MEASURE, mse, RIVAL, naive, trained.seconds)
