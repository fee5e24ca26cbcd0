"""The bundle's network as a stream processor calls it: over the whole window of a series, for every tick.

What is not the network's is kept as cheap as it can be: windows in a dict, one mean and spread as scaling.
"""

import tomllib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import orjson
import tensorflow as tf

from forecaster.bundle.store import load_bundle


class Newest(keras.Model):
    """Quantiles `[n, horizon, levels]` at the last of the rounds `[n, rounds, inputs]`."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def call(self, inputs: Any) -> Any:
        settings = self.network.settings
        recent = keras.ops.zeros((1, settings.horizon, settings.recents))
        return self.network.head(self.network.hidden(inputs)[:, -1], inputs[:, -1], recent)


class Model:
    """`how` calls the network: as a `tf.function` ("function", "batch"), compiled by "xla", or by "predict…"."""

    def __init__(self, bundle: str, how: str) -> None:
        manifest, network = load_bundle(Path(bundle))
        self._horizon, self._levels = manifest.network.horizon, manifest.network.quantiles
        self._shape = manifest.context_length, manifest.network.inputs
        self._name, self._step_ms = f"{manifest.name}@{manifest.version}", manifest.step_ms
        self._windows = dict[bytes, np.ndarray]()
        newest = Newest(network)
        if how.startswith("predict"):
            self._call = lambda windows: newest.predict(windows, batch_size=len(windows), verbose=0)
        else:
            signature = [tf.TensorSpec([None if how == "batch" else 1, *self._shape], tf.float32)]
            compiled = tf.function(newest, input_signature=signature, jit_compile=how == "xla")
            self._call = lambda windows: compiled(windows).numpy()

    def forecasts(self, ticks: list[tuple[bytes, dict[str, Any]]]) -> list[bytes]:
        """The forecast of each of `ticks`, (key, decoded tick): the network is called once for all of them."""
        windows = np.stack([self._window(key, tick["value"]) for key, tick in ticks])
        mean, spread = windows.mean(axis=1), windows.std(axis=1) + 1e-6
        scaled = (windows - mean[:, None]) / spread[:, None]
        quantiles = self._call(np.repeat(scaled[:, :, None], self._shape[1], axis=2))
        values = mean[:, None, None] + spread[:, None, None] * quantiles
        return [self._encoded(tick, found) for (_, tick), found in zip(ticks, values, strict=True)]

    def _window(self, key: bytes, value: float) -> np.ndarray:
        window = self._windows.get(key)
        if window is None:
            self._windows[key] = window = np.full(self._shape[0], value, np.float32)
        window[:-1] = window[1:]
        window[-1] = value
        return window.copy()

    def _encoded(self, tick: dict[str, Any], values: np.ndarray) -> bytes:
        columns = [np.ascontiguousarray(column) for column in values.T]
        return orjson.dumps(
            {
                "schema_version": 1, "kind": "forecast", "series": tick["series"], "origin": tick["ts"],
                "step_ms": self._step_ms, "horizon": self._horizon, "point": columns[self._levels.index(0.5)],
                "quantiles": {str(level): column for level, column in zip(self._levels, columns, strict=True)},
                "model": self._name, "maturity": "ready",
            },
            option=orjson.OPT_SERIALIZE_NUMPY,
        )  # fmt: skip


def read_config(path: str) -> dict[str, Any]:
    """The daemon's configuration, without its checks."""
    return tomllib.loads(Path(path).read_text())
