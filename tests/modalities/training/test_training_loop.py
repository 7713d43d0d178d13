"""The loop: equal curves after resuming, averages and learning rates as stated, damaged checkpoints named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from modalities.contracts import CheckpointError
from modalities.training.average import Average
from modalities.training.loop import LoopOptions, LoopState, Trainer, learning_rate, used
from modalities.training.order import batch_indices, step_generator


class LineTask:
    """Fits a line through noisy points; small, but real."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.module = nn.Linear(3, 1)
        self.exported: list[tuple[int, float]] = []

    def loss(self, step: int) -> Tensor:
        x = torch.randn(8, 3, generator=step_generator(1, step))
        wanted = x @ torch.tensor([1.0, -2.0, 0.5]) + 0.3
        return (self.module(x)[:, 0] - wanted).square().mean()

    def sheet(self, path: Path) -> None:
        path.write_text(str(self.module.weight.tolist()))

    def export(self, folder: Path, state: LoopState) -> None:
        self.exported.append((state.step, float(self.module.weight.detach()[0, 0])))


def options(**changes: object) -> LoopOptions:
    values: dict[str, object] = {"batch": 8, "learning_rate": 0.05, "warmup": 3, "steps": 12, "log_steps": 2}
    return LoopOptions(**{**values, "precision": "float32", **changes})  # type: ignore[arg-type]


def curve(folder: Path) -> list[tuple[int, float]]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"]) for row in rows]


def test_a_resumed_training_has_the_same_curve_and_weights(tmp_path: Path) -> None:
    whole = Trainer(LineTask(), options(), tmp_path / "whole")
    whole.run()
    first = Trainer(LineTask(), options(), tmp_path / "parts")
    for _ in range(6):
        first.step()
    first.save()
    second = Trainer(LineTask(), options(), tmp_path / "parts")
    assert second.resume()
    assert second.state.step == 6
    assert second.state.samples == 48
    second.run()
    assert curve(tmp_path / "parts") == curve(tmp_path / "whole")[3:]
    for name, value in whole.task.module.state_dict().items():
        assert torch.equal(value, second.task.module.state_dict()[name])
        assert torch.equal(whole.average.values[name], second.average.values[name])


def test_training_brings_the_loss_down_and_ends_with_averaged_weights_exported(tmp_path: Path) -> None:
    task = LineTask()
    trainer = Trainer(task, options(steps=200, log_steps=20, ema=0.9), tmp_path)
    state = trainer.run(tmp_path / "out")
    losses = [loss for _, loss in curve(tmp_path)]
    assert losses[-1] < 0.05 < losses[0]
    (step, weight) = task.exported[0]
    assert step == state.step == 200
    assert weight == pytest.approx(float(trainer.average.values["weight"][0, 0]))
    assert weight != float(task.module.weight.detach()[0, 0]), "the module has its own weights again"
    assert (tmp_path / "sheet-0000200.png").exists()


def test_the_average_follows_its_formula() -> None:
    module = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(1.0)
    average = Average(module)
    with torch.no_grad():
        module.weight.fill_(3.0)
    average.update(module, 0, 0.9)
    expected = 1.0 + (1 - 1 / 10) * 2.0
    assert float(average.values["weight"]) == pytest.approx(expected)
    average.update(module, 10_000, 0.9)
    assert float(average.values["weight"]) == pytest.approx(expected + 0.1 * (3.0 - expected))


def test_the_learning_rate_warms_up_and_decays_with_the_budget() -> None:
    plan = options(steps=100, warmup=10, learning_rate=1.0, final=0.1)
    assert learning_rate(plan, 0, 0.0) == pytest.approx(0.1, rel=1e-3)
    assert learning_rate(plan, 50, 0.0) == pytest.approx(0.55)
    assert learning_rate(plan, 100, 0.0) == pytest.approx(0.1)
    straight = options(steps=None, minutes=2.0, warmup=1, learning_rate=1.0, final=0.0, decay="linear")
    assert learning_rate(straight, 5, 30.0) == pytest.approx(0.75)
    assert used(straight, 5, 600.0) == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"minutes": 1.0}, "exactly one"),
        ({"steps": None}, "exactly one"),
        ({"decay": "stairs"}, "known: constant, cosine, linear"),
        ({"precision": "float8"}, "known: float32"),
        ({"batch": 0}, "batch is 0"),
    ],
)
def test_impossible_options_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        options(**changes)


def test_a_loss_that_is_no_number_stops_the_training(tmp_path: Path) -> None:
    task = LineTask()
    with torch.no_grad():
        task.module.weight.fill_(float("nan"))
    with pytest.raises(RuntimeError, match="non-finite"):
        Trainer(task, options(), tmp_path).step()


def test_a_foreign_checkpoint_is_named(tmp_path: Path) -> None:
    trainer = Trainer(LineTask(), options(), tmp_path)
    trainer.save()
    other = LineTask()
    other.module = nn.Linear(4, 1)
    with pytest.raises(CheckpointError, match="of another shape"):
        Trainer(other, options(), tmp_path).resume()
    (tmp_path / "checkpoint.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(CheckpointError, match="checkpoint"):
        Trainer(LineTask(), options(), tmp_path).resume()
    assert not Trainer(LineTask(), options(), tmp_path / "empty").resume()


def test_every_sample_comes_once_per_epoch() -> None:
    seen = torch.cat([batch_indices(4, step, 6, 20) for step in range(10)])
    for epoch in range(3):
        assert sorted(seen[epoch * 20 : (epoch + 1) * 20].tolist()) == list(range(20))
    assert seen[:20].tolist() != seen[20:40].tolist()
    assert torch.equal(batch_indices(4, 7, 6, 20), seen[42:48])


def test_steps_have_noise_of_their_own() -> None:
    draws = [torch.randn(4, generator=step_generator(seed, step)) for seed in (0, 1) for step in (0, 1)]
    assert len({tuple(draw.tolist()) for draw in draws}) == 4
