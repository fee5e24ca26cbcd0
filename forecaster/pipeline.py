"""The straight line: raw records in, messages out. No I/O, no clock, no thread.

decode → admit → features → infer → encode. Reading `process` from top to bottom is reading the line.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from forecaster.bundle.manifest import Manifest
from forecaster.channels import least
from forecaster.checkpoint.chunks import Part, held_layout
from forecaster.checkpoint.manifest import Identity
from forecaster.checkpoint.state import Checkpoint, Snapshot
from forecaster.config import Settings
from forecaster.engines.tile import Emitted, Stage, no_stage
from forecaster.event_time import ACCEPTED, DUPLICATE, LATE
from forecaster.eviction import Eviction
from forecaster.formats.forecast_json import Forecasts
from forecaster.formats.json_ticks import JsonTickDecoder
from forecaster.inference import Inference
from forecaster.networks.kinds import AnyNetwork, make_engine
from forecaster.records import Bool, Fault, Int, Message, RecordBatch, TickBatch
from forecaster.series import Elsewhere
from forecaster.tasks import make_encoder, make_vocabulary
from forecaster.vocabulary import UNKNOWN
from forecaster.windows import Block, Windows


@dataclass(slots=True)
class Output:
    """What one poll batch gave: messages in the order of their records, and the counts.

    Records that are replayed to rebuild state count in `replayed` alone. `evicted` are series by
    reason; `elsewhere` those that turned up in a second partition. `unknown_codes` are ticks whose code the
    vocabulary has not.
    """

    replayed: int
    faults: dict[int, Fault]
    forecasts: Forecasts = field(default_factory=Forecasts.none)
    messages: list[Message] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    evicted: Counter[str] = field(default_factory=Counter)
    elsewhere: list[Elsewhere] = field(default_factory=list)
    unknown_codes: int = 0


class Pipeline:
    """All state of the series that this process owns, and the line that every batch goes through."""

    def __init__(self, settings: Settings, manifest: Manifest, network: AnyNetwork, stage: Stage = no_stage) -> None:
        self.settings, self._stage = settings, stage
        self.vocabulary = make_vocabulary(manifest)
        self.decoder = JsonTickDecoder(settings.input, self.vocabulary, manifest.network.horizon)
        given, channels = manifest.features.covariates, manifest.network.channels
        carried = given.width, len(given.names), channels
        self.windows = Windows(settings.stream, manifest.context_length, settings.state, *carried)
        self.eviction = Eviction(settings.state, self.windows)
        engine = make_engine(network, settings)
        self.inference = Inference(manifest.features, engine, self.windows, stage)
        self.encoder = make_encoder(manifest, settings)
        self._ready_after = manifest.ready_after
        layout = {name: (rows.dtype, rows.shape[1:]) for name, rows in self._rows(np.zeros(0, np.int64)).items()}
        layout |= held_layout(given.width)
        self.identity = Identity.of(settings, manifest, layout)

    def process(self, records: RecordBatch) -> Output:
        """Take one poll batch through the line. The state moves on; the caller publishes the messages."""
        with self._stage("decode"):
            ticks = self.decoder.decode(records)
            output = Output(int(records.silent.sum()), {fault.record: fault for fault in ticks.faults})
            ticks = self._refuse(records, ticks, output)
            ticks = self._keep_apart(records, ticks, output)
        with self._stage("admit"):
            partition = records.partition[ticks.record]
            output.unknown_codes = self._unknown_codes(records, ticks)
            covariates = ticks.covariates if ticks.covariates.shape[1] else None
            outcome, block = self.windows.admit(partition, ticks.series, ticks.time_ms, ticks.value, covariates)
            emit = self._emit(~records.silent[ticks.record], outcome, block, output)
            rows, of = self.windows.channels.spread(block)
        emitted = self.windows.channels.gathered(self.inference.run(rows, emit[of]), of)
        with self._stage("encode"):
            output.forecasts = self._forecasts(records, ticks, block, emitted, output)
            output.messages = self.encoder.encode(output.forecasts) + self._dead_letters(records, output)
        self._evict(records, output)
        return output

    def _unknown_codes(self, records: RecordBatch, ticks: TickBatch) -> int:
        """How many of `ticks` have a code that the vocabulary has not, but for those replayed."""
        if self.vocabulary is None:
            return 0
        return int(((ticks.value == UNKNOWN) & ~records.silent[ticks.record]).sum())

    def _refuse(self, records: RecordBatch, ticks: TickBatch, output: Output) -> TickBatch:
        """`ticks` without those that are well formed and yet cannot be taken, which become faults."""
        future = ticks.ahead(records, self.settings.stream.max_future)
        low = (least(ticks.value) <= 0) & (self.inference.features.settings.transform == "log")
        closed = ~self.windows.grid.is_open(ticks.time_ms)
        refused = future | low | closed
        if not refused.any():
            return ticks

        def why(n: int) -> tuple[str, str]:
            if closed[n]:
                return "closed", f"ts {ticks.time_ms[n]} is in closed hours of stream.sessions"
            if not future[n]:
                return "not_positive", f'{self._lowest(ticks, n)}not above 0, as transform = "log" needs it'
            ahead = int(ticks.time_ms[n] - records.timestamp_ms[ticks.record[n]]) // 1000
            return "future", f"{ahead} s ahead of the record's time, more than stream.max_future"

        return self._reject(records, ticks, refused, why, output)

    def _lowest(self, ticks: TickBatch, n: int) -> str:
        """Which channel of tick `n` has the lowest value, for a message; nothing where there are none."""
        names = self.windows.channels.names
        return f"{names[int(np.nanargmin(ticks.value[n]))]}: " if names else ""

    def _keep_apart(self, records: RecordBatch, ticks: TickBatch, output: Output) -> TickBatch:
        """Note the series that another partition has already; `ticks` without them where they are refused."""
        partition = records.partition[ticks.record]
        output.elsewhere = self.windows.slots.elsewhere(partition, ticks.series)
        if not output.elsewhere or self.settings.state.series_in_two_partitions == "warn":
            return ticks
        owner = {(found.partition, found.series): found.owner for found in output.elsewhere}
        place = list(zip(partition.tolist(), ticks.series, strict=True))

        def why(n: int) -> tuple[str, str]:
            text = f"series {ticks.series[n][:40]!r} came in partition {partition[n]}, and partition {owner[place[n]]}"
            return "two_partitions", f"{text} has it already: state.series_in_two_partitions refuses it"

        return self._reject(records, ticks, np.array([one in owner for one in place], bool), why, output)

    def _reject(
        self,
        records: RecordBatch,
        ticks: TickBatch,
        refused: Bool,
        why: Callable[[int], tuple[str, str]],
        output: Output,
    ) -> TickBatch:
        """`ticks` without the `refused` ones, whose records become faults; `why` gives reason and text of each."""
        for n in np.flatnonzero(refused).tolist():
            row = int(ticks.record[n])
            reason, text = why(n)
            output.faults.setdefault(row, Fault(row, reason, f"tick {ticks.index[n]}: {text}"))
        output.outcomes["rejected"] += int((refused & ~records.silent[ticks.record]).sum())
        return ticks.take(~refused)

    def _emit(self, published: Bool, outcome: Int, block: Block, output: Output) -> Bool:
        """Which rows of the block to forecast from; counts the outcomes that are certain by now.

        `published` tells of each tick whether its record is new rather than replayed.
        """
        output.outcomes["late"] += int((published & (outcome == LATE)).sum())
        output.outcomes["duplicate"] += int((published & (outcome == DUPLICATE)).sum())
        if self.windows.grid.bar:
            output.outcomes["aggregated"] += int((published & (outcome == ACCEPTED)).sum())
        emit = block.trigger >= 0
        emit[emit] = published[block.trigger[emit]]
        if self.settings.emit == "every":
            return emit
        rows = np.flatnonzero(emit)[::-1]
        _, newest_of_slot = np.unique(block.slot[rows], return_index=True)
        newest = np.zeros(len(block), bool)
        newest[rows[newest_of_slot]] = True
        if not self.windows.grid.bar:
            output.outcomes["superseded"] += int((emit & ~newest).sum())
        return newest

    def _forecasts(
        self, records: RecordBatch, ticks: TickBatch, block: Block, emitted: Emitted, output: Output
    ) -> Forecasts:
        """The forecasts that can be published, in the order of the ticks that triggered them."""
        finite = emitted.finite()
        for n in np.flatnonzero(~finite & (emitted.seen > 0)).tolist():
            row = int(ticks.record[block.trigger[emitted.row[n]]])
            output.faults.setdefault(row, Fault(row, "not_finite_forecast", "the model put out no finite number"))
        usable = finite & (emitted.seen > 0)  # before the first value there is nothing to forecast from
        if not self.windows.grid.bar:
            output.outcomes["rejected"] += int((~usable).sum())
            output.outcomes["forecast"] += int(usable.sum())
        kept = np.flatnonzero(usable)
        rows = emitted.row[kept]
        emitted = emitted.take(kept[np.lexsort((rows, block.trigger[rows]))])
        trigger = block.trigger[emitted.row]
        record = ticks.record[trigger]
        names = self.windows.slots.names
        return Forecasts(
            series=[names[slot] for slot in block.slot[emitted.row].tolist()],
            origin_ms=self.windows.grid.origin_ms(block.index[emitted.row]),
            quantiles=emitted.quantiles,
            scale=emitted.scale,
            ready=emitted.seen >= self._ready_after,
            trigger_ms=records.timestamp_ms[record],
            partition=records.partition[record],
            offset=records.offset[record],
            index=ticks.index[trigger],
            paths=emitted.paths,
            probabilities=emitted.probabilities,
        )

    def _dead_letters(self, records: RecordBatch, output: Output) -> list[Message]:
        """The original bytes of every record at fault, once each, unless an earlier run sent them."""
        messages = []
        for fault in sorted(output.faults.values()):
            row = fault.record
            if records.silent[row]:
                continue
            source = f"{records.topic}/{records.partition[row]}/{records.offset[row]}"
            headers = (
                *records.headers[row],
                ("forecaster-reason", fault.reason.encode()),
                ("forecaster-error", fault.error.encode("utf-8", "replace")),
                ("forecaster-source", source.encode()),
            )
            topic = self.settings.topics.dead_letter
            messages.append(Message(topic, records.key[row], records.value[row], headers))
            output.dead_letters[fault.reason] += 1
        return messages

    def _evict(self, records: RecordBatch, output: Output) -> None:
        """Let the series go that are idle too long, and those above the limit."""
        output.evicted["idle"] += self.windows.event_time.idle_restarts
        self.windows.event_time.idle_restarts = 0
        for reason, choose in (("idle", self.eviction.idle), ("limit", self.eviction.surplus)):
            slots = choose()
            if not len(slots):
                continue
            with self._stage("evict"):
                held = self.windows.evict(slots)
                self.inference.forget(slots)
            output.evicted[reason] += len(slots)
            if not self.windows.grid.bar and not records.silent.all():  # the ticks of a bar have their outcome
                output.outcomes["rejected"] += held

    def drop(self, partition: int) -> int:
        """Forget every series of `partition` (another member owns it, or it will be restored); how many."""
        slots = self.windows.drop(partition)
        self.inference.forget(slots)
        return len(slots)

    def _rows(self, slots: Int) -> dict[str, np.ndarray]:
        """A copy of the state of `slots` by name, slots first."""
        return self.windows.rows(slots) | self.inference.rows(slots)

    def snapshot(self, partition: int, offset: int, source: str, slots: Int | None = None) -> Snapshot:
        """A copy of what `partition`, or `slots` of it, are at its input record `offset`, which comes next."""
        windows = self.windows
        of_partition = windows.slots.of(partition)
        slots = of_partition if slots is None else slots
        names = windows.slots.names
        part = Part(
            [names[slot] for slot in slots.tolist()],
            self._rows(slots),
            windows.event_time.held_of(slots),
        )
        return Snapshot(partition, offset, source, windows.event_time.of_partition(partition), len(of_partition), part)

    def load(self, partition: int, checkpoint: Checkpoint) -> int:
        """Make `checkpoint` the state of `partition`, which has none (`drop` it before); how many series.

        Hidden state that the checkpoint has not, as another bundle made it, is made from the windows.
        """
        windows = self.windows
        windows.grow(checkpoint.manifest.series)
        self.inference.grow()
        loaded, held = np.zeros(windows.capacity, bool), [windows.event_time.held]
        for part in checkpoint.parts():
            slot = windows.slots.assign(np.full(len(part.names), partition), part.names)
            windows.grow()
            new = ~loaded[slot]
            rows = {name: array[new] for name, array in part.arrays.items()}
            windows.put(slot[new], rows)
            self.inference.put(slot[new], rows)
            items = part.held[new[part.held["slot"]]]
            items["slot"] = slot[items["slot"]]
            held.append(items)
            loaded[slot] = True
        slots = windows.slots.of(partition)
        windows.event_time.partition[slots] = partition
        windows.event_time.set_partition(partition, checkpoint.manifest.event_time_ms)
        windows.event_time.held = np.concatenate(held)
        self.inference.complete(slots, checkpoint.layout.keys())
        return len(slots)
