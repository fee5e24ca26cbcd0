"""What a command is to the command line, and types of arguments that several of them have."""

import argparse
from collections.abc import Callable

Run = Callable[[argparse.Namespace], None]
AddCommand = Callable[[str, Run, str], argparse.ArgumentParser]


def positive(text: str) -> float:
    """A finite number above 0."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number
