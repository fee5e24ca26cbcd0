"""What stands around the daemon's pods: topics, users, Jobs and rules of the network."""

import json
import tomllib
from typing import Any

from chart.rendered import EXAMPLES, NAMELESS, SECRET, STRIMZI_USER, Documents, Render, only, pod, settings_files

from forecaster.config import load_settings


def test_a_pod_may_send_what_its_settings_tell_it_to(render: Render) -> None:
    tracing = {"enabled": True, "endpoint": "http://collector:4319/v1/traces"}
    oauth = {**NAMELESS, "sasl_mechanism": "OAUTHBEARER", "sasl_username": "me"}
    endpoint = {"bootstrap_servers": "a:9092, b:9093", "sasl_token_endpoint": "https://idp.example/token"}
    config = {"kafka": {**oauth, **endpoint}, "tracing": tracing}
    url = {"source": "url", "url": {"address": "https://store.example:8443/m.tar", "sha256": "0" * 64}}
    policy = only(render(config=config, kafka=SECRET, model=url)["documents"], "NetworkPolicy")
    open_to = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
    assert open_to == {53, 443, 9092, 9093, 4319, 8443, load_settings(None).metrics.port}


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
