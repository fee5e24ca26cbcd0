"""A real Prometheus with the rules of this repository, on a free loopback port."""

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from expressions import RULES
from integration.helpers import tool, wait_until
from integration.kafka_broker import free_port

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ['{rules}']
scrape_configs:
  - job_name: forecaster
    static_configs:
      - targets: ['127.0.0.1:{target}']
        labels: {{namespace: tests, pod: forecaster-0}}
"""


class Prometheus:
    """Its HTTP interface."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}/api/v1"

    def get(self, path: str, **parameters: str) -> dict[str, Any]:
        url = f"{self._address}/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each sample that `expression` has now."""
        result = self.get("query", query=expression)["result"]
        return [(sample["metric"], float(sample["value"][1])) for sample in result]

    def answers(self) -> bool:
        try:
            return self.get("targets")["activeTargets"] != []
        except OSError:
            return False

    def firing(self) -> set[str]:
        return {labels["alertname"] for labels, _ in self.query('ALERTS{alertstate="firing"}')}


@contextmanager
def prometheus(folder: Path, target: int) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the port `target` every second."""
    config, port = folder / "prometheus.yml", free_port()
    config.write_text(CONFIG.format(rules=RULES, target=target))
    command = [tool("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
        try:
            made = Prometheus(port)
            wait_until(made.answers, 60, what="an answer of Prometheus")
            yield made
        finally:
            process.terminate()
            process.wait(timeout=30)
