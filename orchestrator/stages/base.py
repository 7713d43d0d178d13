"""Stage: one kind of work on a batch of items. Stages know models and files, never workers or the other stages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from orchestrator.errors import StageError
from orchestrator.item import Item
from orchestrator.stages.models import ModelStore

Outcome = Item | StageError
"""What a stage makes of an item: the item with what it writes, or the error of that item alone."""


class Stage(ABC):
    """One kind of work on a batch of items.

    reads, optional_reads and writes name the kinds of values in `Item.values`. Beside them every item holds `recipe`,
    what the plan says of how its sample is made. Tensors that a stage writes are on the CPU, ready to travel.

    notes: what a person should know about the items seen so far; the worker takes them away after every batch.
    """

    reads: ClassVar[frozenset[str]]
    optional_reads: ClassVar[frozenset[str]] = frozenset()
    writes: ClassVar[frozenset[str]]

    def __init__(self, options: Mapping[str, Any], models: ModelStore) -> None:
        """Keep plain values only. options: resolved, matrix parameters substituted."""
        self.options = options
        self.models = models
        self.notes: list[str] = []

    @abstractmethod
    def setup(self) -> None:
        """Load what the stage needs; once per worker. Raises ModelError."""

    @abstractmethod
    def process(self, items: Sequence[Item]) -> list[Outcome]:
        """The same items in the same order, with the values that the stage writes.

        An item that is at fault by itself is answered by its StageError. Any other exception says that the batch
        failed: the worker halves it to find the item.
        """
