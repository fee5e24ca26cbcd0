"""Alerts and dashboard ask for what the daemon exports, and every alert has its page and its test."""

import re
import subprocess
from pathlib import Path

import exported
import expressions
import pytest
import yaml
from integration.helpers import tool

from forecaster.cli.main import make_parser
from forecaster.telemetry.metrics import OUTCOMES

ROOT = Path(__file__).parents[1]
RUNBOOKS = ROOT / "docs" / "runbooks"
RULE_TESTS = expressions.RULES.with_name("forecaster.test.yaml")

EXPORTED = {name: labels for metric in exported.exported() for name, labels in metric.samples().items()}
KNOWN = EXPORTED | expressions.recorded()
RULES = [(rule.get("alert", rule.get("record")), rule["expr"]) for rule in expressions.rules()]
ASKED = [*RULES, *expressions.panels()]


@pytest.mark.parametrize(("place", "expression"), ASKED, ids=[f"{n}-{place}" for n, (place, _) in enumerate(ASKED)])
def test_an_expression_names_metrics_and_labels_that_are_exported(place: str, expression: str) -> None:
    assert expressions.faults(expression, KNOWN) == [], place
    assert expressions.values(expression, "outcome") <= {*OUTCOMES}, place


def test_the_variables_of_the_dashboard_ask_for_what_every_daemon_exports() -> None:
    asked = dict(expressions.variables())
    assert asked.keys() == {"namespace", "job", "pod"}
    assert [fault for selector in asked.values() for fault in expressions.faults(selector, EXPORTED)] == []


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("rate(forecaster_forecast_total[5m])", "no metric forecaster_forecast_total"),
        ('forecaster_series{topic="ticks"}', "forecaster_series has no label topic"),
        ("sum by (stage) (forecaster_ticks_total)", "nothing below has a label stage"),
        ("forecaster_series > on (partition) forecaster_ready_workers", "nothing below has a label partition"),
        ("histogram_quantile(0.9, sum by (le) (forecaster_batch_size_sum))", "nothing below has a label le"),
    ],
)
def test_an_expression_that_asks_for_nothing_is_found(expression: str, fault: str) -> None:
    assert fault in expressions.faults(expression, KNOWN)


def test_every_alert_says_how_bad_it_is_and_where_its_page_is() -> None:
    for name, alert in expressions.alerts().items():
        assert alert["labels"]["severity"] in {"warning", "critical"}
        assert alert["annotations"].keys() == {"summary", "description", "runbook"}
        assert alert["annotations"]["runbook"] == f"docs/runbooks/{name}.md"


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    pages = {path.stem: path.read_text("utf-8") for path in RUNBOOKS.glob("*.md")}
    assert pages.keys() == expressions.alerts().keys()
    for name, page in pages.items():
        severity = expressions.alerts()[name]["labels"]["severity"]
        assert page.startswith(f"# {name}\n\n**{severity.title()}.** "), name
        assert re.findall(r"(?m)^## .+$", page) == ["## See", "## Do"], name


@pytest.mark.parametrize(
    "page", [*sorted(RUNBOOKS.glob("*.md")), ROOT / "docs" / "operations.md"], ids=lambda p: p.stem
)
def test_a_page_for_the_night_names_metrics_and_commands_that_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    names = {metric.name for metric in exported.exported()} | EXPORTED.keys()
    for name in re.findall(r"`(forecaster_\w+)", text):
        assert any(known.startswith(name) for known in names), name
    for pattern in re.findall(r"grep -E '\^forecaster_\(?([\w|()]+)'", text):
        for part in re.sub(r"\(.*", "", pattern).strip(")").split("|"):
            assert any(known.startswith(f"forecaster_{part}") for known in names), part
    commands = next(action.choices for action in make_parser()._actions if action.choices)
    for command, options in re.findall(r"forecaster ([a-z][a-z-]+)((?: --?[\w-]+(?: [\w.]+)?)*)`?", text):
        if command in commands:
            known = commands[command]._option_string_actions
            assert set(re.findall(r"--[\w-]+", options)) <= known.keys(), options
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert (page.parent / link).is_file(), link


@pytest.mark.parametrize("arguments", [("check", expressions.RULES), ("test", RULE_TESTS)], ids=["check", "test"])
def test_prometheus_takes_the_rules_and_each_fires_and_resolves_as_it_should(arguments: tuple[str, Path]) -> None:
    command, path = arguments
    done = subprocess.run(
        [tool("promtool"), command, "rules", str(path)], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_tests_of_the_rules_let_every_alert_fire_and_resolve_and_be_silent() -> None:
    tests = yaml.safe_load(RULE_TESTS.read_text("utf-8"))["tests"]
    for name in expressions.alerts():
        checks = [[bool(c["exp_alerts"]) for c in test["alert_rule_test"] if c["alertname"] == name] for test in tests]
        assert any(fired and not fired[-1] and any(fired) for fired in checks), f"{name} never resolves"
        assert any(fired and not any(fired) for fired in checks), f"{name} has nothing that must not make it fire"


def test_the_dashboard_has_one_identity_and_asks_the_data_source_that_the_viewer_chose() -> None:
    board = expressions.dashboard()
    assert board["uid"] == "forecaster-fleet"
    identities = [panel["id"] for panel in board["panels"]]
    assert len(set(identities)) == len(identities)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]}
    assert len(places) == len(identities)
    sources = [target["datasource"]["uid"] for panel in board["panels"] for target in panel.get("targets", [])]
    assert set(sources) == {"${datasource}"}
    assert all(panel.get("description") for panel in board["panels"] if panel["type"] != "row")
