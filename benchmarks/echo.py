"""A plain echo through the daemon's own Kafka client: for each tick, produce the bytes that its forecast had.

python -m benchmarks.echo CONFIG FORECASTS COUNT     FORECASTS: one "key TAB value" a line, in any order
"""

import sys
from itertools import cycle
from pathlib import Path

from forecaster.config import load_settings
from forecaster.kafka.clients import make_client
from forecaster.records import Message


def main() -> None:
    config, forecasts, count = sys.argv[1:]
    settings = load_settings(Path(config))
    lines = [line.split(b"\t", 1) for line in Path(forecasts).read_bytes().splitlines()]
    answers = cycle([Message(settings.topics.output, key, value) for key, value in lines])
    client = make_client(settings, 0, "echo")
    client.start()
    left = int(count)
    while left > 0:
        records = client.poll(200)
        if len(records):
            client.publish([next(answers) for _ in range(len(records))])
            client.commit()
            left -= len(records)
    client.close()


if __name__ == "__main__":
    main()
