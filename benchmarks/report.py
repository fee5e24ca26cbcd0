"""The figures of a benchmark: every round kept, medians shown in one table beside what they are held to."""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from integration.kafka_broker import VERSION

ROOT = Path(__file__).parents[1]
PACKAGES = ("tensorflow", "tensorflow-cpu", "jax", "keras", "kafka-python", "confluent-kafka")
RESULTS = ROOT / "benchmarks" / "results"
AT_LEAST = {
    "throughput.kafka-python.over_echo": 0.8,
    "throughput.librdkafka.over_echo": 0.35,
    "throughput.librdkafka.at_least_once_per_s": 45_000,
    "throughput.kafka-python.exactly_over_at_least_once": 0.9,
    "throughput.librdkafka.exactly_over_at_least_once": 0.9,
    "peers.daemon_over_quix_function": 100,
    "sweep.series_10.over_base": 0.5,
    "sweep.context_1024.over_base": 0.95,
    "viewers.hundred_over_no_page": 0.95,
    "viewers.hundred_over_none": 0.95,
    "catch_up.kafka-python.latest_over_every": 3,
    "catch_up.librdkafka.latest_over_every": 1.5,
}
AT_MOST = {
    "latency.librdkafka.at_least_once.1000.p50_ms": 4,
    "latency.librdkafka.at_least_once.1000.p99_ms": 15,
    "latency.librdkafka.exactly_once.1000.p50_ms": 20,
    "latency.librdkafka.exactly_once.1000.p99_ms": 60,
    "memory.bytes_per_series": 1_300,
    "startup.kafka-python.beyond_import_s": 4,
    "startup.librdkafka.beyond_import_s": 4,
}


@dataclass
class Report:
    """Figures by name, one a round; and what could not be measured, with the reason."""

    rounds: dict[str, list[float]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, figure: float) -> None:
        self.rounds.setdefault(name, []).append(float(f"{figure:.6g}"))

    def median(self, name: str) -> float:
        return statistics.median(self.rounds[name])

    def ratio(self, name: str, over: str, under: str) -> None:
        """The ratio of two medians, where both were measured."""
        if over in self.rounds and under in self.rounds:
            self.add(name, self.median(over) / self.median(under))

    def take(self, other: "Report") -> None:
        """All that `other` has."""
        self.rounds |= other.rounds
        self.missing |= other.missing

    def table(self) -> str:
        width = max(map(len, [*self.rounds, *self.missing]), default=0) + 2
        lines = [f"{'':{width}}{'median':>14}  {'held to':22}every round"]
        for name, figures in self.rounds.items():
            every = ", ".join(map(shown, figures)) if len(figures) > 1 else ""
            lines.append(f"{name:{width}}{shown(self.median(name)):>14}  {verdict(name, self.median(name)):22}{every}")
        lines += [f"{name:{width}}{'MISSING':>14}  {reason}" for name, reason in self.missing.items()]
        return "\n".join(line.rstrip() for line in lines)

    def line(self, name: str, options: dict[str, Any]) -> str:
        """The last line: one JSON object of everything."""
        return json.dumps(
            {"benchmark": name, "options": options, "machine": machine(), "missing": self.missing}
            | {"figures": {one: self.median(one) for one in self.rounds}, "rounds": self.rounds}
        )


def command(module: str, *arguments: str, **environment: str) -> Report:
    """The report of a benchmark that runs in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments], cwd=ROOT, env={**os.environ, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if not done.stdout:
        return Report(missing={module: f"ended with {done.returncode}: {done.stderr[-300:]}"})
    found = json.loads(done.stdout.splitlines()[-1])
    return Report(found["rounds"], found["missing"])


def shown(figure: float) -> str:
    return f"{figure:,.0f}" if abs(figure) >= 1_000 else f"{figure:,.4g}"


def verdict(name: str, figure: float) -> str:
    if name in AT_LEAST:
        return f"≥ {AT_LEAST[name]:<8,g} {'holds' if figure >= AT_LEAST[name] else 'SHORT'}"
    if name in AT_MOST:
        return f"≤ {AT_MOST[name]:<8,g} {'holds' if figure <= AT_MOST[name] else 'SHORT'}"
    return ""


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = Path("/proc/cpuinfo").read_text().partition("model name")[2].partition("\n")[0].lstrip("\t :")
    found = {package.name.replace("_", "-"): package.version for package in distributions()}
    installed = {name: found[name] for name in PACKAGES if name in found}
    facts = {"cores": os.cpu_count(), "cpu": cpu, "python": platform.python_version(), "kafka": VERSION, **installed}
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        facts["gpu"] = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
    return facts


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """What every benchmark understands."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, shorter backlogs, fewer variants")
    parser.add_argument("--save", action="store_true", help="also write the result to benchmarks/results")
    return parser


def finish(name: str, report: Report, options: argparse.Namespace) -> None:
    """Print table and JSON; the exit code is 1 where something is missing."""
    asked = {key: value for key, value in vars(options).items() if key != "save"}
    text = f"{report.table()}\n{report.line(name, asked)}\n"
    print(text, end="")
    if options.save:
        quick = "-quick" if options.quick else ""
        facts = ", ".join(f"{key} {value}" for key, value in machine().items())
        path = RESULTS / f"{time.strftime('%Y-%m-%d')}-{name}{quick}.txt"
        path.write_text(f"# {name}, {time.strftime('%d %B %Y')}: {facts}\n\n{text}")
    sys.exit(1 if report.missing else 0)
