"""Cutting a batch changes nothing but the order of summation; so do shards; float16 is scaled; all of it resumes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.distributed.tensor import DTensor

from modalities.codecs.quantized_latents import QuantizedLatents
from modalities.codecs.semantic_tokens import SemanticTokenizer
from modalities.contracts import Conditioning
from modalities.generators.digit.config import DiGITConfig
from modalities.generators.mar.config import MARConfig
from modalities.generators.nextdit.config import NextDiTConfig
from modalities.training.digit_family import DiGITFamily, DiGITLoss
from modalities.training.family import TrainedFamily
from modalities.training.flow_family import FlowFamily, objective_of
from modalities.training.loop import LoopOptions, LoopState, Trainer
from modalities.training.mar_family import MARFamily
from modalities.training.order import step_generator
from modalities.training.ranks import Ranks, check_cut, weights
from tests.modalities.training.test_training_digit_start import TINY, Three

BATCH, WIDTH = 4, 6
STAGE = {"dim": 16, "layers": 1, "heads": 2, "ffn": 32, "positions": 32}
DIT = {"in_channels": 2, "learn_sigma": False, "dim": 32, "layers": 1, "heads": 2, "kv_heads": 1, "multiple_of": 16}
MAR = {"patch": [2, 2], "dim": 16, "layers": 1, "heads": 2, "decoder_dim": 16, "decoder_layers": 1, "decoder_heads": 2}
MAR |= {"buffer": 3, "head_dim": 16, "head_layers": 1, "head_tokens": 2, "dropout": 0.0, "classes": 0}
DIGIT = {"clusters": 5, "grid": [2, 2], "codes": 7, "code_grid": [4, 4], "text_width": WIDTH, "text_tokens": 4}


def flow(objective: str) -> FlowFamily:
    function, directions = objective_of(objective, torch.device("cpu"), compiled=False)
    config = NextDiTConfig.from_mapping({**DIT, "patch": [2, 2], "trained_tokens": [2, 2], "cap_feat_dim": WIDTH})
    return FlowFamily(config, (4, 4), function, directions=directions)


def mar() -> MARFamily:
    known = {"in_channels": 2, "trained_tokens": [2, 2], "cap_feat_dim": WIDTH}
    return MARFamily(MARConfig.from_mapping({**MAR, **known}))


def digit() -> DiGITFamily:
    config = DiGITConfig.from_mapping({**DIGIT, "semantic": {**STAGE, "pre_norm": False}, "decoder": STAGE})
    torch.manual_seed(4)
    codec = QuantizedLatents(Three(), config.codes, SemanticTokenizer(TINY, config.clusters))
    codec.codebook.normal_()
    codec.tokenizer.centroids.normal_()
    return DiGITFamily(config, DiGITLoss(), codec)


FAMILIES = {"rectified-flow": lambda: flow("rectified-flow"), "lcss": lambda: flow("lcss"), "mar": mar, "digit": digit}


def gradients(family: TrainedFamily, latents: Tensor, parts: int) -> dict[str, Tensor]:
    source = torch.Generator().manual_seed(2)
    told = Conditioning(tokens=torch.randn(BATCH, 4, WIDTH, generator=source), mask=torch.ones(BATCH, 4).bool())
    family.module.zero_grad(set_to_none=True)
    size = BATCH // parts
    for i in range(parts):
        rows = slice(i * size, (i + 1) * size)
        (family.loss(latents, told, step_generator(3, 5), rows) / parts).backward()
    return {name: p.grad.clone() for name, p in family.module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", FAMILIES)
def test_micro_batches_give_the_gradient_of_the_batch(name: str) -> None:
    family, source = FAMILIES[name](), torch.Generator().manual_seed(1)
    with torch.no_grad():  # many of the first weights are zero, and so would be gradients
        for parameter in family.module.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=source)
    if name == "digit":
        codes = torch.randint(7, (BATCH, 1, 4, 4), generator=source)
        tokens = torch.randint(5, (BATCH, 1, 2, 2), generator=source)
        latents = torch.cat([codes, tokens.repeat_interleave(2, 2).repeat_interleave(2, 3)], dim=1).float()
    else:
        latents = torch.randn(BATCH, 2, 4, 4, generator=source)
    expected = gradients(family, latents, 1)
    largest = [float(value.abs().max()) for value in expected.values()]
    assert sum(value > 0.01 * max(largest) for value in largest) > 5
    for parts in (2, 4):
        found = gradients(family, latents, parts)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            # A sum of n float32 terms is off by at most n eps of their magnitudes; here n is some tens.
            torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-5 * max(largest))


class LineTask:
    """Fits a line through noisy points; its batch may be cut."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        self.shown: list[dict[str, Tensor]] = []
        self.states: list[LoopState] = []

    def loss(self, step: int) -> Tensor:
        return self.part_loss(step, slice(0, 8))

    def part_loss(self, step: int, rows: slice) -> Tensor:
        x = torch.randn(8, 3, generator=step_generator(1, step))[rows]
        return (self.module(x)[:, 0] - x @ torch.tensor([1.0, -2.0, 0.5]) - 0.3).square().mean()

    def sheet(self, path: Path) -> None:
        assert not any(isinstance(value, DTensor) for value in self.module.parameters())
        self.module(torch.ones(2, 3))

    def export(self, folder: Path, state: LoopState) -> None:
        self.shown.append({name: value.clone() for name, value in weights(self.module).items()})


