"""The training loop: any task that gives a loss for a step number, on any device, resumable to the same loss curve,
alone or as one of several ranks.

What a step sees follows from the seed and the step number alone, so a run that was stopped and resumed draws the same
batches and the same noise as one that was not. With a budget in steps the curves are equal number by number; with a
budget in minutes the learning rate follows the clock and they agree only as far as the machine's speed does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import cos, pi
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from modalities.training.average import Average, replaced
from modalities.training.checkpoint import fill, load_state, save_state, write_whole
from modalities.training.early_stop import StopOptions
from modalities.training.log import TrainingLog, check_tensorboard
from modalities.training.ranks import Ranks, apart, check_cut, gathered
from modalities.weights.checkpoint import read_tensors

PRECISIONS: dict[str, torch.dtype | None] = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
LEAST_SCALE = 2.0**-16
"""float16: a loss that must be scaled by less than this to have finite gradients has none."""


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


@runtime_checkable
class Divisible(Task, Protocol):
    """A task whose batch may be cut: the loss of a batch is the mean of the losses of its equal parts."""

    def part_loss(self, step: int, rows: slice) -> Tensor:
        """The loss of some rows of a step's batch; what they are and draw is as if the batch were whole."""
        ...


@runtime_checkable
class Measurable(Task, Protocol):
    """A task whose module can be measured."""

    def measure(self) -> float:
        """How good the module is now; larger is better."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopOptions:
    """How a task is trained. Exactly one of `minutes` and `steps` is the budget.

    batch: samples per step (for the log; the task draws them). warmup: steps of linear warm-up. decay: cosine, linear
    or constant, over the budget, down to `final` times the learning rate. ema: decay of the averaged weights,
    approached as (step + 1) / (step + 10). clip: largest gradient norm. precision: of autocast; with float16 the loss
    is scaled. save_minutes, sheet_minutes: wall time between checkpoints and between sample sheets; 0 turns sheets off.
    log_steps: steps per line of the log. accumulate: micro-batches that each worker computes its share of a batch in.
    stop: when to stop early. tensorboard: whether to write event files too.
    """

    batch: int = 64
    accumulate: int = 1
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
    stop: StopOptions | None = None
    tensorboard: bool = False

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError("give exactly one of minutes and steps as the budget of a training")
        if self.decay not in ("cosine", "linear", "constant"):
            raise ValueError(f"unknown decay `{self.decay}`; known: constant, cosine, linear")
        if self.precision not in PRECISIONS:
            raise ValueError(f"unknown precision `{self.precision}`; known: {', '.join(PRECISIONS)}")
        for name in ("batch", "accumulate", "learning_rate", "log_steps", "save_minutes", "clip"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected more than 0")
        check_cut(self.batch, 1, self.accumulate)
        if self.tensorboard:
            check_tensorboard()


@dataclass(slots=True)
class LoopState:
    """Where a training stands: steps done, samples seen, seconds of training so far, the last logged loss.

    best: the largest measure so far, taken at best_step; below 0 before the first. misses: measurements since then.
    measured_step, measured_seconds: when the last one was.
    """

    step: int = 0
    samples: int = 0
    seconds: float = 0.0
    loss: float = float("nan")
    best: float = -1.0
    best_step: int = 0
    misses: int = 0
    measured_step: int = 0
    measured_seconds: float = 0.0


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


class LossOf(nn.Module):
    """A task's loss as a module, so that whatever a task does with its network is inside what ranks share."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.module, self.task = task.module, task

    def forward(self, step: int, rows: slice, batch: int) -> Tensor:
        """The loss of some rows of a step's batch."""
        if rows == slice(0, batch):
            return self.task.loss(step)
        assert isinstance(self.task, Divisible)
        return self.task.part_loss(step, rows)


