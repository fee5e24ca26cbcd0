"""A network with what it is fitted to and judged by: all in which the kinds of network differ while they train."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from forecaster.config import Settings
from forecaster.errors import ConfigError
from forecaster.networks.codes import CodeNetwork
from forecaster.networks.encoder_decoder import EncoderDecoder
from forecaster.networks.kinds import AnyNetwork
from forecaster.networks.many_to_many import Network
from forecaster.networks.multivariate import ChannelNetwork
from forecaster.networks.paths import PathNetwork
from forecaster.networks.segments import SegmentNetwork
from forecaster.networks.spec import NetworkSettings
from training.candidates import Candidate
from training.code_examples import code_batches, cross_entropy
from training.code_validation import CodeValidation
from training.codes import code_runs
from training.data import Scratch, Split
from training.examples import BatchShape, Examples
from training.loss import Loss, caution
from training.path_examples import PathValidation, path_batches, path_edges, start_from_shares
from training.prepare import Prepared
from training.scored import ScoredNetwork
from training.scored_codes import ScoredCodes
from training.scored_decoder import ScoredDecoder, teacher_share, with_teacher
from training.scored_paths import ScoredPaths
from training.scored_segments import ScoredSegments
from training.start import start_from_residuals
from training.step import Batch, Criterion, Fitted
from training.table import feature_table
from training.trainer import Validation as AnyValidation
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
    loss: Criterion
    batches: Callable[[np.random.Generator, float], Iterator[Batch]]
    validation: AnyValidation


def material(
    candidate: Candidate, prepared: Prepared, settings: Settings, scratch: Scratch, *, on_gpu: bool
) -> Material:
    """That of the configured kind of network, for the features and layers of `candidate`.

    Raises `ConfigError` where the data is too short for it.
    """
    if settings.model.coded:
        return _codes(candidate, prepared, settings, on_gpu)
    table = feature_table(prepared.data, candidate.features, scratch)
    examples = Examples(table, settings.model.horizon, prepared.split.train_end_ms, settings.model.aggregate)
    _check_length(examples, settings.model.horizon)
    if settings.model.task == "paths":
        return _paths(candidate, examples, prepared.split, settings, on_gpu)
    makers = {"carried": _carried, "segment": _segments, "encoder-decoder": _decoded}
    return makers[settings.model.network](candidate, examples, prepared.split, settings, on_gpu)


def _check_length(examples: Examples, horizon: int) -> None:
    longest = int(examples.rounds.max())
    if longest < 2 * horizon:
        raise ConfigError(
            f"training.train_fraction: the longest series has {longest} observations in the training part, "
            f"a horizon of {horizon} needs {2 * horizon}"
        )


def _codes(candidate: Candidate, prepared: Prepared, settings: Settings, on_gpu: bool) -> Material:  # noqa: FBT001  # passed on
    model, training, lexicon, split = settings.model, settings.training, prepared.lexicon, prepared.split
    assert lexicon is not None  # noqa: S101  # codes have been read
    shape = NetworkSettings(
        task=model.task,
        vocabulary=lexicon.vocabulary,
        labels=lexicon.labels,
        inputs=1,
        cell=model.cell,
        units=candidate.units,
        horizon=1 if lexicon.labels else model.horizon,
        quantiles=model.quantiles,
        dropout=model.dropout,
    )
    network = CodeNetwork(shape, training.seed)
    runs = code_runs(prepared.data, lexicon)
    end_ms, windows, length = split.train_end_ms, training.batch_size, model.context_length
    return Material(
        network,
        ScoredCodes(network, on_gpu=on_gpu),
        cross_entropy,
        lambda random, _: code_batches(runs, end_ms, windows, length, random),
        CodeValidation(network, runs, split, length),
    )


def _carried(candidate: Candidate, examples: Examples, split: Split, settings: Settings, on_gpu: bool) -> Material:  # noqa: FBT001  # passed on
    model, training, features = settings.model, settings.training, candidate.features
    shape = NetworkSettings(
        channels=settings.input.channels,
        inputs=len(features.input_names) + bool(settings.input.channels),
        recents=features.recents,
        known=features.covariates.ahead,
        cell=model.cell,
        units=candidate.units,
        horizon=model.horizon,
        aggregate=model.aggregate,
        quantiles=model.quantiles,
        dropout=model.dropout,
    )
    network = ChannelNetwork(shape, training.seed) if shape.channels else Network(shape, training.seed)
    centre = start_from_residuals(network, examples)
    cautious = caution(model.horizon, int(examples.rounds.max()), training.caution)
    return Material(
        network,
        ScoredNetwork(network, on_gpu=on_gpu),
        Loss(model.quantiles, cautious[-shape.outputs :], centre),  # an aggregate is known as late as the last step
        lambda random, _: examples.batches(_batch_shape(settings), random),
        Validation(examples.table, network, split, model.context_length),
    )


def _paths(candidate: Candidate, examples: Examples, split: Split, settings: Settings, on_gpu: bool) -> Material:  # noqa: FBT001  # passed on
    model, features = settings.model, candidate.features
    shape = NetworkSettings(
        task="paths",
        bins=path_edges(examples),
        seasons=features.seasons,
        inputs=len(features.input_names),
        recents=features.recents,
        cell=model.cell,
        units=candidate.units,
        horizon=model.horizon,
        quantiles=model.quantiles,
        dropout=model.dropout,
    )
    network = PathNetwork(shape, settings.training.seed)
    start_from_shares(network, examples)
    return Material(
        network,
        ScoredPaths(network, on_gpu=on_gpu),
        cross_entropy,
        lambda random, _: path_batches(examples, network.edges, _batch_shape(settings), random),
        PathValidation(examples.table, network, split, model.context_length),
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
        cell=model.cell,
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
