"""The devices that share each training step: one, several GPUs of a machine, or several machines.

Every worker draws the same global batch from the same seed and takes its share of the rows, and what is
summed is summed over all of them, so that the number of devices does not change what is learnt.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from forecaster.errors import ConfigError, ForecasterError

Tensor = Any
PerDevice = Any  # a nest of tensors, or of tensors by device


class Cluster:
    """A distribution strategy as training uses it; without one, the one device there is."""

    def __init__(self, strategy: Any = None) -> None:
        self._strategy = strategy or tf.distribute.get_strategy()
        resolver = self._strategy.cluster_resolver
        machines = resolver.cluster_spec().as_dict() if resolver else {}
        self._workers = sum(len(addresses) for addresses in machines.values())
        self.chief = self._workers < 2 or _is_chief(machines, resolver.task_type, resolver.task_id)
        self.on_gpu = bool(tf.config.list_logical_devices("GPU"))
        self._sum = tf.function(self._sum_everywhere, autograph=False)

    @classmethod
    def from_environment(cls) -> "Cluster":
        """Several machines where `TF_CONFIG` names them, else every GPU of this one, else its CPU.

        Call it before anything else of TensorFlow. Raises `ConfigError` where `TF_CONFIG` is not one.
        """
        if os.environ.get("TF_CONFIG"):
            _check_variable(os.environ["TF_CONFIG"])
            with readable_faults("TF_CONFIG"):
                return cls(tf.distribute.MultiWorkerMirroredStrategy())
        several = len(tf.config.list_physical_devices("GPU")) > 1
        return cls(tf.distribute.MirroredStrategy() if several else None)

    @property
    def devices(self) -> int:
        """How many share a batch."""
        count: int = self._strategy.num_replicas_in_sync
        return count

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` compiled by XLA on a CPU; as it is on a GPU, where XLA would lose cuDNN's GRU."""
        compiled: Callable[..., Any] = tf.function(function, jit_compile=not self.on_gpu, autograph=False)
        return compiled

    def on_each(self, function: Callable[..., Any]) -> Callable[..., PerDevice]:
        """`function` called on every device with its share of the arguments."""

        def call(*arguments: PerDevice) -> PerDevice:
            return self._strategy.run(function, args=arguments)

        called: Callable[..., PerDevice] = tf.function(call, autograph=False)
        return called

    @staticmethod
    def sum(value: Tensor) -> Tensor:
        """The sum of `value` over all devices, inside a function that runs on each."""
        placed = tf.identity(value)  # an argument of a compiled function is on no device yet
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, placed)

    def shares(self, batch: tuple[np.ndarray, ...]) -> PerDevice:
        """Consecutive rows of `batch` for each device."""
        if self.devices == 1:
            return batch
        rows = np.array_split(np.arange(len(batch[0])), self.devices)

        def share(context: Any) -> tuple[Tensor, ...]:
            mine = rows[context.replica_id_in_sync_group]
            return tuple(tf.convert_to_tensor(array[mine]) for array in batch)

        return self._strategy.experimental_distribute_values_from_function(share)

    def everywhere(self, value: Any) -> PerDevice:
        """`value`, a nest of arrays, on every device."""
        tensors = tf.nest.map_structure(tf.convert_to_tensor, value)
        return self._strategy.experimental_distribute_values_from_function(lambda _: tensors)

    def here(self, value: PerDevice) -> Any:
        """What the first device of this machine has, a nest of arrays."""
        return tf.nest.map_structure(lambda part: self._strategy.experimental_local_results(part)[0].numpy(), value)

    def from_chief(self, array: np.ndarray) -> np.ndarray:
        """The chief's `array`; the others give one of its shape and kind."""
        if self._workers < 2:
            return array

        def offer(context: Any) -> Tensor:
            first = context.replica_id_in_sync_group == 0
            return tf.convert_to_tensor(array if first else np.zeros_like(array))

        offered = self._strategy.experimental_distribute_values_from_function(offer)
        return np.asarray(self.here(self._sum(offered)))

    def _sum_everywhere(self, value: PerDevice) -> PerDevice:
        return self._strategy.run(self.sum, args=(value,))

    def check_same(self, fingerprint: str) -> None:
        """Raise `ConfigError` where this worker's data and settings are not the chief's; the text is in hex."""
        mine = float(int(fingerprint[:12], 16))
        if self.from_chief(np.array([mine]))[0] != mine:
            raise ConfigError("TF_CONFIG: this worker reads other data or settings than the chief")


@contextmanager
def readable_faults(where: str) -> Iterator[None]:
    """A failure of TensorFlow inside the block, as of a worker that has gone, is one line."""
    try:
        yield
    except (tf.errors.OpError, RuntimeError) as error:
        cause = str(error).strip().split("\n\n")[-1].splitlines()  # the last paragraph: before it, where in the code
        raise ForecasterError(f"{where}: {type(error).__name__}: {cause[0][:300] if cause else ''}") from error


def _is_chief(machines: dict[str, Any], kind: str, index: int) -> bool:
    return kind == "chief" or ("chief" not in machines and index == 0)


def _check_variable(text: str) -> None:
    """Raise `ConfigError` unless `text` is what `TF_CONFIG` should be."""
    try:
        content = json.loads(text)
        cluster, task = content["cluster"], content["task"]
        kinds, kind, index = set(cluster), task["type"], int(task["index"])
        known = kinds <= {"chief", "worker"} and 0 <= index < len(cluster[kind])
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"TF_CONFIG: not a JSON object with a cluster and this task's place in it: {error}") from None
    if not known:
        raise ConfigError("TF_CONFIG: needs a cluster of chief and worker, and a task that is one of them")
