// Holds each object of the JSON array on standard input against the schema of its operator; one line per fault.
import { readFileSync } from "node:fs";

const PACKAGES = {
  "keda.sh": "@kubernetes-models/keda",
  "monitoring.coreos.com": "@kubernetes-models/prometheus-operator",
  "kafka.strimzi.io": "@kubernetes-models/strimzi-kafka-operator",
};

for (const object of JSON.parse(readFileSync(0, "utf-8"))) {
  const group = object.apiVersion.split("/")[0];
  try {
    const module = await import(`${PACKAGES[group]}/${object.apiVersion}/${object.kind}`);
    new module[object.kind](object).validate();
  } catch (error) {
    console.log(`${object.kind} ${object.metadata.name}: ${error.message}`);
    process.exitCode = 1;
  }
}
