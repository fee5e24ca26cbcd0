"""What is too large to be produced again is cut to what fits, whatever it came with."""

import pytest

from forecaster.kafka.sizes import batch_bytes, cut
from forecaster.records import Headers, Message

LIMIT = 10_000
OURS = [("forecaster-reason", b"bad_time"), ("forecaster-error", b"no"), ("forecaster-source", b"ticks/0/7")]


@pytest.mark.parametrize(
    "theirs",
    [
        [],
        [("theirs", b"x" * LIMIT)],
        [("forecaster-theirs", b"x" * LIMIT)],
        [("forecaster-reason", b"x" * LIMIT), ("forecaster-truncated", b"x" * LIMIT)],
        [("forecaster-error", b"x")] * LIMIT,
    ],
    ids=lambda headers: headers[0][0] if headers else "none",
)
def test_a_dead_letter_fits_and_its_own_headers_stay(theirs: Headers) -> None:
    letter = cut(Message("dlq", b"k" * 10, b"v" * LIMIT, [*theirs, *OURS]), LIMIT)
    assert batch_bytes(letter) <= LIMIT
    assert dict(letter.headers) == {**dict(OURS), "forecaster-truncated": b"10000"}