class WholeTask(LineTask):
    """The same without a loss of parts."""

    part_loss = None  # type: ignore[assignment]


def options(**changes: object) -> LoopOptions:
    values: dict[str, object] = {"batch": 8, "learning_rate": 0.05, "warmup": 3, "steps": 12, "log_steps": 1}
    return LoopOptions(**{**values, "precision": "float32", **changes})  # type: ignore[arg-type]


def set_scale(trainer: Trainer, scale: float) -> None:
    trainer.scaler.load_state_dict({**trainer.scaler.state_dict(), "scale": scale})


def curve(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def test_accumulated_steps_have_the_same_curve(tmp_path: Path) -> None:
    Trainer(LineTask(), options(), tmp_path / "one").run()
    Trainer(LineTask(), options(accumulate=4), tmp_path / "four").run()
    assert curve(tmp_path / "four") == pytest.approx(curve(tmp_path / "one"), rel=1e-4)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_sharded_training_is_the_same_and_goes_on_unsharded(tmp_path: Path, group: None, precision: str) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    plain = LineTask()
    Trainer(plain, options(precision=precision), whole).run(tmp_path / "out")
    sharded = Trainer(LineTask(), options(precision=precision), parts, Ranks(is_sharded=True))
    assert all(isinstance(value, DTensor) for value in sharded.task.module.parameters())
    for _ in range(4):
        sharded.step()
    sharded.save()
    more = Trainer(LineTask(), options(precision=precision, accumulate=2), parts, Ranks(is_sharded=True))
    assert more.resume()
    for _ in range(4):
        more.step()
    more.save()
    last = LineTask()
    trainer = Trainer(last, options(precision=precision), parts)
    assert trainer.resume()
    trainer.run(tmp_path / "out")
    assert curve(parts) == pytest.approx(curve(whole)[8:], rel=1e-4 if precision == "float32" else 1e-2)
    for name, value in plain.shown[0].items():
        torch.testing.assert_close(last.shown[0][name], value, rtol=1e-3, atol=1e-3)


def test_a_sharded_training_shows_and_exports_whole_averages(tmp_path: Path, group: None) -> None:
    plain, task = LineTask(), LineTask()
    Trainer(plain, options(), tmp_path / "plain").run(tmp_path / "out")
    Trainer(task, options(), tmp_path / "sharded", Ranks(is_sharded=True)).run(tmp_path / "out")
    for name, value in plain.shown[0].items():
        torch.testing.assert_close(task.shown[0][name], value)


def test_float16_scales_its_loss_and_remembers_the_scale(tmp_path: Path) -> None:
    trainer = Trainer(LineTask(), options(precision="float16", steps=40), tmp_path)
    set_scale(trainer, 2.0**14)
    trainer.step()
    trainer.save()
    second = Trainer(LineTask(), options(precision="float16", steps=40), tmp_path)
    assert second.resume()
    assert second.scaler.get_scale() == 2.0**14
    second.run()
    losses = curve(tmp_path)
    assert losses[-1] < 0.5 * losses[0]


def test_a_step_that_float16_cannot_hold_is_left_out_until_there_is_no_scale(tmp_path: Path) -> None:
    task = LineTask()
    trainer = Trainer(task, options(precision="float16"), tmp_path)
    set_scale(trainer, 2.0**125)
    before = task.module[0].weight.detach().clone()
    trainer.step()
    assert torch.equal(task.module[0].weight, before)
    assert trainer.scaler.get_scale() == 2.0**124
    with torch.no_grad():
        task.module[0].weight.fill_(float("nan"))
    set_scale(trainer, 2.0**-16)
    with pytest.raises(RuntimeError, match="non-finite in float16"):
        trainer.step()


def test_what_cannot_be_cut_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"batch 32 cannot be cut into 3 workers x 2 .* near it can 30 and 36"):
        check_cut(32, 3, 2)
    with pytest.raises(ValueError, match="batch 8 cannot be cut"):
        options(accumulate=3)
    with pytest.raises(ValueError, match="of its batch as a whole"):
        Trainer(WholeTask(), options(accumulate=2), tmp_path)
    assert Ranks(rank=1, count=2).rows(8, 2) == [slice(4, 6), slice(6, 8)]
