"""What a daemon that never dies publishes, without a broker and a process of its own."""

import json
from collections.abc import Iterable
from typing import Any

from builders import Row, batch
from integration.daemon import Stream
from integration.helpers import Raw

from forecaster.bundle.store import load_configured
from forecaster.config import load_settings
from forecaster.pipeline import Pipeline


def undisturbed(stream: Stream, ticks: Iterable[Raw]) -> list[dict[str, Any]]:
    """The forecasts of `ticks`, as records of one partition, by the settings and the bundle of `stream`."""
    settings = load_settings(stream.config)
    line = Pipeline(settings, *load_configured(settings))
    output = line.process(batch([Row(tick["value"]) for tick in ticks]))
    return [json.loads(message.value or b"") for message in output.messages]
