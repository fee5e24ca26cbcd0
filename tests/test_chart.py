"""The chart: what it refuses, and that what it renders fits the daemon and Kubernetes' rules for such pods."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from forecaster import __version__
from forecaster.config import load_settings
from forecaster.config.settings import Settings

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
PYTHON = ROOT / ".venv-deploy" / "bin" / "python"
EXAMPLES = sorted(path.stem for path in (DEPLOY / "chart" / "ci").glob("*.yaml"))
Documents = list[dict[str, Any]]
Render = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def render() -> Iterator[Render]:
    """Values, or the name of an example, to what the chart answers: `documents`, or the `error` of its refusal."""
    if not PYTHON.exists():
        refuse = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        refuse("no .venv-deploy with Helm in it: make lint-deploy")
    command = [PYTHON, DEPLOY / "checks" / "chart.py"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def ask(example: str | None = None, *, release: str = "forecaster", **values: Any) -> dict[str, Any]:
            process.stdin.write(json.dumps([release, example or values]) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()


@pytest.fixture(scope="module")
def examples(render: Render) -> dict[str, Documents]:
    """What the chart makes of each file of values in deploy/chart/ci."""
    return {name: render(name)["documents"] for name in EXAMPLES}


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


def part_of(tree: dict[str, Any], keys: dict[str, Any]) -> dict[str, Any]:
    return {key: part_of(tree[key], below) if isinstance(below, dict) else tree[key] for key, below in keys.items()}


def leaves(tree: Any) -> Iterator[Any]:
    """Whatever in it is neither object nor list."""
    if not isinstance(tree, dict | list):
        yield tree
        return
    for below in tree.values() if isinstance(tree, dict) else tree:
        yield from leaves(below)


KAFKA = {"bootstrap_servers": "kafka:9092"}
SASL = {**KAFKA, "security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "me"}
OAUTH = {**KAFKA, "security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"}
NAMELESS = {key: setting for key, setting in SASL.items() if key != "sasl_username"}
SECRET = {"userSecret": {"name": "user"}}
STRIMZI_USER = {"cluster": "c", "user": {"enabled": True}}
SCALED = {"workload": "Deployment", "keda": {"enabled": True}}
METRICS_TLS = {"tls_cert_file": "/tls/crt", "tls_key_file": "/tls/key"}


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


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_settings_that_the_chart_writes_load(examples: dict[str, Documents], example: str, tmp_path: Path) -> None:
    for name, text in settings_files(examples[example]):
        path = tmp_path / name
        path.write_text(text, "utf-8")
        assert load_settings(path)


def test_a_name_that_looks_like_a_number_stays_a_name(render: Render) -> None:
    claim = {"create": False, "name": "123"}
    secrets = {"caSecret": {"name": "123", "key": "123"}, "userSecret": {"name": "123", "passwordKey": "123"}}
    common = {
        "image": {"pullSecrets": ["123"]}, "kafka": secrets, "priorityClassName": "123", "topologyKeys": ["123"],
        "nodeSelector": {"a": "123"}, "podLabels": {"a": "123"}, "podAnnotations": {"a": "123"}, "tmpSize": "123",
    }  # fmt: skip
    url = {"source": "url", "url": {"sha256": "1" * 64, "secret": {"name": "123", "key": "123"}}}
    names = {"input": "123", "output": "1e3", "dead_letter": "true", "state": "0x1"}
    config = {"kafka": {**SASL, "sasl_username": "123", "group_id": "123"}, "topics": names}
    strimzi = {"cluster": "123", "namespace": "123", "topics": {"enabled": True}}
    training = {"enabled": True, "claim": {"storageClass": "123", "size": "123"}}
    model = {"size": "123", "claim": {"storageClass": "123"}}
    for values in (
        {**common, **SCALED, "config": config, "model": url, "strimzi": strimzi},
        {**common, "config": config, "model": {"claim": claim}, "training": {"enabled": True, "claim": claim}},
        {**common, "config": config, "model": model, "training": training},
    ):
        found = list(leaves(render(**values)["documents"]))
        assert "123" in found
        assert not {123, 1e3, int("1" * 64)} & {leaf for leaf in found if type(leaf) in {int, float}}
        assert True not in [one["metadata"]["name"] for one in render(**values)["documents"]]


def test_values_reach_the_daemon_as_they_were_written(render: Render, tmp_path: Path) -> None:
    config = {
        "workers": 3,
        "kafka": {"bootstrap_servers": 'a:9092, "b\\:9092', "max_poll_records": 100_000},
        "stream": {"step": "15min", "late_restart": 1_000_000},
        "model": {"quantiles": [0.025, 0.5, 0.9], "sampling": {"paths": 8, "top_p": 0.5}, "units": [32, 16]},
        "training": {"sizes": [[16], [32, 32]], "learning_rate": 1e-3},
        "topics": {"create": False},
    }
    ((name, text),) = settings_files(render(config=config)["documents"])
    path = tmp_path / name
    path.write_text(text, "utf-8")
    assert part_of(load_settings(path).model_dump(mode="json"), config) == config


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_variable_of_a_pod_is_a_setting(examples: dict[str, Documents], example: str) -> None:
    containers = [one for found in pods(examples[example]) for one in found["containers"]]
    variables = [variable["name"] for one in containers for variable in one.get("env", [])]
    for name in variables:
        section, _, setting = name.removeprefix("FORECASTER_").lower().partition("__")
        known = Settings.model_fields[section].annotation.model_fields if setting else {}
        assert not name.startswith("FORECASTER_") or setting in known, name


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


def test_the_pods_outlive_an_orderly_shutdown(examples: dict[str, Documents]) -> None:
    grace = pod(only(examples["cpu"], "StatefulSet"))["terminationGracePeriodSeconds"]
    assert grace * 1_000 > load_settings(None).kafka.shutdown_timeout


def test_a_new_configuration_rolls_the_pods(render: Render) -> None:
    def annotations(**values: Any) -> dict[str, str]:
        stateful = only(render(**values)["documents"], "StatefulSet")
        return stateful["spec"]["template"]["metadata"]["annotations"]

    assert annotations() == annotations(replicas=5)
    assert annotations() != annotations(config={"emit": "latest"})


def test_two_releases_are_two_groups(render: Render) -> None:
    def group(**values: Any) -> str:
        files = dict(settings_files(render(**values)["documents"]))
        return tomllib.loads(files["forecaster.toml"])["kafka"]["group_id"]

    assert (group(), group(release="prices")) == (load_settings(None).kafka.group_id, "prices-forecaster")
    assert group(release="prices", config={"kafka": {**KAFKA, "group_id": "shared"}}) == "shared"


def test_a_pod_may_send_what_its_settings_tell_it_to(render: Render) -> None:
    tracing = {"enabled": True, "endpoint": "http://collector:4319/v1/traces"}
    config = {"kafka": {"bootstrap_servers": "a:9092, b:9093"}, "tracing": tracing}
    url = {"source": "url", "url": {"address": "https://store.example:8443/m.tar", "sha256": "0" * 64}}
    policy = only(render(config=config, model=url)["documents"], "NetworkPolicy")
    open_to = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
    assert open_to == {53, 9092, 9093, 4319, 8443, load_settings(None).metrics.port}


def test_on_a_platform_that_gives_users_the_chart_gives_none(render: Render) -> None:
    contexts = [found["securityContext"] for found in pods(render(user=None)["documents"])]
    assert contexts
    assert not any(key in context for context in contexts for key in ("runAsUser", "runAsGroup", "fsGroup"))
    assert all(context["runAsNonRoot"] for context in contexts)


def test_variables_of_the_user_reach_the_daemon_and_what_fetches_the_bundle(render: Render) -> None:
    proxy = {"name": "HTTPS_PROXY", "value": "http://proxy:3128"}
    url = {"source": "url", "url": {"address": "https://store.example/m.tar", "sha256": "0" * 64}}
    found = pod(only(render(extraEnv=[proxy], model=url)["documents"], "StatefulSet"))
    assert all(proxy in one["env"] for one in (*found["initContainers"], *found["containers"]))


def test_a_job_that_would_be_told_something_else_is_another_job(render: Render) -> None:
    def job(**values: Any) -> str:
        documents = render(training={"enabled": True, **values.pop("training", {})}, **values)["documents"]
        return next(one["metadata"]["name"] for one in documents if "-training-" in one["metadata"]["name"])

    assert job() == job(replicas=5) == job(training={"suspend": True})
    others = [
        {"tmpSize": "1Gi"}, {"nodeSelector": {"pool": "batch"}}, {"tolerations": [{"operator": "Exists"}]},
        {"priorityClassName": "high"}, {"image": {"tag": "2"}}, {"config": {"stream": {"step": "1h"}}},
        {"training": {"gpu": 1}}, {"training": {"config": {"training": {"epochs": 1}}}}, {"user": 10002},
    ]  # fmt: skip
    assert len({job(), *(job(**values) for values in others)}) == len(others) + 1


def test_a_topic_outlives_the_release(examples: dict[str, Documents]) -> None:
    kept = [one for one in examples["strimzi"] if one["kind"] == "KafkaTopic"]
    kept += [one for name in EXAMPLES for one in examples[name] if one["kind"] == "PersistentVolumeClaim"]
    assert {one["metadata"]["annotations"]["helm.sh/resource-policy"] for one in kept} == {"keep"}


def test_the_live_page_s_user_may_read_what_it_shows(render: Render) -> None:
    def operations(**config: Any) -> list[str]:
        documents = render(config={"kafka": NAMELESS, **config}, strimzi=STRIMZI_USER)["documents"]
        acls = only(documents, "KafkaUser")["spec"]["authorization"]["acls"]
        return next(acl["operations"] for acl in acls if acl["resource"]["name"] == "forecasts")

    assert operations() == ["Write", "Describe"]
    assert "Read" in operations(web={"enabled": True})


def test_a_kafka_user_of_strimzi_is_all_that_the_pods_need(examples: dict[str, Documents]) -> None:
    documents = examples["strimzi"]
    (volume,) = [one for one in pod(only(documents, "StatefulSet"))["volumes"] if one["name"] == "kafka"]
    secrets = {part["secret"]["name"]: part["secret"]["items"] for part in volume["projected"]["sources"]}
    assert secrets["prices-cluster-ca-cert"] == [{"key": "ca.crt", "path": "ca.crt"}]
    assert secrets[only(documents, "KafkaUser")["metadata"]["name"]] == [{"key": "password", "path": "password"}]
    text = dict(settings_files(documents))["forecaster.toml"]
    written = tomllib.loads(text)["kafka"]
    assert (written["ssl_ca_file"], written["sasl_password_file"]) == ("/etc/kafka/ca.crt", "/etc/kafka/password")
    topics = {one["spec"]["topicName"]: one for one in documents if one["kind"] == "KafkaTopic"}
    assert set(topics) == {"prices", "forecasts", "forecasts.dlq", "forecasts.state"}
    assert topics["forecasts.state"]["spec"]["config"]["cleanup.policy"] == "compact"


def test_a_token_endpoint_is_asked_with_the_password_of_the_secret(render: Render) -> None:
    oauth = {**SASL, "sasl_mechanism": "OAUTHBEARER", "sasl_token_endpoint": "https://idp.example/token"}
    documents = render(config={"kafka": oauth}, kafka={"userSecret": {"name": "user"}})["documents"]
    written = tomllib.loads(dict(settings_files(documents))["forecaster.toml"])["kafka"]
    assert written["sasl_password_file"] == "/etc/kafka/password"
    assert "sasl_token_file" not in written


def test_a_bundle_from_object_storage_is_fetched_by_its_checksum(examples: dict[str, Documents]) -> None:
    found = pod(only(examples["mtls-keda"], "Deployment"))
    (fetch,) = found["initContainers"]
    assert fetch["image"] == found["containers"][0]["image"]
    assert fetch["args"][:3] == ["fetch", "--url", "$(BUNDLE_URL)"]
    assert fetch["env"][0]["valueFrom"]["secretKeyRef"] == {"name": "model-address", "key": "url"}
    written = tomllib.loads(dict(settings_files(examples["mtls-keda"]))["forecaster.toml"])
    assert written["model"]["bundle"] == fetch["args"][-1]


def test_a_scale_down_takes_its_members_out_of_the_group(examples: dict[str, Documents]) -> None:
    job = only(examples["strimzi"], "Job", "-remove-members")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "post-upgrade,post-rollback"
    stateful = only(examples["strimzi"], "StatefulSet")
    arguments = pod(job)["containers"][0]["args"]
    assert f"--statefulset={stateful['metadata']['name']}" in arguments
    assert f"--replicas={stateful['spec']['replicas']}" in arguments
    assert f"--service={stateful['spec']['serviceName']}" in arguments
    assert [one for one in examples["keda"] if one["kind"] == "Job"] == []


def test_the_workers_of_a_training_find_each_other(examples: dict[str, Documents]) -> None:
    documents = examples["training"]
    spec = only(documents, "CronJob")["spec"]["jobTemplate"]["spec"]
    service = only(documents, "Service", "-training")["metadata"]["name"]
    container = spec["template"]["spec"]["containers"][0]
    variables = {one["name"]: one.get("value") for one in container["env"]}
    cluster = json.loads(variables["TF_CONFIG"].replace("$(WORKER)", "1"))
    fields = [one["valueFrom"]["fieldRef"]["fieldPath"] for one in container["env"] if one["name"] == "JOB"]
    assert fields == ["metadata.labels['batch.kubernetes.io/job-name']"]
    assert spec["template"]["spec"]["subdomain"] == service
    assert len(cluster["cluster"]["worker"]) == spec["completions"] == spec["parallelism"] == 2
    assert cluster["cluster"]["worker"] == [f"$(JOB)-{index}.{service}:2222" for index in range(2)]
    assert [one["name"] for one in container["env"]].index("TF_CONFIG") == 2  # what it names stands before it
    policy = only(documents, "NetworkPolicy")["spec"]["ingress"]
    (rule,) = [rule for rule in policy if rule["ports"][0]["port"] == 2222]
    assert rule["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "training"


def test_a_training_has_the_daemon_s_stream_and_writes_where_the_daemon_reads(examples: dict[str, Documents]) -> None:
    files = dict(settings_files(examples["training-once"]))
    daemon, training = (tomllib.loads(files[name]) for name in ("forecaster.toml", "train.toml"))
    assert training["stream"] == daemon["stream"]
    job = next(one for one in examples["training-once"] if one["metadata"]["name"].startswith("forecaster-training-"))
    assert f"--out={daemon['model']['bundle']}" in pod(job)["containers"][0]["args"]


def test_the_live_page_has_a_port_where_it_is_enabled(render: Render, examples: dict[str, Documents]) -> None:
    if "web" not in Settings.model_fields:
        pytest.skip("this daemon has no live page")
    documents = render(config={"web": {"enabled": True, "port": 8081}})["documents"]
    ports = pod(only(documents, "StatefulSet"))["containers"][0]["ports"]
    assert {"name": "web", "containerPort": 8081} in ports
    assert only(documents, "Service", "-web")["spec"]["ports"][0]["targetPort"] == "web"
    assert {one["metadata"]["name"] for one in examples["cpu"] if one["kind"] == "Service"} == {"forecaster"}


def test_the_chart_is_of_this_version() -> None:
    chart = (DEPLOY / "chart" / "Chart.yaml").read_text("utf-8")
    assert re.findall(r"(?m)^(?:version|appVersion): (.+)$", chart) == [__version__, __version__]


def test_the_chart_knows_every_setting_of_this_daemon() -> None:
    committed = json.loads((DEPLOY / "chart" / "values.schema.json").read_text("utf-8"))["$defs"]
    code = "import json, settings_schema as made; print(json.dumps(made.settings_schema()))"
    of_now = json.loads(_python(code))
    assert {name: committed.get(name) for name in of_now} == of_now, "make chart"


@pytest.mark.usefixtures("render")
def test_the_plain_manifests_are_what_the_chart_renders() -> None:
    code = "import chart; print([str(path) for path, text in chart.manifests().items() if path.read_text() != text])"
    assert _python(code, PYTHON, DEPLOY / "checks").strip() == "[]", "make chart"


def test_every_default_of_a_setting_passes_its_own_schema() -> None:
    schema = json.loads((DEPLOY / "chart" / "values.schema.json").read_text("utf-8"))
    for name, section in schema["$defs"].items():
        for setting, kind in section.get("properties", {}).items():
            if "default" in kind:
                assert jsonschema.Draft202012Validator(kind).is_valid(kind["default"]), f"{name}.{setting}"


def _python(code: str, python: str | Path = sys.executable, *path: Path) -> str:
    places = os.pathsep.join(map(str, (ROOT, DEPLOY, *path)))
    command, environment = [python, "-c", code], {**os.environ, "PYTHONPATH": places}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
