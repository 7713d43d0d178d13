"""Sizes of what is made: given in full, or by one word (seconds, frames, views, points) for the first axis.

A word is rounded to the nearest size that the model can make. Where its value is a matrix parameter, a plan holds the
rule in place of the size, and `resolved_size` applies it in each cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modalities.catalog import MODALITIES
from modalities.weights.description import nearest_length

SIZE_WORDS = ("duration", "frames", "views", "points")
"""What may stand in place of `size`: seconds, where the first axis is time, or the first axis by its own name."""


def words_of(axes: Sequence[str], rate: float) -> list[str]:
    """The words that a modality has. axes: its names; rate: units of the first axis a second, 0 without time."""
    return [word for word in SIZE_WORDS if (word == "duration" and rate) or word == axes[0]]


def word_given(step: Mapping[str, Any]) -> str:
    """The word that a step says, or nothing."""
    return next((word for word in SIZE_WORDS if step.get(word) is not None), "")


def rounded(amount: float, per_unit: float, multiple: int, offset: int = 0) -> int:
    """An amount (seconds, frames, ...) as the nearest length of the first axis that is a multiple plus `offset`."""
    return nearest_length(amount * per_unit, multiple, offset)


def planned_size(step: Mapping[str, Any], native_size: Sequence[int], unit: int, rate: float, offset: int = 0) -> Any:
    """The `size` option of a step: the numbers, or the rule that gives them in each cell of the matrix.

    native_size: of the model, for axes that the step does not name. unit: media units of a token on the first axis.
    offset: what a size has beyond a multiple of it.
    """
    word = word_given(step)
    if not word:
        return list(native_size) if step.get("size") is None else step["size"]
    rule = {
        "word": word,
        "amount": step[word],
        "per_unit": rate if word == "duration" else 1.0,
        "multiple": unit,
        "offset": offset,
        "others": list(native_size[1:]),
    }
    return rule if isinstance(step[word], str) else resolved_size(rule)


def shown_size(size: Sequence[int], modality: str) -> str:
    """A size as people say it: `128 × 128`, `12 frames of 64 × 64`, `2.02 s`, `256 points`."""
    facts = MODALITIES[modality].facts
    first, rate = str(facts["axes"]).split()[0], float(facts.get("rate", 0))
    if len(size) == 3:
        return f"{size[0]} {first} of {size[1]} × {size[2]}"
    if len(size) == 1:
        return f"{size[0] / rate:.2f}".rstrip("0").rstrip(".") + " s" if rate else f"{size[0]} {first}"
    return " × ".join(str(length) for length in size)


def resolved_size(size: Any) -> list[int]:
    """A `size` option, matrix parameters substituted, as one number for each axis."""
    if isinstance(size, Mapping):
        first = rounded(float(size["amount"]), float(size["per_unit"]), int(size["multiple"]), int(size["offset"]))
        return [first, *(int(length) for length in size["others"])]
    return [int(length) for length in size]
