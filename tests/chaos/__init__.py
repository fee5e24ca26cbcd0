"""Faults on a real broker, judged by an oracle that knows nothing of the daemon's code; see `__main__`."""
