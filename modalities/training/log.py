"""What a training writes down as it goes: `log.jsonl`, and, where asked for, event files that TensorBoard reads."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from PIL import Image

EVENTS = "tensorboard"
"""The folder of the event files, inside that of the training."""


def check_tensorboard() -> None:
    """ValueError when the package that writes event files is missing."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ValueError(
            "tensorboard: the package tensorboard is not installed; pip install 'parhelion[tensorboard]', "
            "or leave it out: log.jsonl is written in any case"
        )


class TrainingLog:
    """The log of a training from a step on. is_written: False on ranks that write nothing. events: for TensorBoard.

    A context manager. Events of later steps, left by a training that was cut off after its checkpoint, are hidden.
    """

    def __init__(self, folder: Path, step: int, *, is_written: bool = True, events: bool = False) -> None:
        self._file = (folder / "log.jsonl").open("a", encoding="utf-8") if is_written else None
        self._events: Any = None
        if is_written and events:
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(str(folder / EVENTS), purge_step=step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One line, and one point of each curve."""
        if self._file is not None:
            print(json.dumps({"step": step, **values}), file=self._file, flush=True)
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(name, value, step)
            self._events.flush()

    def show(self, step: int, sheet: Path) -> None:
        """A sample sheet, as TensorBoard shows pictures."""
        if self._events is not None and sheet.exists():
            with Image.open(sheet) as picture:
                self._events.add_image("sheet", np.asarray(picture.convert("RGB")), step, dataformats="HWC")
            self._events.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sink in (self._file, self._events):
            if sink is not None:
                sink.close()
