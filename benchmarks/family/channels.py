"""ETTh1's columns as the channels of one series, beside the same network over them as series: normalised test MSE."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.family.cells import HORIZON, MEASURE, etth1
from benchmarks.family.row import Row

COLUMNS = "HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"
MODEL = {"horizon": HORIZON, "seasons": ("1d",), "context_length": 240, "units": (64,)}


def measure(folder: Path, seed: int) -> Iterator[Row]:
    """The network that is told the channel, and the one that is not."""
    told, not_told = (etth1(folder, channels).train(seed, **MODEL) for channels in (COLUMNS, ()))
    mse, plain = (trained.scores()["model"]["normalised_mse"] for trained in (told, not_told))
    yield Row("GRU, 64 units, 7 channels", "ETTh1", MEASURE, mse, "the columns as series", plain, told.seconds)
