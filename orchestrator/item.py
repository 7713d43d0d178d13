"""Item: the one value that travels between stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Who a sample is: a prompt, a step, a repetition and a cell of the matrix. Its seed derives from that alone.

    id: unique in the run and safe as a file name, for example `p00012-r0-guidance=4`.
    cell: the matrix parameters that this sample's step depends on, by name.
    """

    id: str
    step: str
    prompt_id: str
    prompt: str
    repetition: int
    cell: Mapping[str, Any]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A sample and what earlier steps made for it, by kind (`conditioning`, `latents`, `media`, `file`)."""

    sample: Sample
    values: Mapping[str, Any]

    def with_values(self, **values: Any) -> Item:
        """A copy that also holds `values`."""
        return replace(self, values={**self.values, **values})
