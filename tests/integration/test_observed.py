"""A real Prometheus scrapes a real daemon: its rules evaluate, and the dashboard has something to show."""

from collections.abc import Iterator

import exported
import expressions
import pytest
from integration.daemon import Daemon
from integration.helpers import produce, wait_until
from integration.prometheus import Prometheus, prometheus
from integration.test_run import bundle, second_stream, sine_ticks

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

SHOWS_NOTHING = {  # while nothing has gone wrong, and of one worker alone
    "checkpoints_refused_total", "worker_restarts_total", "trained_until",
}  # fmt: skip


@pytest.fixture(scope="module")
def observed(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Prometheus]]:
    """A daemon that was scraped before and after its ticks, five of which are dead letters."""
    folder = tmp_path_factory.mktemp("observed")
    model = bundle(folder / "model", 1_000)
    stream = second_stream(kafka, folder, model, '[state]\ncheckpoint_interval = "1s"')
    with stream.daemon() as daemon, prometheus(folder, stream.port) as made:
        wait_until(lambda: made.query("up") == [pytest_up(made)], 30, what="the target to be up")
        wait_until(lambda: made.query("forecaster_ready_workers")[0][1] == 1, 30, what="a sample of a ready daemon")
        produce(kafka, stream.input, [*sine_ticks(5, range(100)), *[{"key": b"s0", "value": b"not json"}] * 5])
        wait_until(lambda: sum(v for _, v in made.query("forecaster_forecasts_total")) == 500, 60, what="500 forecasts")
        wait_until(lambda: made.query("rate(forecaster_checkpoints_total[5m])"), 30, what="two samples of a checkpoint")
        yield daemon, made
        assert daemon.terminate() == 0


def pytest_up(made: Prometheus) -> tuple[dict[str, str], float]:
    """The one sample of `up` of a daemon that answers."""
    (target,) = made.get("targets")["activeTargets"]
    return {"__name__": "up", **target["labels"]}, 1.0


def test_the_daemon_exports_every_metric_with_the_labels_that_it_declares(observed: tuple[Daemon, Prometheus]) -> None:
    daemon, made = observed
    page = daemon.get("/metrics")
    for metric in exported.exported():
        if metric.name not in {"forecaster_worker_restarts_total", "forecaster_page_restarts_total"}:
            assert f"# TYPE {metric.name} {metric.type}\n" in page
        for name, labels in metric.samples().items():
            for found, _ in made.query(name):
                assert found.keys() - expressions.OF_THE_TARGET - {"__name__"} == labels, name


def test_every_rule_evaluates_and_those_of_a_daemon_at_work_have_a_value(observed: tuple[Daemon, Prometheus]) -> None:
    _, made = observed

    def rules() -> list[dict]:
        return [rule for group in made.get("rules")["groups"] for rule in group["rules"]]

    wait_until(lambda: all(rule["health"] == "ok" for rule in rules()), 30, what="an evaluation of every rule")
    assert [rule["lastError"] for rule in rules() if rule.get("lastError")] == []
    recorded = [rule["name"] for rule in rules() if rule["type"] == "recording"]
    assert len(recorded) == 9
    for name in recorded:
        assert wait_until(lambda n=name: made.query(n), 30, what=f"a value of {name}")


def test_dead_letters_fire_their_alert_and_nothing_else_fires(observed: tuple[Daemon, Prometheus]) -> None:
    _, made = observed
    wait_until(lambda: "ForecasterDeadLetters" in made.firing(), 30, what="the alert")
    assert made.firing() == {"ForecasterDeadLetters"}
    ((labels, letters),) = made.query("job:forecaster_dead_letters:increase15m")
    assert (labels["reason"], letters) == ("not_json", 5)


@pytest.mark.parametrize(("title", "expression"), list(expressions.panels()))
def test_a_query_of_the_dashboard_returns_data(
    observed: tuple[Daemon, Prometheus], title: str, expression: str
) -> None:
    _, made = observed
    if any(name in expression for name in SHOWS_NOTHING):
        assert made.query(expression) == []
    else:  # a rate takes two scrapes
        wait_until(lambda: made.query(expression), 30, what=title)


def test_what_the_dashboard_shows_is_what_happened(observed: tuple[Daemon, Prometheus]) -> None:
    _, made = observed
    panels = dict(expressions.panels())
    assert made.query(panels["Workers ready"])[0][1] == 1
    assert made.query(panels["Series"])[0][1] == 5
    assert made.query(panels["Dead letters"])[0][1] == 5
    rates = {labels["outcome"]: rate for labels, rate in made.query(panels["Ticks by outcome"])}
    assert {outcome for outcome, rate in rates.items() if rate > 0} == {"forecast"}
    assert 0 < made.query(panels["p99"])[0][1] < 60
    assert made.query(panels["Memory"])[0][1] > 1e8


def test_the_variables_of_the_dashboard_find_the_daemon(observed: tuple[Daemon, Prometheus]) -> None:
    _, made = observed
    for label, selector in expressions.variables():
        values = {labels[label] for labels, _ in made.query(selector)}
        assert values == {{"namespace": "tests", "job": "forecaster", "pod": "forecaster-0"}[label]}
