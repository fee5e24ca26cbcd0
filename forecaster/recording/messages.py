"""Recorded ticks as the messages that `produce` sends, and that `replay` takes as if it had read them."""

from forecaster.config import Settings
from forecaster.formats.json_encode import JsonTickEncoder
from forecaster.recording.known_ahead import KnownAhead
from forecaster.recording.ticks import Recording


class Messages:
    """Key and value of the message of each tick."""

    def __init__(self, recording: Recording, settings: Settings) -> None:
        self._recording, self._encode = recording, JsonTickEncoder(settings.input).encode
        self._ahead = KnownAhead(recording, settings) if settings.input.covariates else None

    def between(self, low: int, high: int) -> list[tuple[bytes, bytes]]:
        """Those of the ticks from `low` up to `high`."""
        part = self._recording.part(low, high)
        if self._ahead is None:
            return [(tick[0].encode(), self._encode(*tick)) for tick in part.ticks()]
        ticks = zip(part.ticks(), self._ahead.fields(low, low + len(part)), strict=True)
        return [(tick[0].encode(), self._encode(*tick, given)) for tick, given in ticks]
