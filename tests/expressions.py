"""The expressions of alerts and dashboard, and what they name that nobody exports."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import promql_parser
import yaml

DEPLOY = Path(__file__).parents[1] / "deploy"
RULES = DEPLOY / "alerts" / "forecaster.rules.yaml"
DASHBOARD = DEPLOY / "dashboards" / "forecaster.json"
OF_THE_TARGET = {"namespace", "job", "pod", "instance"}  # what Prometheus adds to every sample
VARIABLES = {"$__rate_interval": "5m", "$namespace": ".*", "$job": ".*", "$pod": ".*"}

Known = Mapping[str, set[str]]  # labels by the name of a sample


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def dashboard() -> dict[str, Any]:
    return json.loads(DASHBOARD.read_text("utf-8"))


def panels() -> Iterator[tuple[str, str]]:
    """Title and expression of each query of the dashboard, as Grafana sends it."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], substituted(target["expr"])


def variables() -> Iterator[tuple[str, str]]:
    """Name and series selector of each variable that asks Prometheus."""
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            selector, _, label = variable["definition"].removeprefix("label_values(").removesuffix(")").rpartition(", ")
            assert label == variable["name"]
            yield label, substituted(selector)


def substituted(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def faults(expression: str, known: Known) -> list[str]:
    """Each metric and label that `expression` names and that is not `known`."""
    tree, found = promql_parser.parse(expression), []
    for selector in selectors(tree):
        labels = known.get(selector.name)
        if labels is None:
            found.append(f"no metric {selector.name}")
            continue
        matched = {matcher.name for matcher in selector.matchers.matchers}
        found += [f"{selector.name} has no label {label}" for label in sorted(matched - labels - OF_THE_TARGET)]
    for part, labels in groupings(tree):
        below = OF_THE_TARGET.union(*(known.get(selector.name, set()) for selector in selectors(part)))
        found += [f"nothing below has a label {label}" for label in sorted(labels - below)]
    return found


def selectors(tree: Any) -> list[Any]:
    """Every vector selector in `tree`."""
    found = []

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        if isinstance(node, promql_parser.MatrixSelector):
            found.append(node.vector_selector)

    promql_parser.walk(tree, visit)
    return found


def groupings(tree: Any) -> list[tuple[Any, set[str]]]:
    """Every part of `tree` that keeps or matches by labels which it names, and these."""
    found = []

    def visit(node: Any) -> None:
        modifier = getattr(node, "modifier", None)
        if isinstance(node, promql_parser.AggregateExpr) and modifier is not None:
            found.append((node.expr, set(modifier.labels)))
        if isinstance(node, promql_parser.BinaryExpr) and modifier is not None and modifier.matching is not None:
            found.extend((side, set(modifier.matching.labels)) for side in (node.lhs, node.rhs))

    promql_parser.walk(tree, visit)
    return found


def values(expression: str, label: str) -> set[str]:
    """The values that `expression` wants of `label`."""
    matchers = [m for selector in selectors(promql_parser.parse(expression)) for m in selector.matchers.matchers]
    return {value for matcher in matchers if matcher.name == label for value in matcher.value.split("|")}


def recorded() -> dict[str, set[str]]:
    """Labels by the name of each recording rule: all of them aggregate."""
    found: dict[str, set[str]] = {}
    for rule in rules():
        if "record" in rule:
            found[rule["record"]] = set.union(*(labels for _, labels in groupings(promql_parser.parse(rule["expr"]))))
    return found
