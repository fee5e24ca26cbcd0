"""The training step: right gradients, one loss over the whole batch, and a course that survives an interruption."""

import errno
import io
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from builders import manifest, network
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rich.console import Console
from safetensors.numpy import save_file

from forecaster.config import TrainingSettings
from forecaster.errors import ConfigError, ForecasterError, StoppedError
from forecaster.networks.many_to_many import Network
from training.checkpoint import Checkpoint
from training.cluster import Cluster
from training.command import _interruptible
from training.course import Course, Epoch
from training.curves import Curves
from training.gru import gru
from training.loss import Loss, caution
from training.lstm import lstm
from training.optimizer import AdamW, Layout, State
from training.progress import Display
from training.scored import ScoredNetwork
from training.step import Step
from training.trainer import Trainer

LEVELS = (0.1, 0.5, 0.9)


@pytest.mark.parametrize(("by_hand", "keras_layer"), [(gru, keras.layers.GRU), (lstm, keras.layers.LSTM)])
@given(rounds=st.integers(1, 12), windows=st.integers(1, 5), units=st.integers(1, 6), seed=st.integers(0, 99))
@hypothesis_settings(max_examples=5, deadline=None)
def test_the_gradient_by_hand_is_that_of_the_keras_layer(by_hand, keras_layer, rounds, windows, units, seed) -> None:
    random = np.random.default_rng(seed)
    layer = keras_layer(units, return_sequences=True)
    layer.build((None, None, 3))
    for weight in layer.trainable_variables:
        weight.assign(random.normal(0, 0.7, tuple(weight.shape)))
    inputs = tf.constant(random.normal(size=(windows, rounds, 3)), tf.float32)
    above = tf.constant(random.normal(size=(windows, rounds, units)), tf.float32)
    weights = [weight.value for weight in layer.trainable_variables]

    def gradients(hidden) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_sum(hidden() * above)
        return tape.gradient(loss, [inputs, *weights])

    ours = gradients(lambda: tf.transpose(by_hand(layer.cell, tf.transpose(inputs, (1, 0, 2)))[0], (1, 0, 2)))
    for mine, keras_own in zip(ours, gradients(lambda: layer(inputs)), strict=True):
        np.testing.assert_allclose(mine, keras_own, rtol=1e-4, atol=1e-5)


def test_pinball_is_the_mean_over_the_levels_computed_by_hand() -> None:
    loss = Loss(LEVELS, np.zeros(1))(np.array([3.0], np.float32), np.array([[2.0, 3.5, 5.0]], np.float32))
    assert float(loss[0]) == pytest.approx((0.1 * 1.0 + 0.5 * 0.5 + 0.1 * 2.0) / 3)


def test_leaving_the_baseline_is_charged_by_the_caution_of_each_step() -> None:
    target, quantiles = np.zeros((1, 2), np.float32), np.float32([[[-2.0, -1.0, 3.0], [-2.0, -1.0, 3.0]]])
    free, charged = (np.asarray(Loss(LEVELS, np.array(both))(target, quantiles)) for both in ([0, 0], [0.0, 0.3]))
    np.testing.assert_allclose(charged - free, [[0.0, 0.3 * 1.0 / 2 / 3]], rtol=1e-5)


def test_caution_is_so_many_standard_errors_of_a_sign_and_a_half_at_most() -> None:
    assert caution(4, 100, 2.0) == pytest.approx([0.2, 0.2 * 2**0.5, 0.2 * 3**0.5, 0.4])
    assert caution(9, 100, 2.0)[-1] == 0.5
    assert not caution(9, 100, 0.0).any()


def test_without_evidence_the_middle_quantile_stays_at_the_baseline() -> None:
    """Of 100 signs 55 are up: more than even, less than two standard errors (10) beyond."""
    target = np.repeat(np.float32([1.0, -1.0]), [55, 45])[:, None]

    def mean_loss(middle: float, sure: float) -> float:
        quantiles = np.tile(np.float32([-5.0, middle, 5.0]), (100, 1, 1))
        return float(np.mean(Loss(LEVELS, np.array([sure]))(target, quantiles)))

    assert mean_loss(0.5, 0.0) < mean_loss(0.0, 0.0)
    assert mean_loss(0.5, 0.2) > mean_loss(0.0, 0.2)


