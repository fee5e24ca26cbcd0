"""What the chart renders, taken apart; and values that several tests set."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PYTHON = ROOT / ".venv-deploy" / "bin" / "python"
EXAMPLES = sorted(path.stem for path in (DEPLOY / "chart" / "ci").glob("*.yaml"))
Documents = list[dict[str, Any]]
Render = Callable[..., dict[str, Any]]

KAFKA = {"bootstrap_servers": "kafka:9092"}
SASL = {**KAFKA, "security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "me"}
OAUTH = {**KAFKA, "security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"}
NAMELESS = {key: setting for key, setting in SASL.items() if key != "sasl_username"}
SECRET = {"userSecret": {"name": "user"}}
STRIMZI_USER = {"cluster": "c", "user": {"enabled": True}}
SCALED = {"workload": "Deployment", "keda": {"enabled": True}}
METRICS_TLS = {"tls_cert_file": "/tls/crt", "tls_key_file": "/tls/key"}


def only(documents: Documents, kind: str, ending: str = "") -> dict[str, Any]:
    (found,) = [one for one in documents if one["kind"] == kind and one["metadata"]["name"].endswith(ending)]
    return found


def pod(found: dict[str, Any]) -> dict[str, Any]:
    spec = found["spec"]
    return spec.get("jobTemplate", {"spec": spec})["spec"]["template"]["spec"]


def pods(documents: Documents) -> Iterator[dict[str, Any]]:
    return (pod(one) for one in documents if one["kind"] in {"StatefulSet", "Deployment", "Job", "CronJob"})


def settings_files(documents: Documents) -> Iterator[tuple[str, str]]:
    for one in documents:
        if one["kind"] == "ConfigMap":
            yield from ((name, text) for name, text in one["data"].items() if name.endswith(".toml"))


def leaves(tree: Any) -> Iterator[Any]:
    """Whatever in it is neither object nor list."""
    if not isinstance(tree, dict | list):
        yield tree
        return
    for below in tree.values() if isinstance(tree, dict) else tree:
        yield from leaves(below)
