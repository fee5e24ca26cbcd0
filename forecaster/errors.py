"""Exceptions that route: stop with an exit code, or throw the state away and restore.

What is wrong with one *record* is no exception: a decoder returns it as a dead letter.
"""


class ForecasterError(Exception):
    """Ends the process with `exit_code` and its text as one readable line."""

    exit_code = 1


class ConfigError(ForecasterError):
    """A setting, argument or input file is wrong; the text names it."""

    exit_code = 2


class BundleError(ForecasterError):
    """A model bundle is truncated, altered, or does not fit; the text names the file."""

    exit_code = 2


class BrokerUnavailableError(ForecasterError):
    """The broker did not answer within `kafka.startup_timeout`, or output could not be flushed."""


class RefusedError(ForecasterError):
    """The broker does not accept this client, or this client the broker; the text names the setting that decides."""


class FencedError(ForecasterError):
    """Another daemon has taken this one's identity over: it works on, this one must end."""


class PoisonError(ForecasterError):
    """More dead letters within a minute than `topics.dead_letters_per_minute`."""


class WorkerError(ForecasterError):
    """A worker has ended in a way that ends all of them, with its exit code."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class StoppedError(ForecasterError):
    """A signal ended a command that cannot end by itself at once; the exit code is the shell's for that signal."""

    def __init__(self, text: str, signal: int) -> None:
        super().__init__(text)
        self.exit_code = 128 + signal


class RetryableError(Exception):
    """A broker operation failed: drop the state, return to the committed offsets and restore."""


class UnusableStateError(Exception):
    """A checkpoint cannot be used; `reason` is one of the bounded codes of `checkpoint.reader.Found`."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason, self.text = reason, text