def test_the_optimizer_is_keras_adamw_with_its_schedule_and_clipping() -> None:
    random = np.random.default_rng(0)
    shapes = [(3, 2), (4,)]
    layout, ours = Layout(shapes), AdamW(peak=0.02, steps=12, memory=4)
    variables = [keras.Variable(random.normal(size=shape), dtype="float32") for shape in shapes]
    schedule = keras.optimizers.schedules.CosineDecay(0.02 / 25, 8, alpha=1e-3, warmup_target=0.02, warmup_steps=4)
    theirs = keras.optimizers.AdamW(schedule, weight_decay=0.01, clipnorm=1.0)
    state = ours.start(layout.join([variable.value for variable in variables]))
    for taken in range(12):
        assert float(ours.learning_rate(taken)) == pytest.approx(float(schedule(taken)), rel=1e-5)
        gradients = [tf.constant(random.normal(0, 2, shape), tf.float32) for shape in shapes]
        state = ours.step(state, layout.clip(layout.join(gradients)))
        theirs.apply(gradients, variables)
    for mine, variable in zip(layout.split(state.weights), variables, strict=True):
        np.testing.assert_allclose(mine, variable.value, rtol=1e-4, atol=1e-6)


def test_the_mean_of_the_weights_is_plain_at_first_and_forgets_later() -> None:
    optimizer, seen, mean = AdamW(peak=0.1, steps=6, memory=3), [], 0.0
    state = optimizer.start(tf.zeros(1))
    for _ in range(6):
        state = optimizer.step(state, tf.ones(1))
        seen.append(float(state.weights[0]))
        mean = np.mean(seen) if len(seen) <= 3 else mean + (seen[-1] - mean) / 3
        assert float(state.mean[0]) == pytest.approx(mean, rel=1e-5)


def a_batch(random: np.random.Generator, windows: int, made: Network) -> tuple[np.ndarray, ...]:
    """Windows of 12 rounds, 4 of them scored, for a horizon of 3; some targets are not known."""
    inputs, recents = made.settings.inputs, made.settings.recents
    known = (random.random((windows, 4, 3)) < 0.7).astype(np.float32)
    target = random.normal(size=(windows, 4, 3)).astype(np.float32) * known
    rounds = random.normal(size=(windows, 12, inputs)).astype(np.float32)
    recent = random.normal(size=(windows, 4, 3, recents)).astype(np.float32)
    return rounds, random.integers(4, 12, (windows, 4)).astype(np.int32), recent, target, known


def one_step(made: Network, batch: tuple[np.ndarray, ...]) -> tuple[State, float]:
    """The state and the loss of a first step on `batch`."""
    cluster = Cluster()
    scored = ScoredNetwork(made, on_gpu=False)
    loss = Loss(made.settings.quantiles, np.zeros(3))
    step = Step(scored, loss, TrainingSettings(epochs=1, steps_per_epoch=10), cluster)
    state, loss = step(cluster.everywhere(step.state(Course.of(scored.weights()))), batch, np.random.default_rng(1))
    return cluster.here(state), float(loss)


def test_the_parts_of_a_batch_do_not_change_the_step(monkeypatch) -> None:
    made = network(units=(3,))
    batch = a_batch(np.random.default_rng(0), 7, made)
    whole, loss = one_step(made, batch)
    monkeypatch.setattr(ScoredNetwork, "part", 2)
    parts, same = one_step(made, batch)
    assert same == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(parts.first, whole.first, rtol=1e-4, atol=1e-7)


def test_the_loss_is_the_mean_over_the_weights_of_the_whole_batch() -> None:
    made = network(units=(3,))
    inputs, scored, recent, target, known = a_batch(np.random.default_rng(0), 5, made)
    window = np.arange(5)[:, None]
    quantiles = made.head(made.hidden(inputs).numpy()[window, scored], inputs[window, scored], recent)
    losses = np.asarray(Loss(made.settings.quantiles, np.zeros(3))(target, quantiles))
    _, loss = one_step(made, (inputs, scored, recent, target, known))
    assert loss == pytest.approx((losses * known).sum() / known.sum(), rel=1e-5)


def test_a_batch_in_which_nothing_is_known_moves_nothing_but_by_decay() -> None:
    made = network(units=(3,))
    inputs, scored, recent, target, known = a_batch(np.random.default_rng(0), 3, made)
    state, loss = one_step(made, (inputs, scored, recent, target, 0 * known))
    assert loss == 0.0
    assert not state.first.any()


def test_what_is_dropped_out_belongs_to_the_row_and_keeps_the_mean() -> None:
    settings = network().settings.model_copy(update={"dropout": 0.25})
    noise = ScoredNetwork(Network(settings), on_gpu=False).noise(np.random.default_rng(0), 50, 40)
    assert np.unique(noise).tolist() == pytest.approx([0.0, 1 / 0.75])
    assert noise.mean() == pytest.approx(1.0, abs=0.02)


def epoch(number: int = 1, **changes) -> Epoch:
    known = {"epoch": number, "epochs": 4, "training_loss": 0.5, "validation_loss": 0.4, "baseline_loss": 0.5}
    known |= {"best": True, "learning_rate": 0.001, "observations_per_second": 123_456.0, "seconds_left": 61.0}
    return Epoch(**(known | changes))


