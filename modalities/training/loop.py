"""The training loop: any task that gives a loss for a step number, on any device, resumable to the same loss curve.

What a step sees follows from the seed and the step number alone, so a run that was stopped and resumed draws the same
batches and the same noise as one that was not. With a budget in steps the curves are equal number by number; with a
budget in minutes the learning rate follows the clock and they agree only as far as the machine's speed does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import cos, pi
from pathlib import Path
from typing import Protocol, TextIO

import torch
from torch import Tensor, nn

from modalities.training.checkpoint import load_state, save_state

PRECISIONS: dict[str, torch.dtype | None] = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Task(Protocol):
    """What is trained."""

    @property
    def module(self) -> nn.Module:
        """What is trained; its parameters are those of the optimizer."""
        ...

    def loss(self, step: int) -> Tensor:
        """The loss of the batch that belongs to a step; everything random in it is drawn from (seed, step)."""
        ...

    def sheet(self, path: Path) -> None:
        """Draw what the module makes now into a picture file."""
        ...

    def export(self, folder: Path, state: LoopState) -> None:
        """Write the module as it is now in the format that the rest of the project loads."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopOptions:
    """How a task is trained. Exactly one of `minutes` and `steps` is the budget.

    batch: samples per step (for the log; the task draws them). warmup: steps of linear warm-up. decay: cosine, linear
    or constant, over the budget, down to `final` times the learning rate. ema: decay of the averaged weights,
    approached as (step + 1) / (step + 10). clip: largest gradient norm. precision: of autocast. save_minutes,
    sheet_minutes: wall time between checkpoints and between sample sheets; 0 turns sheets off. log_steps: steps per
    line of the log.
    """

    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    warmup: int = 200
    decay: str = "cosine"
    final: float = 0.02
    minutes: float | None = None
    steps: int | None = None
    ema: float = 0.999
    clip: float = 1.0
    precision: str = "bfloat16"
    save_minutes: float = 3.0
    sheet_minutes: float = 0.0
    log_steps: int = 50

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError("give exactly one of minutes and steps as the budget of a training")
        if self.decay not in ("cosine", "linear", "constant"):
            raise ValueError(f"unknown decay `{self.decay}`; known: constant, cosine, linear")
        if self.precision not in PRECISIONS:
            raise ValueError(f"unknown precision `{self.precision}`; known: {', '.join(PRECISIONS)}")
        for name in ("batch", "learning_rate", "log_steps", "save_minutes", "clip"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected more than 0")


@dataclass(slots=True)
class LoopState:
    """Where a training stands: steps done, samples seen, seconds of training so far, the last logged loss."""

    step: int = 0
    samples: int = 0
    seconds: float = 0.0
    loss: float = float("nan")


def learning_rate(options: LoopOptions, step: int, seconds: float) -> float:
    """The learning rate of a step: warm-up, then decay with the part of the budget that is used up."""
    warm = min(1.0, (step + 1) / max(1, options.warmup))
    progress = used(options, step, seconds)
    shape = {"cosine": 0.5 * (1 + cos(pi * progress)), "linear": 1 - progress, "constant": 1.0}[options.decay]
    return options.learning_rate * warm * (options.final + (1 - options.final) * shape)


def used(options: LoopOptions, step: int, seconds: float) -> float:
    """The part of the budget that is used up, 0..1."""
    part = step / options.steps if options.steps is not None else seconds / (60 * (options.minutes or 1.0))
    return min(1.0, part)


class Average:
    """An exponential moving average of parameters (buffers are not averaged)."""

    def __init__(self, module: nn.Module) -> None:
        self.values = {name: value.detach().clone() for name, value in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int, decay: float) -> None:
        """Move towards the module's parameters; the decay grows to its value as (step + 1) / (step + 10)."""
        weight = 1 - min(decay, (step + 1) / (step + 10))
        torch._foreach_lerp_(list(self.values.values()), [p.detach() for p in module.parameters()], weight)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """The module with the averaged parameters inside, its own again after."""
        own = {name: value.detach().clone() for name, value in module.named_parameters()}
        self._write(module, self.values)
        try:
            yield
        finally:
            self._write(module, own)

    @staticmethod
    @torch.no_grad()
    def _write(module: nn.Module, values: dict[str, Tensor]) -> None:
        for name, parameter in module.named_parameters():
            parameter.copy_(values[name])


class Trainer:
    """A task, its optimizer, its averaged weights and its folder."""

    def __init__(self, task: Task, options: LoopOptions, folder: Path) -> None:
        self.task = task
        self.options = options
        self.folder = folder
        self.state = LoopState()
        self.average = Average(task.module)
        parameters = [p for p in task.module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            parameters, lr=options.learning_rate, weight_decay=options.weight_decay, betas=options.betas, fused=True
        )
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def checkpoint(self) -> Path:
        """The file that `save` writes and `resume` reads."""
        return self.folder / "checkpoint.safetensors"

    def resume(self) -> bool:
        """Take up the checkpoint in the folder; False when there is none."""
        if not self.checkpoint.exists():
            return False
        found = load_state(self.checkpoint, self.task.module, self.average.values, self.optimizer)
        self.state = LoopState(**found)
        return True

    def save(self) -> None:
        """Write the checkpoint: weights, averaged weights, optimizer and the loop's state in one file."""
        save_state(self.checkpoint, self.task.module, self.average.values, self.optimizer, asdict(self.state))

    def step(self) -> Tensor:
        """One step of training; returns its loss, detached."""
        options, state = self.options, self.state
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(options, state.step, state.seconds)
        device = next(self.task.module.parameters()).device
        dtype = PRECISIONS[options.precision]
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            loss = self.task.loss(state.step)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.task.module.parameters(), options.clip, error_if_nonfinite=True)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.average.update(self.task.module, state.step, options.ema)
        state.step += 1
        state.samples += options.batch
        return loss.detach()

    def run(self, export_folder: Path | None = None) -> LoopState:
        """Train until the budget is used up; checkpoints, sheets and exports come on the way and at the end."""
        log = (self.folder / "log.jsonl").open("a", encoding="utf-8")
        before, start = self.state.seconds, time.monotonic()
        saved = drawn = marked = start
        losses: list[Tensor] = []
        with log:
            while used(self.options, self.state.step, self.state.seconds) < 1:
                losses.append(self.step())
                now = time.monotonic()
                self.state.seconds = before + now - start
                if self.state.step % self.options.log_steps == 0:
                    self._log(log, losses, now - marked)
                    losses, marked = [], now
                if now - saved > 60 * self.options.save_minutes:
                    self.save()
                    saved = now
                if self.options.sheet_minutes and now - drawn > 60 * self.options.sheet_minutes:
                    self._show(export_folder)
                    drawn = now
        self.save()
        self._show(export_folder)
        return self.state

    def _log(self, log: TextIO, losses: list[Tensor], seconds: float) -> None:
        state = self.state
        state.loss = float(torch.stack(losses).float().mean())
        rate = len(losses) * self.options.batch / max(seconds, 1e-9)
        row = {"step": state.step, "samples": state.samples, "loss": round(state.loss, 6)}
        row |= {"learning_rate": learning_rate(self.options, state.step, state.seconds)}
        row |= {"seconds": round(state.seconds, 1), "samples_per_second": round(rate, 1)}
        print(json.dumps(row), file=log, flush=True)

    def _show(self, export_folder: Path | None) -> None:
        with self.average.applied(self.task.module):
            self.task.sheet(self.folder / f"sheet-{self.state.step:07d}.png")
            if export_folder is not None:
                self.task.export(export_folder, self.state)
