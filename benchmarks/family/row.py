"""One line of the table."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """A trained model's `value` of `measure` on the test part of `data`, beside that of `baseline`.

    `seconds` is what its training took. `lower_is_better` tells which of the two is ahead.
    """

    model: str
    data: str
    measure: str
    value: float
    baseline: str
    baseline_value: float
    seconds: float
    lower_is_better: bool = True

    def text(self) -> str:
        """The line as the table has it."""
        ahead = (self.value < self.baseline_value) == self.lower_is_better
        figures = f"{self.value:10.4g} {self.baseline_value:10.4g}  {'ahead ' if ahead else 'behind'}"
        return f"{self.model:<28} {self.data:<20} {self.measure:<24} {figures} {self.seconds:7.0f} s  {self.baseline}"
