"""A MAR as a generator: the contract, what it refuses, training, and class names."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from modalities import catalog
from modalities.catalog import Entry
from modalities.contracts import (
    CheckpointError,
    Conditioning,
    Extrapolation,
    GenerateOptions,
    Generator,
    Guidance,
    TextEncoder,
)
from modalities.generators.mar import cost
from modalities.generators.mar.config import MARConfig
from modalities.generators.mar.generate import MARGenerator
from modalities.generators.mar.model import MAR
from modalities.text.class_names import load as load_classes
from modalities.training.command import train_from_yaml
from modalities.training.settings import read_training
from modalities.weights.description import describe
from modalities.weights.loading import load_generator, load_text_encoder

TINY: dict[str, Any] = {"patch": [2, 2], "dim": 16, "layers": 1, "heads": 2, "decoder_dim": 16, "decoder_layers": 1}
TINY |= {"decoder_heads": 2, "buffer": 3, "head_dim": 16, "head_layers": 1, "head_tokens": 4}
TEXT = MARConfig.from_mapping({**TINY, "in_channels": 2, "trained_tokens": [2, 3], "classes": 0, "cap_feat_dim": 5})
OPTIONS = GenerateOptions(
    sampler="masked-autoregressive", steps=3, sampler_options={"head_steps": 3}, guidance=Guidance(scale=2.0)
)


def generator(config: MARConfig = TEXT) -> MARGenerator:
    torch.manual_seed(0)
    model = MAR(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return MARGenerator(model, (4, 4))


def prompts(count: int, length: int = 4) -> Conditioning:
    tokens = torch.randn(count, length, 5, generator=torch.Generator().manual_seed(9))
    return Conditioning(tokens=tokens, mask=torch.ones(count, length, dtype=torch.bool))


def test_a_sample_follows_from_its_prompt_and_seed() -> None:
    made = generator()
    assert isinstance(made, Generator)
    two, empty = prompts(2), prompts(1, 2)
    both = made.generate(two, empty, (16, 24), [5, 6], OPTIONS)
    assert both.shape == (2, 2, 4, 6)
    assert both.dtype == torch.float32
    alone = made.generate(two.split()[1], empty, (16, 24), [6], OPTIONS)
    torch.testing.assert_close(both[1:], alone, atol=1e-3, rtol=1e-3)
    assert torch.equal(made.generate(two, empty, (16, 24), [5, 6], OPTIONS), both)
    for changed in (
        replace(OPTIONS, steps=2),
        replace(OPTIONS, guidance=Guidance(scale=1.0)),
        replace(OPTIONS, sampler_options={"head_steps": 3, "guidance_schedule": "constant"}),
        replace(OPTIONS, sampler_options={"head_steps": 3, "temperature": 0.5}),
    ):
        assert not torch.allclose(made.generate(two, empty, (16, 24), [5, 6], changed), both)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 7}, "7 iterations for 6 tokens; .* expected 1 to 6"),
        ({"sampler": "midpoint"}, "`midpoint` follows a velocity.* use `masked-autoregressive`"),
        ({"sampler_options": {"heads": 3}}, "does not take heads; it takes guidance_schedule, head_steps, temperature"),
        ({"sampler_options": {"head_steps": 1}}, "1 steps; expected 2 to 1000"),
        ({"sampler_options": {"temperature": -1}}, "temperature is -1"),
        ({"guidance": Guidance(scale=2.0, interval=(0.0, 0.5))}, "no interval or channels"),
        ({"extrapolation": Extrapolation(method="ntk-aware")}, "`ntk-aware` rescales rotary positions"),
    ],
)
def test_what_a_mar_cannot_follow_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generator().generate(prompts(1), prompts(1), (16, 24), [0], replace(OPTIONS, **change))


def test_sizes_widths_and_starts_that_do_not_fit_are_refused() -> None:
    made = generator()
    with pytest.raises(ValueError, match=r"size \(24, 16\); .* alone: \(16, 24\)"):
        made.generate(prompts(1), None, (24, 16), [0], OPTIONS)
    knows_classes = generator(replace(TEXT, classes=4, cap_feat_dim=1))
    with pytest.raises(ValueError, match="5 wide; this model reads 1"):
        knows_classes.generate(prompts(1), None, (16, 24), [0], OPTIONS)
    strength = replace(OPTIONS, strength=0.5)
    with pytest.raises(ValueError, match="no time to start from"):
        made.generate(prompts(1), None, (16, 24), [0], strength, torch.zeros(1, 2, 4, 6))
    with pytest.raises(ValueError, match="makes the size that it was trained at alone"):
        cost.tokens(TEXT.to_mapping(), (4, 4))


def test_a_class_beyond_the_last_is_refused() -> None:
    made = generator(replace(TEXT, classes=4, cap_feat_dim=1))
    told = Conditioning(tokens=torch.tensor([[[4.0]]]), mask=torch.ones(1, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match="class 4; this model knows 4 classes, 0 to 3"):
        made.generate(told, None, (16, 24), [0], OPTIONS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 3}, "heads is 3, which does not divide the width 16"),
        ({"buffer": 0}, "buffer is 0"),
        ({"masked": 1.0}, "masked 1.0 should lie between"),
        ({"classes": 3, "cap_feat_dim": 5}, "cap_feat_dim is 5; a model of classes"),
        ({"patch": (2,)}, "two axes each"),
        ({"layer": 3}, "MAR: unknown layer; .*did you mean layers"),
    ],
)
def test_a_configuration_that_cannot_be_built_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MARConfig.from_mapping(TEXT.to_mapping() | change)


def test_dropout_follows_from_the_source_and_leaves_the_global_generator_alone() -> None:
    made = generator(replace(TEXT, dropout=0.3))
    made.model.train()
    latents = torch.randn(2, 2, 4, 6, generator=torch.Generator().manual_seed(1))
    before = torch.random.get_rng_state()

    def drawn() -> float:
        return float(made.loss(latents, prompts(2), generator=torch.Generator().manual_seed(7)).detach())

    first = drawn()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(3)
    assert drawn() == first
    made.model.eval()
    assert drawn() != first


def classes_file(folder: Path, names: list[list[str]]) -> Path:
    path = folder / "classes.json"
    path.write_text(json.dumps({"format": "parhelion-classes/1", "names": names}))
    return path


def test_class_names_are_a_text_encoder(tmp_path: Path) -> None:
    path = classes_file(tmp_path, [["tench", "Tinca tinca"], ["goldfish"]])
    encoder = load_classes({"kind": "class-names", "file": str(path)}, "cpu", torch.bfloat16)
    assert isinstance(encoder, TextEncoder)
    found = encoder.encode(["Goldfish", "tinca  TINCA", "1", ""])
    assert found.tokens.flatten().tolist() == [1, 0, 1, -1]
    assert found.tokens.dtype == torch.float32
    assert encoder.unknown_words("goldfisch") == ["goldfisch"]
    assert encoder.unknown_words("goldfish") == []
    with pytest.raises(ValueError, match=r"`goldfisch` is none of the 2 classes; nearest: goldfish \(1\)"):
        encoder.encode(["goldfisch"])
    with pytest.raises(ValueError, match=r"knows classes, not sentences; nearest: goldfish \(1\)"):
        encoder.encode(["a photo of a goldfish in a bowl"])
    other = classes_file(tmp_path, [["tench"], ["goldfish"]])
    assert load_classes({"file": str(other)}, "cpu", torch.float32).fingerprint != encoder.fingerprint
    other.write_text("[]")
    with pytest.raises(CheckpointError, match=r"classes\.json"):
        load_classes({"file": str(other)}, "cpu", torch.float32)
    with pytest.raises(ValueError, match=r"takes `file`, its classes\.json"):
        load_classes({"kind": "class-names"}, "cpu", torch.float32)


def recipe(folder: Path, **changes: object) -> Path:
    values: dict[str, Any] = {"train": "generator", "family": "mar", "name": "tiny", "modality": "image"}
    image = describe("builtin/image")
    codec = folder / "codec"
    codec.mkdir(exist_ok=True)
    shutil.copyfile(image.codec["file"], codec / "codec.safetensors")
    (codec / "codec.json").write_text(json.dumps({key: image.codec[key] for key in ("kind", "config")}))
    values |= {"corpus": "tiny-picture", "codec": str(codec)}
    values |= {"folder": str(folder / "run"), "export": str(folder / "model"), "data": {"workers": 0}}
    values |= {"model": {**TINY, "dropout": 0.1}, "probe": ["circle", "star"], "seed": 3}
    values |= {"defaults": {"sampler": {"name": "masked-autoregressive", "head_steps": 5}, "steps": 2}}
    values |= {"loop": {"batch": 4, "warmup": 1, "steps": 2, "log_steps": 1, "decay": "constant"}, **changes}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture
def tiny_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        catalog.CORPORA, "tiny-picture", Entry("tests.modalities.training.tiny_corpora:picture", "for tests")
    )


@pytest.mark.usefixtures("tiny_pictures")
def test_a_mar_trains_resumes_exports_and_generates(tmp_path: Path) -> None:
    train_from_yaml(recipe(tmp_path), {"device": "cpu"})
    train_from_yaml(recipe(tmp_path), {"device": "cpu", "steps": 3})
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    whole = tmp_path / "whole"
    whole.mkdir()
    train_from_yaml(recipe(whole, pool=str(tmp_path / "run" / "pool")), {"device": "cpu", "steps": 3})
    assert not (whole / "run" / "pool").exists(), "the pool of the first is used"
    last = [json.loads(text)["loss"] for text in (whole / "run" / "log.jsonl").read_text().splitlines()]
    assert [json.loads(text)["loss"] for text in lines] == last
    described = describe(tmp_path / "model")
    assert (described.family, described.native_size) == ("mar", (16, 16))
    encoder = load_text_encoder(described, "cpu", torch.float32)
    made = load_generator(described, "cpu", torch.float32)
    latents = made.generate(encoder.encode(["a star"]), encoder.encode([""]), (16, 16), [5], replace(OPTIONS, steps=4))
    assert latents.shape == (1, 4, 4, 4)
    assert latents.isfinite().all()


@pytest.mark.usefixtures("tiny_pictures")
def test_an_objective_of_a_velocity_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="objective `lcss` is for a velocity or score, and generator `mar` has a loss"):
        read_training(recipe(tmp_path, objective="lcss"))