def test_the_best_epoch_is_the_first_of_the_lowest_loss_and_no_loss_that_is_not_finite() -> None:
    course = Course.of(np.zeros(1, np.float32))
    means = [np.full(1, n, np.float32) for n in range(5)]
    for mean, loss in zip(means, [np.nan, 0.4, 0.3, 0.3, np.inf], strict=True):
        course.mean = mean
        course.add(0.5, loss, 10, 2.0)
    assert (course.best_epoch, float(course.best[0])) == (3, 2.0)
    assert course.finished(TrainingSettings(patience=2))
    assert not course.finished(TrainingSettings(patience=3))
    assert course.observations_per_second == 5.0


class Validated:
    """Gives `losses` in turn, whatever the network."""

    baseline_loss = 1.0

    def __init__(self, losses: Iterable[float]) -> None:
        self._losses = iter(losses)

    def loss(self) -> float:
        return next(self._losses)


class Interrupted(Exception):  # noqa: N818  # stands for a signal
    """What ends a training in a test."""


def trained(losses: Iterable[float], checkpoint: Checkpoint | None = None, stop: int = 0, **settings) -> tuple:
    """Train a network of one seed with validation `losses`, interrupted after epoch `stop`.

    Returns the course, the weights, the epochs shown, and one number of each epoch's first batch.
    """
    shown, drawn = [], []
    made = Network(network(units=(3,)).settings.model_copy(update={"dropout": 0.3}), seed=4)

    def batches(random: np.random.Generator, _: float) -> Iterator[tuple[np.ndarray, ...]]:
        first = a_batch(random, 6, made)
        drawn.append(float(first[0][0, 0, 0]))
        yield first
        while True:
            yield a_batch(random, 6, made)

    def report(epoch: Epoch) -> None:
        shown.append(epoch.epoch)
        if epoch.epoch == stop:
            raise Interrupted

    training = TrainingSettings(**({"epochs": 4, "steps_per_epoch": 3, "batch_size": 6, "seed": 1} | settings))
    scored = ScoredNetwork(made, on_gpu=False)
    loss = Loss(made.settings.quantiles, np.zeros(3))
    trainer = Trainer(scored, loss, batches, Validated(losses), training, Cluster(), report)
    course = trainer.run(checkpoint, manifest(made, training={"settings": training.model_dump(mode="json")}))
    return course, scored.weights(), shown, drawn


def test_an_interrupted_training_ends_with_the_weights_of_one_that_was_not(tmp_path) -> None:
    losses = [0.4, 0.3, 0.2, 0.5]
    whole, expected, _, drawn = trained(losses)
    told = []
    checkpoint = Checkpoint.beside(tmp_path / "bundle", told.append)
    with pytest.raises(Interrupted):
        trained(losses, checkpoint, stop=2)
    course, found, shown, drawn_again = trained(losses[2:], checkpoint)
    assert shown == [3, 4]
    assert told == [f"{tmp_path}/bundle.training/checkpoint-0.safetensors: going on after epoch 2"]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(course.history[:, :3], whole.history[:, :3])
    assert course.best_epoch == 3
    assert drawn_again[-2:] == drawn[-2:]
    assert len(set(drawn[-4:])) == 4

    _, again, shown, _ = trained([], checkpoint)  # which has nothing left to do
    assert shown == []
    np.testing.assert_array_equal(again, expected)
    checkpoint.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_never_finite_is_a_readable_end() -> None:
    with pytest.raises(ConfigError, match=r"training\.learning_rate"):
        trained([float("nan")] * 4, patience=2)


def saved(folder: Path) -> Checkpoint:
    """A checkpoint of two epochs of a network of three weights, of settings `{"seed": 7}`."""
    checkpoint = Checkpoint(folder, lambda _: None)
    checkpoint.open(manifest(network(), training={"settings": {"seed": 7}}), 3)
    course = Course.of(np.arange(3, dtype=np.float32))
    course.add(0.5, 0.4, 10, 1.0)
    course.add(0.4, 0.3, 10, 1.0)
    checkpoint.save(course)
    return checkpoint


