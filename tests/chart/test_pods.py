"""The pods that the chart renders: confined, probed, whole, and found by their selectors."""

import tomllib
from typing import Any

import pytest
from chart.rendered import EXAMPLES, Documents, Render, only, pod, pods, settings_files

from forecaster.config import load_settings
from forecaster.config.settings import Settings


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_container_is_confined(examples: dict[str, Documents], example: str) -> None:
    for found in pods(examples[example]):
        assert (found["automountServiceAccountToken"], found["enableServiceLinks"]) == (False, False)
        assert found["securityContext"]["runAsNonRoot"]
        assert found["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for one in found.get("initContainers", []) + found["containers"]:
            context = one["securityContext"]
            assert context["readOnlyRootFilesystem"]
            assert not context["allowPrivilegeEscalation"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert one["resources"]["limits"]["memory"]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_mount_has_its_volume_and_every_volume_its_mount(examples: dict[str, Documents], example: str) -> None:
    for found in pods(examples[example]):
        containers = found.get("initContainers", []) + found["containers"]
        mounted = {mount["name"] for one in containers for mount in one["volumeMounts"]}
        assert mounted == {volume["name"] for volume in found["volumes"]}


@pytest.mark.parametrize("example", EXAMPLES)
def test_selectors_find_the_pods_of_their_component_alone(examples: dict[str, Documents], example: str) -> None:
    documents = examples[example]
    labels = {
        one["kind"]: one["spec"].get("jobTemplate", one)["spec"]["template"]["metadata"]["labels"]
        for one in documents
        if one["kind"] in {"StatefulSet", "Deployment", "Job", "CronJob"}
        and "helm.sh/hook" not in one["metadata"].get("annotations", {})
    }
    for kind in ("PodDisruptionBudget", "PodMonitor", "StatefulSet", "Deployment"):
        for one in (one for one in documents if one["kind"] == kind):
            wanted = one["spec"]["selector"]["matchLabels"].items()
            assert {found for found in labels if wanted <= labels[found].items()} <= {"StatefulSet", "Deployment"}
            assert wanted <= (labels.get("StatefulSet") or labels["Deployment"]).items()


def test_a_stateful_pod_is_a_static_member_under_its_own_name(examples: dict[str, Documents]) -> None:
    stateful = only(examples["cpu"], "StatefulSet")
    assert stateful["spec"]["serviceName"] == only(examples["cpu"], "Service")["metadata"]["name"]
    variable = pod(stateful)["containers"][0]["env"][0]
    assert variable["name"] == "FORECASTER_KAFKA__GROUP_INSTANCE_ID"
    assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_a_pod_that_is_scaled_on_the_lag_is_a_dynamic_member(examples: dict[str, Documents]) -> None:
    deployment = only(examples["keda"], "Deployment")
    assert "replicas" not in deployment["spec"]
    assert "env" not in pod(deployment)["containers"][0]
    scaled = only(examples["keda"], "ScaledObject")["spec"]
    assert scaled["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    trigger = scaled["triggers"][0]["metadata"]
    defaults = load_settings(None)
    assert (trigger["topic"], trigger["consumerGroup"]) == (defaults.topics.input, defaults.kafka.group_id)
    assert trigger["limitToPartitionsWithLag"] == "true"


def test_the_probes_ask_what_they_are_for(examples: dict[str, Documents]) -> None:
    container = pod(only(examples["cpu"], "StatefulSet"))["containers"][0]
    asked = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert asked == {"startup": "/startupz", "readiness": "/readyz", "liveness": "/livez"}
    assert container["ports"][0] == {"name": "metrics", "containerPort": load_settings(None).metrics.port}


def test_the_pods_outlive_an_orderly_shutdown(render: Render, examples: dict[str, Documents]) -> None:
    grace = pod(only(examples["cpu"], "StatefulSet"))["terminationGracePeriodSeconds"]
    assert grace * 1_000 > load_settings(None).kafka.shutdown_timeout
    longer = {"shutdown_timeout": "2min", "bootstrap_servers": "kafka:9092"}
    assert "documents" in render(config={"kafka": longer}, terminationGracePeriodSeconds=121)
    assert "documents" in render(config={"kafka": {**longer, "shutdown_timeout": "59999ms"}})


def test_a_new_configuration_rolls_the_pods(render: Render) -> None:
    def annotations(**values: Any) -> dict[str, str]:
        stateful = only(render(**values)["documents"], "StatefulSet")
        return stateful["spec"]["template"]["metadata"]["annotations"]

    assert annotations() == annotations(replicas=5)
    assert annotations() != annotations(config={"emit": "latest"})


def test_on_a_platform_that_gives_users_the_chart_gives_none(render: Render) -> None:
    contexts = [found["securityContext"] for found in pods(render(user=None)["documents"])]
    assert contexts
    assert not any(key in context for context in contexts for key in ("runAsUser", "runAsGroup", "fsGroup"))
    assert all(context["runAsNonRoot"] for context in contexts)


def test_variables_and_files_of_the_user_reach_every_pod(render: Render) -> None:
    variable = {"name": "HTTPS_PROXY", "value": "http://proxy:3128"}
    volume, mount = {"name": "ca", "configMap": {"name": "ca"}}, {"name": "ca", "mountPath": "/ca"}
    further = {"extraEnv": [variable], "extraVolumes": [volume], "extraVolumeMounts": [mount]}
    url = {"source": "url", "url": {"address": "https://store.example/m.tar", "sha256": "0" * 64}}
    for values in ({"model": url}, {"training": {"enabled": True}}, {"training": {"enabled": True, "workers": 2}}):
        for found in pods(render(**further, **values)["documents"]):
            assert volume in found["volumes"]
            for one in (*found.get("initContainers", ()), *found["containers"]):
                assert variable in one["env"]
                assert mount in one["volumeMounts"]


def test_a_bundle_from_object_storage_is_fetched_by_its_checksum(examples: dict[str, Documents]) -> None:
    found = pod(only(examples["mtls-keda"], "Deployment"))
    (fetch,) = found["initContainers"]
    assert fetch["image"] == found["containers"][0]["image"]
    assert fetch["args"][:3] == ["fetch", "--url", "$(BUNDLE_URL)"]
    assert fetch["env"][0]["valueFrom"]["secretKeyRef"] == {"name": "model-address", "key": "url"}
    written = tomllib.loads(dict(settings_files(examples["mtls-keda"]))["forecaster.toml"])
    assert written["model"]["bundle"] == fetch["args"][-1]


def test_the_live_page_has_a_port_where_it_is_enabled(render: Render, examples: dict[str, Documents]) -> None:
    if "web" not in Settings.model_fields:
        pytest.skip("this daemon has no live page")
    documents = render(config={"web": {"enabled": True, "port": 8081}})["documents"]
    ports = pod(only(documents, "StatefulSet"))["containers"][0]["ports"]
    assert {"name": "web", "containerPort": 8081} in ports
    assert only(documents, "Service", "-web")["spec"]["ports"][0]["targetPort"] == "web"
    assert {one["metadata"]["name"] for one in examples["cpu"] if one["kind"] == "Service"} == {"forecaster"}
