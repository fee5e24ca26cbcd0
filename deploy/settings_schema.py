"""The settings in deploy/chart/values.schema.json, generated from the classes that read them: `make chart`."""

import json
from pathlib import Path
from typing import Any

from forecaster.config import Settings

SCHEMA = Path(__file__).with_name("chart") / "values.schema.json"
# What depends on the pod is the chart's to set, and a secret is no value: each is refused as an unknown name.
OWNED = {
    "KafkaSettings": {
        "group_instance_id", "transactional_id", "worker_index", "ssl_ca_file", "ssl_cert_file", "ssl_key_file",
        "ssl_key_password", "ssl_key_password_file", "sasl_password", "sasl_password_file", "sasl_token_file",
    },
    "ModelSettings": {"bundle"},
    "MetricsSettings": {"host"},
    "WebSettings": {"host"},
}  # fmt: skip


def settings_schema() -> dict[str, Any]:
    """Schema by name of the class. Durations are text; what each setting means, docs/configuration.md says."""
    root = Settings.model_json_schema(mode="serialization")
    classes = {**root.pop("$defs"), "Settings": root}
    for name, schema in classes.items():
        settings = schema["properties"]
        for setting in OWNED.get(name, set()) & settings.keys():
            del settings[setting]
        schema["properties"] = {setting: _stripped(settings[setting]) for setting in settings}
        del schema["title"]
        schema.pop("description", None)
    return classes


def _stripped(setting: dict[str, Any]) -> dict[str, Any]:
    """A setting without the null that stands for unset, and without a default that its section has already."""
    kinds = [kind for kind in setting.pop("anyOf", []) if kind != {"type": "null"}]
    setting = {**setting, **(kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})}
    default = setting.pop("default", None)
    if default is not None and "$ref" not in setting:
        setting["default"] = default
    return {key: value for key, value in setting.items() if key not in {"title", "description", "writeOnly", "format"}}


def write() -> None:
    """Put the settings of now into the chart's schema."""
    chart = json.loads(SCHEMA.read_text("utf-8"))
    own = {name: schema for name, schema in chart["$defs"].items() if not name.endswith("Settings")}
    chart["$defs"] = {**own, **settings_schema()}
    SCHEMA.write_text(json.dumps(chart, indent=2, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    write()
