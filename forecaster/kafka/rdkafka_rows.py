"""Messages of librdkafka as the columns of each partition."""

from collections.abc import Sequence
from operator import methodcaller
from typing import Any

import numpy as np

from forecaster.kafka.halves import Rows
from forecaster.records import Headers

READ_HEADERS = methodcaller("headers")
UNREADABLE: Headers = (("", b""),)


def by_partition(messages: Sequence[Any]) -> dict[int, Rows]:
    """The columns of each partition, with `UNREADABLE` where a header's key is no UTF-8.

    librdkafka gives partitions mixed, in the order of their fetches.
    """
    if not messages:
        return {}
    number = np.array([message.partition() for message in messages])
    if (number == number[0]).all():
        return {int(number[0]): _columns(messages)}
    order = np.argsort(number, kind="stable").tolist()
    numbers, begins = np.unique(np.sort(number), return_index=True)
    ends = [*begins[1:].tolist(), len(messages)]
    return {
        n: _columns([messages[at] for at in order[begin:end]])
        for n, begin, end in zip(numbers.tolist(), begins.tolist(), ends, strict=True)
    }


def _columns(messages: Sequence[Any]) -> Rows:
    return Rows(
        [message.offset() for message in messages],
        [message.timestamp()[1] for message in messages],
        [message.key() for message in messages],
        [message.value() for message in messages],
        _headers(messages),
    )


def _headers(messages: Sequence[Any]) -> list[Headers]:
    """Of each message. A key that is no UTF-8 makes confluent-kafka return a broken object beside its error.

    Called from Python that object would end the process; `methodcaller` throws it away and raises `SystemError`.
    """
    read, found = map(READ_HEADERS, messages), list[Headers]()
    while len(found) < len(messages):
        try:
            found.extend([(name, value or b"") for name, value in headers] if headers else () for headers in read)
        except SystemError:
            found.append(UNREADABLE)
    return found
