"""Quix Streams with the daemon's network. Run by benchmarks.peers, in the peers' environment.

python -m benchmarks.peer_quix function|xla|predict|batch CONFIG

Per message the network is called inside `apply`. With "batch" it is called for what a batching sink has gathered
of a partition when its checkpoint is due, which is the only place where Quix hands over more than one message.
"""

import sys
from typing import Any

from quixstreams import Application
from quixstreams.sinks import BatchingSink, SinkBatch

from benchmarks.peer_model import Model, read_config

CHECKPOINT = 5_000  # messages, of all partitions together


class Forecasts(BatchingSink):
    """Forecasts of everything gathered, published before the checkpoint commits its offsets."""

    def __init__(self, model: Model, app: Application, topic: str) -> None:
        super().__init__()
        self._model, self._producer, self._topic = model, app.get_producer(), topic

    def write(self, batch: SinkBatch) -> None:
        ticks = [(item.key, item.value) for item in batch]
        for (key, _), value in zip(ticks, self._model.forecasts(ticks), strict=True):
            self._producer.produce(topic=self._topic, key=key, value=value)
        self._producer.flush()


def main() -> None:
    how, path = sys.argv[1:]
    config = read_config(path)
    model, topics = Model(config["model"]["bundle"], how), config["topics"]
    app = Application(
        config["kafka"]["bootstrap_servers"], consumer_group=config["kafka"]["group_id"], auto_offset_reset="earliest",
        commit_interval=1.0, commit_every=CHECKPOINT, auto_create_topics=False, loglevel="WARNING",
        producer_extra_config={"linger.ms": 5, "acks": "all", "enable.idempotence": True},
    )  # fmt: skip
    frame = app.dataframe(app.topic(topics["input"], key_deserializer="bytes"))
    if how == "batch":
        frame.sink(Forecasts(model, app, topics["output"]))
    else:

        def forecast(tick: dict[str, Any], key: bytes, *_: object) -> bytes:
            return model.forecasts([(key, tick)])[0]

        frame = frame.apply(forecast, metadata=True)
        frame.to_topic(app.topic(topics["output"], key_serializer="bytes", value_serializer="bytes"))
    app.run()


if __name__ == "__main__":
    main()
