"""A network with what it is fitted to and judged by: all in which the kinds of network differ while they train."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from forecaster.config import Settings
from forecaster.encoder_decoder import EncoderDecoder
from forecaster.manifest import NetworkSettings
from forecaster.network import Network
from forecaster.networks import AnyNetwork
from forecaster.segment_network import SegmentNetwork
from training.candidates import Candidate
from training.data import Split
from training.examples import BatchShape, Examples
from training.loss import Loss, caution
from training.scored import ScoredNetwork
from training.scored_decoder import ScoredDecoder, teacher_share, with_teacher
from training.scored_segments import ScoredSegments
from training.start import start_from_residuals
from training.step import Batch, Fitted
from training.validation import Validation
from training.window_examples import WindowExamples, WindowValidation, default_segment_length

SCORED, SCORED_STEPS = (4, 24), 6_144  # rounds of a training window that count: fewer of a longer horizon
UNSCORED = 0.4  # of a training window: the rounds over which the empty hidden state fills
COLD = 0.1  # of the training windows begin from an empty state
SEGMENT_WINDOWS = 8  # of a segment network for each one of a batch: its windows have one origin each
DECODED_WINDOWS = 4  # of an encoder–decoder: they have one origin each too, but take longer


@dataclass(frozen=True, slots=True)
class Material:
    """`network` as it is `fitted` by `loss` to `batches`, while `validation` judges it.

    `batches` are drawn from a generator, and may depend on the share of the epochs that is done.
    """

    network: AnyNetwork
    fitted: Fitted
    loss: Loss
    batches: Callable[[np.random.Generator, float], Iterator[Batch]]
    validation: Validation | WindowValidation


def material(candidate: Candidate, examples: Examples, split: Split, settings: Settings, *, on_gpu: bool) -> Material:
    """That of the configured kind of network, for the features and layers of `candidate`."""
    makers = {"carried": _carried, "segment": _segments, "encoder-decoder": _decoded}
    return makers[settings.model.network](candidate, examples, split, settings, on_gpu)


def _carried(candidate: Candidate, examples: Examples, split: Split, settings: Settings, on_gpu: bool) -> Material:  # noqa: FBT001  # passed on
    model, training, features = settings.model, settings.training, candidate.features
    shape = NetworkSettings(
        inputs=len(features.input_names),
        recents=features.recents,
        cell=model.cell,
        units=candidate.units,
        horizon=model.horizon,
        aggregate=model.aggregate,
        quantiles=model.quantiles,
        dropout=model.dropout,
    )
    network = Network(shape, training.seed)
    centre = start_from_residuals(network, examples)
    cautious = caution(model.horizon, int(examples.rounds.max()), training.caution)
    return Material(
        network,
        ScoredNetwork(network, on_gpu=on_gpu),
        Loss(model.quantiles, cautious[-shape.outputs :], centre),  # an aggregate is known as late as the last step
        lambda random, _: examples.batches(_batch_shape(settings), random),
        Validation(examples.table, network, split, model.context_length),
    )


def _batch_shape(settings: Settings) -> BatchShape:
    length, windows = settings.model.context_length, settings.training.batch_size
    scored = int(np.clip(SCORED_STEPS // settings.model.horizon, *SCORED))
    return BatchShape(windows, length, round(UNSCORED * length), scored, round(COLD * windows))


def _segments(candidate: Candidate, examples: Examples, split: Split, settings: Settings, on_gpu: bool) -> Material:  # noqa: FBT001  # passed on
    model, training = settings.model, settings.training
    shape = NetworkSettings(
        kind="segment",
        segment_length=model.segment_length or default_segment_length(model),
        short_windows=model.short_windows,
        inputs=model.context_length,
        units=candidate.units,
        horizon=model.horizon,
        quantiles=model.quantiles,
        dropout=model.dropout,
    )
    network = SegmentNetwork(shape, training.seed)
    windows = WindowExamples(examples, network)
    return Material(
        network,
        ScoredSegments(network, on_gpu=on_gpu),
        Loss(model.quantiles, np.zeros(model.horizon)),  # 0 is the last value here: no forecast to return to
        lambda random, _: windows.batches(SEGMENT_WINDOWS * training.batch_size, random),
        WindowValidation(examples, network, split),
    )


def _decoded(candidate: Candidate, examples: Examples, split: Split, settings: Settings, on_gpu: bool) -> Material:  # noqa: FBT001  # passed on
    model, training = settings.model, settings.training
    shape = NetworkSettings(
        kind="encoder-decoder",
        short_windows="masked",
        attention=model.attention,
        calendar=candidate.features.calendar,
        features=len(candidate.features.input_names),
        recents=candidate.features.recents,
        inputs=model.context_length,
        units=candidate.units,
        horizon=model.horizon,
        quantiles=model.quantiles,
        dropout=model.dropout,
    )
    network = EncoderDecoder(shape, training.seed)
    start_from_residuals(network, examples)
    windows = WindowExamples(examples, network)

    def batches(random: np.random.Generator, done: float) -> Iterator[Batch]:
        share = teacher_share(done, training.teacher_forcing)
        drawn = windows.batches(DECODED_WINDOWS * training.batch_size, random)
        return (with_teacher(batch, share, random) for batch in drawn)

    return Material(
        network,
        ScoredDecoder(network, on_gpu=on_gpu),
        Loss(model.quantiles, caution(model.horizon, int(examples.rounds.max()), training.caution)),
        batches,
        WindowValidation(examples, network, split),
    )
