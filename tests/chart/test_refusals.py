"""What the chart refuses, in one line that names the value."""

import json
from typing import Any

import pytest
from chart.rendered import KAFKA, METRICS_TLS, NAMELESS, OAUTH, SASL, SCALED, SECRET, STRIMZI_USER, Render, only


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"replicas": "three"}, "replicas"),
        ({"replicaCount": 3}, "replicaCount"),
        ({"image": {"tags": "1"}}, "tags"),
        ({"workload": "DaemonSet"}, "workload"),
        ({"resources": {"limits": {"memory": "lots"}}}, "resources"),
        ({"config": {"kafka": {"bootstrap": "kafka:9092"}}}, "bootstrap"),
        ({"config": {"workers": 0}}, "workers"),
        ({"config": {"metrics": {"port": 0}}}, "config.metrics.port"),
        ({"config": {"stream": {"step": 60}}}, "step"),
        ({"config": {"model": {"bundle": "/elsewhere"}}}, "bundle"),
        ({"config": {"kafka": {**SASL, "sasl_password": "pa55"}}}, "sasl_password"),
        ({"config": {"kafka": SASL}}, "kafka.userSecret.name"),
        ({"kafka": {"userSecret": {"name": "user"}}}, "security_protocol"),
        ({"kafka": {"caSecret": {"name": "ca"}}}, "security_protocol"),
        ({"kafka": {"caSecret": {"name": "Ca!"}}}, "caSecret"),
        ({"model": {"source": "s3"}}, "source"),
        ({"model": {"source": "image"}}, "model.image.reference"),
        ({"model": {"source": "url"}}, "model.url.address"),
        ({"model": {"source": "url", "url": {"address": "https://store.example/m.tar"}}}, "model.url.sha256"),
        ({"model": {"source": "url", "url": {"sha256": "abc"}}}, "sha256"),
        ({"model": {"claim": {"create": False}}}, "model.claim.name"),
        ({"keda": {"enabled": True}}, "keda.enabled"),
        ({"terminationGracePeriodSeconds": 30}, "terminationGracePeriodSeconds"),
        ({"config": {"kafka": {"shutdown_timeout": "2min"}}}, "terminationGracePeriodSeconds"),
        ({"keda": {"enabled": True, "minReplicas": 5}, "workload": "Deployment"}, "keda.minReplicas"),
        ({**SCALED, "config": {"kafka": OAUTH}, "kafka": SECRET}, "keda.enabled"),
        ({"strimzi": {"user": {"enabled": True}}}, "strimzi.cluster"),
        ({"strimzi": STRIMZI_USER}, "strimzi.user.authentication"),
        ({"strimzi": STRIMZI_USER, "config": {"kafka": {**KAFKA, "security_protocol": "SSL"}}}, "authentication"),
        ({"strimzi": STRIMZI_USER, "config": {"kafka": SASL}}, "config.kafka.sasl_username"),
        ({"config": {"kafka": NAMELESS}, "kafka": SECRET}, "config.kafka.sasl_username"),
        ({"config": {"kafka": {"bootstrap_servers": "kafka:9092, kafka"}}}, "config.kafka.bootstrap_servers"),
        ({"config": {"web": {"enabled": True, "port": 9108}}}, "config.web.port"),
        ({"config": {"metrics": METRICS_TLS}, "metrics": {"podMonitor": {"enabled": True}}}, "podMonitor.tlsConfig"),
        ({"config": None}, "config"),
        ({"model": {"claim": None}}, "claim"),
        ({"replicas": None}, "replicas"),
        ({"training": {"enabled": True}, "model": {"source": "image", "image": {"reference": "m"}}}, "model.claim"),
    ],
    ids=lambda part: part if isinstance(part, str) else json.dumps(part)[:60],
)
def test_a_wrong_value_is_refused_by_its_name(render: Render, values: dict[str, Any], named: str) -> None:
    assert named in render(**values).get("error", "")


def test_a_release_whose_name_no_service_can_have_is_refused(render: Render) -> None:
    assert "release name 1st" in render(release="1st")["error"]
    assert only(render(release="prices.eu")["documents"], "StatefulSet")["metadata"]["name"] == "prices-eu-forecaster"


def test_a_refusal_shows_no_password(render: Render) -> None:
    assert "pa55" not in render(config={"kafka": {**SASL, "sasl_password": "pa55"}})["error"]
