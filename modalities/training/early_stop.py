"""When a training stops before its budget is used up: a measure of the averaged weights that no longer grows."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

METRICS = ("prompt-following",)
"""What can be measured while training; larger is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopOptions:
    """How the averaged weights are measured on the way; the best of them are what is exported.

    metric: one of METRICS. prompts: how many are asked for. every_minutes, every_steps: between measurements, exactly
    one of them. patience: measurements without a new best after which the training stops.
    """

    metric: str
    prompts: int = 64
    every_minutes: float | None = None
    every_steps: int | None = None
    patience: int = 5

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            near = difflib.get_close_matches(self.metric, METRICS, 1)
            hint = f"did you mean `{near[0]}`? " if near else ""
            raise ValueError(f"unknown metric `{self.metric}`; {hint}known: {', '.join(METRICS)}")
        if (self.every_minutes is None) == (self.every_steps is None):
            raise ValueError("stop: give exactly one of every_minutes and every_steps")
        for name in ("prompts", "patience", "every_minutes", "every_steps"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"stop: {name} is {value}; expected more than 0")

    def is_due(self, steps: int, seconds: float) -> bool:
        """Whether so many steps and seconds after the last measurement the next one is due."""
        if self.every_steps is not None:
            return steps >= self.every_steps
        return seconds >= 60 * (self.every_minutes or 0.0)
