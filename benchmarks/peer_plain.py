"""A plain kafka-python loop with the daemon's network and `predict`. Run by benchmarks.peers.

python -m benchmarks.peer_plain predict|predict_batch CONFIG     for each message, or once for what a poll returned
"""

import sys

import orjson
from kafka import KafkaConsumer, KafkaProducer

from benchmarks.peer_model import Model, read_config


def main() -> None:
    how, path = sys.argv[1:]
    config, at_once = read_config(path), how == "predict_batch"
    kafka, topics, model = config["kafka"], config["topics"], Model(config["model"]["bundle"], how)
    producer = KafkaProducer(bootstrap_servers=kafka["bootstrap_servers"], acks="all", linger_ms=5)
    consumer = KafkaConsumer(
        topics["input"], bootstrap_servers=kafka["bootstrap_servers"], group_id=kafka["group_id"],
        auto_offset_reset="earliest", enable_auto_commit=False, max_poll_records=5_000 if at_once else 50,
    )  # fmt: skip
    while True:
        polled = [record for records in consumer.poll(timeout_ms=200).values() for record in records]
        ticks = [(record.key, orjson.loads(record.value)) for record in polled]
        for part in [ticks] if at_once and ticks else [[tick] for tick in ticks]:
            for (key, _), value in zip(part, model.forecasts(part), strict=True):
                producer.send(topics["output"], value, key)
        if ticks:
            producer.flush()
            consumer.commit()


if __name__ == "__main__":
    main()
