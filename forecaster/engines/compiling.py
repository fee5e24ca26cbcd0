"""Compiled functions on whichever backend Keras runs: TensorFlow, by XLA or without, or JAX."""

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, Literal

import keras
import numpy as np

Compiler = Literal["xla", "graph"]
CALLS = 5  # timed of each


def compile_function(function: Callable[..., Any], compiler: Compiler = "xla") -> Callable[..., Any]:
    """`function` compiled once per shape; JAX knows no compiler but XLA."""
    if keras.backend.backend() == "jax":
        import jax  # noqa: PLC0415  # only the backend that runs is imported

        return jax.jit(function)  # type: ignore[no-any-return]
    return _ByShape(function, compiler)


class _ByShape:
    """Calls what TensorFlow made for a shape directly: that it finds it by itself costs more than a small call."""

    def __init__(self, function: Callable[..., Any], compiler: Compiler) -> None:
        import tensorflow as tf  # noqa: PLC0415

        self._tf = tf
        self._function = tf.function(function, jit_compile=compiler == "xla", autograph=False)
        self._made: dict[tuple[tuple[int, ...], ...], Any] = {}

    def __call__(self, *arguments: Any) -> Any:
        convert = self._tf.convert_to_tensor
        tensors = [[convert(one) for one in argument] if isinstance(argument, list) else convert(argument)
                   for argument in arguments]  # fmt: skip
        shapes = tuple(tuple(array.shape) for argument in arguments for array in
                       (argument if isinstance(argument, list) else [argument]))  # fmt: skip
        made = self._made.get(shapes)
        if made is None:
            made = self._made[shapes] = self._function.get_concrete_function(*tensors)
        return made(*tensors)


class Resident:
    """`arrays` that stay on the device, and functions over them: `function(arrays, *inputs)` gives (output, arrays).

    Each call puts the new arrays in the place of the old ones, without a copy.
    """

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self._jax = keras.backend.backend() == "jax"
        if self._jax:
            self.arrays: list[Any] = [keras.ops.convert_to_tensor(array) for array in arrays]
        else:
            import tensorflow as tf  # noqa: PLC0415

            self.arrays = [tf.Variable(array) for array in arrays]

    def compile(self, function: Callable[..., Any], compiler: Compiler = "xla") -> Callable[..., Any]:
        """A compiled function of the `inputs` alone; it returns the output."""
        if not self._jax:
            return compile_function(lambda *inputs: self._assign(function, inputs), compiler)
        import jax  # noqa: PLC0415

        donating = jax.jit(function, donate_argnums=0)

        def call(*inputs: Any) -> Any:
            output, self.arrays = donating(self.arrays, *inputs)
            return output

        return call

    def _assign(self, function: Callable[..., Any], inputs: Sequence[Any]) -> Any:
        output, arrays = function(self.arrays, *inputs)
        for variable, array in zip(self.arrays, arrays, strict=True):
            variable.assign(array)
        return output


def to_numpy(tensor: Any) -> np.ndarray:
    """`tensor` fetched from the device, when what it waits for is done."""
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def on_accelerator() -> bool:
    """Whether the backend computes on something else than the CPU."""
    if keras.backend.backend() == "jax":
        import jax  # noqa: PLC0415

        return bool(jax.default_backend() != "cpu")
    import tensorflow as tf  # noqa: PLC0415

    return bool(tf.config.list_physical_devices("GPU"))


def faster(function: Callable[..., Any], arguments: Sequence[Any]) -> tuple[Compiler, dict[Compiler, float]]:
    """The compiler whose code of `function` answers `arguments` sooner, and the seconds that a call takes with each."""
    seconds: dict[Compiler, float] = {}
    compilers: tuple[Compiler, ...] = ("xla",) if keras.backend.backend() == "jax" else ("xla", "graph")
    for compiler in compilers:
        compiled = compile_function(function, compiler)
        _seconds(compiled, arguments)  # compiles
        seconds[compiler] = median(_seconds(compiled, arguments) for _ in range(CALLS))
    return min(seconds, key=seconds.__getitem__), seconds


def _seconds(compiled: Callable[..., Any], arguments: Sequence[Any]) -> float:
    begun = time.perf_counter()
    keras.tree.map_structure(to_numpy, compiled(*arguments))
    return time.perf_counter() - begun
