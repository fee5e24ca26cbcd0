"""How fast one client may ask."""

from collections import OrderedDict

REMEMBERED = 4_096  # clients
BURST_S = 2.0


class RequestLimit:
    """A token bucket for each client: `per_second` in the long run, those of two seconds at once."""

    def __init__(self, per_second: float) -> None:
        self._per_second, self._most = per_second, per_second * BURST_S
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when they were counted

    def allows(self, client: str, now: float) -> bool:
        """Whether `client` may ask once more at `now`, in seconds of any clock."""
        left, then = self._left.pop(client, (self._most, now))
        left = min(self._most, left + (now - then) * self._per_second)
        allowed = left >= 1
        self._left[client] = (left - allowed, now)
        if len(self._left) > REMEMBERED:
            self._left.popitem(last=False)
        return allowed