class Trainer:
    """A task, its optimizer, its averaged weights and its folder, on one rank.

    ValueError when the task cannot be cut into as many parts as asked for, or cannot be measured.
    """

    def __init__(self, task: Task, options: LoopOptions, folder: Path, ranks: Ranks | None = None) -> None:
        self.task, self.options, self.folder, self.ranks = task, options, folder, ranks or Ranks()
        self.state = LoopState()
        self.parts = self.ranks.rows(options.batch, options.accumulate)
        if (len(self.parts) > 1 or self.ranks.count > 1) and not isinstance(task, Divisible):
            raise ValueError("the loss of this training is of its batch as a whole; one worker, and no accumulate")
        if options.stop is not None and not isinstance(task, Measurable):
            raise ValueError(f"stop: this training has nothing to measure {options.stop.metric} with")
        device = next(task.module.parameters()).device
        self.loss = self.ranks.spread(LossOf(task), device)
        self.average = Average(task.module)
        parameters = [p for p in task.module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            parameters, lr=options.learning_rate, weight_decay=options.weight_decay, betas=options.betas, fused=True
        )
        self.device, self.dtype = device, PRECISIONS[options.precision]
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype is torch.float16)
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def checkpoint(self) -> Path:
        """The file that `save` writes and `resume` reads."""
        return self.folder / "checkpoint.safetensors"

    @property
    def best(self) -> Path:
        """The file of the averaged weights that were measured to be the best."""
        return self.folder / "best.safetensors"

    def resume(self) -> bool:
        """Take up the checkpoint in the folder; False when there is none."""
        if not self.checkpoint.exists():
            return False
        found = load_state(self.checkpoint, self.task.module, self.average.values, self.optimizer)
        scaler = found.pop("scaler", {})
        if scaler and self.scaler.is_enabled():
            self.scaler.load_state_dict(scaler)
        self.state = LoopState(**found)
        return True

    def save(self) -> None:
        """Write the checkpoint: weights, averaged weights, optimizer and the loop's state in one file."""
        note = asdict(self.state) | {"scaler": self.scaler.state_dict()}
        values = self.average.values
        save_state(self.checkpoint, self.task.module, values, self.optimizer, note, is_written=self.ranks.is_first)

    def step(self) -> Tensor:
        """One step of training; returns the loss of this rank's rows, detached."""
        options, state, count = self.options, self.state, len(self.parts)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(options, state.step, state.seconds)
        losses = []
        for index, rows in enumerate(self.parts):
            with apart(self.loss, is_last=index == count - 1):
                with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
                    loss: Tensor = self.loss(state.step, rows, options.batch)
                self.scaler.scale(loss / count).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        self._descend()
        self.average.update(self.task.module, state.step, options.ema)
        state.step += 1
        state.samples += options.batch
        return torch.stack(losses).mean()

    def _descend(self) -> None:
        """Move the weights; a step whose gradients float16 could not hold is left out, and the scale lowered."""
        is_scaled = self.scaler.is_enabled()
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(
            self.task.module.parameters(), self.options.clip, error_if_nonfinite=not is_scaled
        )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if is_scaled and self.scaler.get_scale() < LEAST_SCALE:
            raise RuntimeError("the gradients are non-finite in float16 however the loss is scaled; use bfloat16")
        self.optimizer.zero_grad(set_to_none=True)

    def run(self, export_folder: Path | None = None) -> LoopState:
        """Train until the budget is used up or nothing better comes; what is written comes on the way and at the end.

        With `stop`, the weights that were measured to be the best are exported; otherwise the averaged ones.
        """
        options, state = self.options, self.state
        before, start = state.seconds, time.monotonic()
        saved = drawn = marked = before
        losses: list[Tensor] = []
        events = options.tensorboard
        with TrainingLog(self.folder, state.step, is_written=self.ranks.is_first, events=events) as log:
            while used(options, state.step, state.seconds) < 1 and not self._is_spent():
                losses.append(self.step())
                now = state.seconds = self.ranks.agreed(before + time.monotonic() - start)
                if state.step % options.log_steps == 0:
                    self._log(log, losses, now - marked)
                    losses, marked = [], now
                if self._is_due():
                    self._measure(log)
                if now - saved > 60 * options.save_minutes:
                    self.save()
                    saved = now
                if options.sheet_minutes and now - drawn > 60 * options.sheet_minutes:
                    self._show(export_folder, log)
                    drawn = now
            if options.stop is not None and state.measured_step < state.step:
                self._measure(log)
            self.save()
            self._show(export_folder, log)
        return state

    def _log(self, log: TrainingLog, losses: list[Tensor], seconds: float) -> None:
        state = self.state
        state.loss = float(self.ranks.mean(torch.stack(losses).float().mean()))
        rate = len(losses) * self.options.batch / max(seconds, 1e-9)
        row = {"samples": state.samples, "loss": round(state.loss, 6)}
        row |= {"learning_rate": learning_rate(self.options, state.step, state.seconds)}
        row |= {"seconds": round(state.seconds, 1), "samples_per_second": round(rate, 1)}
        log.write(state.step, row)

    def _is_spent(self) -> bool:
        return self.options.stop is not None and self.state.misses >= self.options.stop.patience

    def _is_due(self) -> bool:
        stop, state = self.options.stop, self.state
        steps, seconds = state.step - state.measured_step, state.seconds - state.measured_seconds
        return stop is not None and stop.is_due(steps, seconds)

    def _measure(self, log: TrainingLog) -> None:
        """Measure the averaged weights and keep them if none were better."""
        state, stop = self.state, self.options.stop
        assert stop is not None
        assert isinstance(self.task, Measurable)
        value = 0.0
        with self._with(self.average.values):
            if self.ranks.is_first:
                value = self.task.measure()
        value = self.ranks.agreed(value)
        state.measured_step, state.measured_seconds = state.step, state.seconds
        state.misses = 0 if value > state.best else state.misses + 1
        if value > state.best:
            state.best, state.best_step = value, state.step
            write_whole(self.best, self.average.values, is_written=self.ranks.is_first)
        log.write(state.step, {stop.metric: round(value, 4)})

    def _show(self, export_folder: Path | None, log: TrainingLog) -> None:
        """A sheet and an export, which the first rank makes while the others wait."""
        sheet = self.folder / f"sheet-{self.state.step:07d}.png"
        with self._with(self._shown_values()):
            if self.ranks.is_first:
                self.task.sheet(sheet)
                if export_folder is not None:
                    self.task.export(export_folder, self.state)
        log.show(self.state.step, sheet)

    def _shown_values(self) -> Mapping[str, Tensor]:
        if self.options.stop is None or self.state.best < 0:
            return self.average.values
        values = {name: torch.empty_like(value) for name, value in self.average.values.items()}
        fill(values, read_tensors(self.best))
        return values

    @contextmanager
    def _with(self, values: Mapping[str, Tensor]) -> Iterator[None]:
        """The module with other weights inside, whole on every rank."""
        with replaced(self.task.module, values), gathered(self.loss):
            yield
            self.ranks.agreed(0.0)