@pytest.mark.parametrize(
    ("spoil", "seed", "size", "line"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-8]), 7, 3, "cannot be read, starting anew: "),
        (lambda path: path.write_bytes(b""), 7, 3, "cannot be read, starting anew: "),
        (lambda path: save_file({"weights": np.zeros(3)}, path), 7, 3, "cannot be read, starting anew: "),
        (lambda _: None, 8, 3, "of another training (training.settings.seed), starting anew"),
        (lambda _: None, 7, 4, "its arrays do not fit, starting anew"),
        (lambda _: None, 7, 3, "going on after epoch 2"),
    ],
)
def test_what_becomes_of_a_checkpoint_is_told_in_one_line(tmp_path, spoil, seed, size, line) -> None:
    saved(tmp_path)
    spoil(tmp_path / "checkpoint-0.safetensors")
    told = []
    course = Checkpoint(tmp_path, told.append).open(manifest(network(), training={"settings": {"seed": seed}}), size)
    assert len(told) == 1
    assert told[0].startswith(f"{tmp_path}/checkpoint-0.safetensors: {line}")
    assert "\n" not in told[0]
    assert (course is not None) == line.startswith("going on")
    assert course is None or course.best_epoch == 2


def test_a_full_disk_is_one_line_and_leaves_the_checkpoint_that_was(tmp_path, monkeypatch) -> None:
    checkpoint = saved(tmp_path)
    before = (tmp_path / "checkpoint-0.safetensors").read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ForecasterError, match=r"^\S+checkpoint-0\.safetensors: .* cannot be written: No space left"):
        checkpoint.save(Course.of(np.zeros(3, np.float32)))
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("checkpoint-0.safetensors", before)]


def test_what_is_not_ours_beside_a_checkpoint_stays(tmp_path) -> None:
    folder = tmp_path / "bundle.training"
    checkpoint = saved(folder)
    (folder / "mine.txt").write_text("keep")
    checkpoint.remove()
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def test_a_file_where_the_checkpoints_folder_would_be_is_one_line(tmp_path) -> None:
    (tmp_path / "bundle.training").write_text("x")
    with pytest.raises(ForecasterError, match=r"^\S+checkpoint-0\.safetensors: the checkpoint cannot be written: "):
        saved(tmp_path / "bundle.training")


def test_a_bundle_without_a_name_has_no_checkpoint() -> None:
    with pytest.raises(ForecasterError, match="names no folder of its own"):
        Checkpoint.beside(Path("/"), lambda _: None)


def test_a_stop_that_tensorflow_turns_into_an_error_is_still_a_stop(tmp_path) -> None:
    def swallowed() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)  # never slept out: the signal comes first
        except KeyboardInterrupt as error:
            raise RuntimeError("At:") from error

    with pytest.raises(StoppedError) as raised, _interruptible(saved(tmp_path)):
        swallowed()
    assert raised.value.exit_code == 128 + signal.SIGTERM
    assert str(raised.value) == f"training stopped: {tmp_path} keeps 2 epochs, the same command goes on"


def test_without_a_terminal_epochs_are_plain_lines_every_few_seconds() -> None:
    times = iter([0.0, 2.0, 6.0, 7.0])
    text = io.StringIO()
    display = Display(Console(file=text, width=40), lambda: next(times))
    with display.running(4):
        for number in (1, 2, 3, 4):
            display.epoch(epoch(number))
    lines = text.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1/4", "epoch 3/4", "epoch 4/4"]
    assert lines[0] == (
        "epoch 1/4: loss 0.5000, validation 0.4000 (best), skill 20.0 % against level and profile alone (0.5000), "
        "123,456 observations/s, at most 61s left"
    )


def test_on_a_terminal_one_bar_tells_of_every_epoch() -> None:
    text = io.StringIO()
    display = Display(Console(file=text, width=200, force_terminal=True, legacy_windows=False))
    with display.running(4):
        display.epoch(epoch(1, validation_loss=0.45))
        display.epoch(epoch(2, validation_loss=0.44))
    assert "0.4400" in text.getvalue()
    assert "━" in text.getvalue()


def test_tensorboard_reads_every_scalar_back(tmp_path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    curves = Curves(tmp_path)
    curves.epoch(epoch(1))
    curves.epoch(epoch(2, validation_loss=float("nan")))
    curves.close()
    read = event_accumulator.EventAccumulator(str(tmp_path), size_guidance={"tensors": 0})
    read.Reload()
    tags = {"loss/training", "loss/validation", "loss/level_and_profile_alone", "learning_rate"}
    assert set(read.Tags()["tensors"]) == tags | {"observations_per_second"}
    assert [event.step for event in read.Tensors("loss/validation")] == [1]
    assert float(tf.make_ndarray(read.Tensors("loss/training")[0].tensor_proto)) == 0.5


def test_curves_without_the_extra_name_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.summary", None)
    with pytest.raises(ConfigError, match=r"^--tensorboard: needs the extra .*forecaster\[tensorboard\]$"):
        Curves(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
    ],
)
def test_a_broken_tf_config_is_named(text, monkeypatch) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ConfigError, match=r"^TF_CONFIG: "):
        Cluster.from_environment()
