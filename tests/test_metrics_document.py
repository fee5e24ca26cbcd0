"""docs/metrics.md names every metric, and buckets are where they are needed."""

from pathlib import Path

import exported
import pytest

from forecaster.telemetry.metrics import SECONDS, STAGE_SECONDS, Metrics

DOCUMENT = Path(__file__).parents[1] / "docs" / "metrics.md"


def row(metric: exported.Exported) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.type} | {labels} | {metric.help} |"


def test_the_page_of_metrics_has_every_one_as_it_is_declared() -> None:
    rows = [line for line in DOCUMENT.read_text("utf-8").splitlines() if line.startswith(("| `forecaster_", "| `proc"))]
    assert rows == [row(metric) for metric in exported.exported()]


def test_every_metric_of_the_daemon_has_its_prefix_and_bounded_labels() -> None:
    bounded = {
        "kind", "name", "outcome", "part", "partition", "reason", "source", "stage", "topic", "version",
    }  # fmt: skip
    for metric in exported.exported():
        assert metric.name.startswith(("forecaster_", "process_"))
        assert set(metric.labels) <= bounded, metric


@pytest.mark.parametrize("milliseconds", [1.4, 2.6, 4, 6, 8, 12, 17, 25, 40, 60, 85, 120, 170])
def test_two_times_that_differ_by_half_fall_into_different_buckets(milliseconds: float) -> None:
    for buckets in (SECONDS, STAGE_SECONDS):
        assert any(milliseconds < 1_000 * bound < 1.5 * milliseconds for bound in buckets)


def test_a_partition_that_has_left_is_shown_no_more() -> None:
    metrics = Metrics()
    metrics.show_checkpoints("ticks", {0: 10.0, 1: 20.0})
    metrics.show_checkpoints("ticks", {1: 30.0})

    def shown(partition: str) -> float | None:
        labels = {"topic": "ticks", "partition": partition}
        return metrics.registry.get_sample_value("forecaster_checkpoint_timestamp_seconds", labels)

    assert (shown("0"), shown("1")) == (None, 30.0)


def test_a_model_whose_bundle_does_not_tell_its_age_has_none() -> None:
    metrics = Metrics()
    age = "forecaster_model_trained_until_timestamp_seconds"
    metrics.show_model("a", "1", None)
    assert metrics.registry.get_sample_value(age, {"name": "a", "version": "1"}) is None
    metrics.show_model("b", "2", 1_500)
    assert metrics.registry.get_sample_value(age, {"name": "b", "version": "2"}) == 1.5
