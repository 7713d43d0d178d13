"""Training for every shape of media: a tiny real corpus each, through the command and back through the loaders."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
import yaml
from PIL import Image

from modalities import catalog
from modalities.catalog import Entry
from modalities.contracts import CheckpointError, GenerateOptions, Guidance
from modalities.generators.nextdit.generate import NextDiTGenerator
from modalities.training.command import generator_task, train_from_yaml
from modalities.training.model_folder import take_over
from modalities.training.pool import PoolSource, latent_chunks
from modalities.training.settings import GeneratorTraining, read_training
from modalities.weights.checkpoint import read_tensors
from modalities.weights.description import describe
from modalities.weights.loading import load_codec, load_generator, load_text_encoder

DIT: dict[str, Any] = {"dim": 32, "layers": 1, "heads": 2, "kv_heads": 1, "multiple_of": 16}
LOOP: dict[str, Any] = {"batch": 4, "learning_rate": 1e-3, "warmup": 1, "steps": 2, "log_steps": 1}
SHAPES: dict[str, dict[str, Any]] = {
    "video": {
        "modality": "video",
        "corpus": "tiny-video",
        "codec": {"kind": "per-frame", "of": "builtin/image"},
        "model": {**DIT, "heads": 1, "patch": [2, 2, 2]},
    },
    "audio": {
        "modality": "audio",
        "corpus": "tiny-sound",
        "codec": {"kind": "mel-griffin-lim", "config": {"mels": 20, "steps": 2}},
        "model": {**DIT, "patch": [2]},
        "storage": "int8",
    },
    "points": {
        "modality": "point-cloud",
        "corpus": "tiny-cloud",
        "codec": {"kind": "points", "config": {}},
        "model": {**DIT, "patch": [1], "unordered": True, "coordinates": 3},
        "coupling": "optimal-transport",
        "train_points": 16,
    },
}
SIZES = {"video": (6, 16, 24), "audio": (4096,), "points": (40,)}
NATIVE = {"video": (4, 16, 16), "audio": (2048,), "points": (16,)}
SHEETS = {"video": (64, 32), "audio": (32, 20), "points": (1152, 96)}


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny corpora as `tiny-...` in the catalog."""
    for name in ("video", "sound", "cloud", "loud"):
        target = f"tests.modalities.training.tiny_corpora:{name}"
        monkeypatch.setitem(catalog.CORPORA, f"tiny-{name}", Entry(target, "for tests"))


def recipe(folder: Path, shape: str, **changes: object) -> Path:
    """A training file for a shape; the model goes to `folder / model`."""
    values = {"train": "generator", "name": shape, "folder": str(folder / "run"), "export": str(folder / "model")}
    values |= {"data": {"workers": 0}, "probe": ["circle", "🌟"], "loop": LOOP}
    values |= {"defaults": {"steps": 2}, **SHAPES[shape], **changes}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    return path


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_tensors(folder / "model" / "generator.safetensors")


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_trains_exports_loads_and_generates(tmp_path: Path, shape: str) -> None:
    train_from_yaml(recipe(tmp_path, shape), {"device": "cpu"})
    described = describe(tmp_path / "model")
    assert described.modality == SHAPES[shape]["modality"]
    assert described.native_size == NATIVE[shape]
    codec = load_codec(described, "cpu", torch.float32)
    model = load_generator(described, "cpu", torch.float32)
    encoder = load_text_encoder(described, "cpu", torch.float32)
    options = GenerateOptions(steps=2, schedule="uniform", guidance=Guidance(scale=2.0))
    size = SIZES[shape]
    latents = model.generate(encoder.encode(["a star"]), encoder.encode([""]), size, [5], options)
    media = codec.decode(latents)
    assert tuple(media.shape[2:]) == size
    assert media.isfinite().all()
    assert media.abs().max() <= 1
    known = json.loads((tmp_path / "model" / "concepts.json").read_text("utf-8"))
    assert [row["name"] for row in known["concepts"]] == ["circle", "square", "star"]
    with safetensors.safe_open(tmp_path / "model" / "generator.safetensors", framework="pt") as file:
        stored = str(file.get_tensor("layers.0.attention.wq.weight").dtype)
    assert stored == f"torch.{SHAPES[shape].get('storage', 'float16')}"
    with Image.open(tmp_path / "run" / "sheet-0000002.png") as sheet:
        assert sheet.size == SHEETS[shape]


@pytest.mark.parametrize("shape", ["points"])
def test_a_resumed_training_gives_the_same_weights(tmp_path: Path, shape: str) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    constant = {**LOOP, "decay": "constant"}
    train_from_yaml(recipe(whole, shape, loop={**constant, "steps": 3}), {"device": "cpu"})
    train_from_yaml(recipe(parts, shape, loop=constant), {"device": "cpu"})
    before = weights(parts)
    train_from_yaml(recipe(parts, shape, loop={**constant, "steps": 3}), {"device": "cpu"})
    after, expected = weights(parts), weights(whole)
    assert any(not torch.equal(before[name], after[name]) for name in after)
    for name, value in expected.items():
        assert torch.equal(value, after[name]), name


def test_sheets_are_sampled_as_the_file_says_the_model_will_be(tmp_path: Path) -> None:
    defaults = {"sampler": "euler", "steps": 2, "schedule": "uniform", "guidance": {"scale": 3.0}}
    training = read_training(recipe(tmp_path, "video", defaults=defaults))
    task = generator_task(training, torch.device("cpu"), compiled=False)
    found = task.sample()
    how = GenerateOptions(sampler="euler", steps=2, schedule="uniform", guidance=Guidance(scale=3.0))
    probe, network = task.probe, NextDiTGenerator(task.module, [1, 1, 1])
    wanted = network.generate(probe.conditioning, probe.negative, tuple(found.shape[2:]), [5, 6], how)
    assert torch.equal(found, wanted)
    assert task.module.training
    task.part_loss(0, slice(0, 1)).backward()


@pytest.mark.parametrize(
    ("defaults", "message"),
    [
        ({"sampler": "midpiont"}, "unknown sampler `midpiont`; did you mean `midpoint`?"),
        ({"sampler": "autoregressive"}, "unknown sampler `autoregressive`; known: "),
        ({"schedule": "unifrom"}, "a sample cannot be made so: unknown schedule `unifrom`"),
        ({"steps": 0}, "a sample cannot be made so: "),
    ],
)
def test_defaults_that_no_sample_can_be_made_by_are_refused_before_a_step(
    tmp_path: Path, defaults: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(f"defaults: {message}")):
        train_from_yaml(recipe(tmp_path, "points", defaults=defaults), {"device": "cpu"})
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_a_training_may_start_from_another_model(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    train_from_yaml(recipe(first, "video"), {"device": "cpu"})
    more = {**SHAPES["video"]["model"], "layers": 2}
    still = {**LOOP, "learning_rate": 1e-12}
    changed = recipe(second, "video", model=more, start_from=str(first / "model"), loop=still)
    train_from_yaml(changed, {"device": "cpu"})
    old, new = weights(first), weights(second)
    assert all(torch.allclose(value, new[name], atol=1e-6) for name, value in old.items())
    note = json.loads((second / "model" / "model.json").read_text())["training"]
    before = json.loads((first / "model" / "model.json").read_text(encoding="utf-8"))["training"]
    assert note["start_from"] == {"model": str(first / "model"), "tensors": len(old), "training": before}
    with pytest.raises(CheckpointError, match="no tensor of builtin/image"):
        take_over(torch.nn.Linear(2, 2), "builtin/image")


def test_a_pool_is_made_once_for_the_same_settings(tmp_path: Path) -> None:
    path = recipe(tmp_path, "points")
    train_from_yaml(path, {"device": "cpu"})
    latents = tmp_path / "run" / "pool" / "latents.npy"
    made = latents.stat().st_mtime_ns
    train_from_yaml(path, {"device": "cpu", "steps": 3})
    assert latents.stat().st_mtime_ns == made
    train_from_yaml(recipe(tmp_path, "points", data={"workers": 0, "seed": 2}), {"device": "cpu", "steps": 4})
    assert latents.stat().st_mtime_ns > made


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corpus": "tiny-vide"}, "unknown corpus `tiny-vide`; did you mean `tiny-video`"),
        ({"modality": "vidoe"}, "unknown modality `vidoe`; did you mean `video`"),
        ({"codec": {"kind": "per-fame"}}, "unknown codec `per-fame`; did you mean `per-frame`"),
        ({"codec": 3}, "codec: expected text or a mapping or nothing, not 3"),
        ({"coupling": "optimal"}, "unknown coupling `optimal`"),
        ({"storage": "int4"}, "unknown storage `int4`; did you mean `int8`"),
        ({"train_points": 16}, "train_points is for point clouds"),
    ],
)
def test_unknown_names_in_a_training_file_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_training(recipe(tmp_path, "video", **changes))


@pytest.mark.parametrize(
    ("shape", "changes", "message"),
    [
        ("video", {"data": {"workers": 0, "nummer": 3}}, "takes no `nummer`; did you mean `number`"),
        ("audio", {"model": {**DIT, "patch": [3]}}, "not divisible by the patch"),
        ("audio", {"model": {**DIT, "patch": [2], "trained_tokens": [8]}}, "expected 20 and \\[4\\]"),
        ("audio", {"corpus": "tiny-cloud"}, "expected \\[6, 1, sample\\]"),
        ("points", {"corpus": "tiny-loud"}, "not all finite and in -1..1"),
        ("points", {"train_points": 100}, "clouds of 48 points"),
    ],
)
def test_a_corpus_that_does_not_fit_is_named(tmp_path: Path, shape: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_from_yaml(recipe(tmp_path, shape, **changes), {"device": "cpu"})


def test_every_shipped_training_file_is_valid() -> None:
    for path in sorted((Path(__file__).parents[3] / "workflows" / "train").glob("*.yaml")):
        training = read_training(path)
        if isinstance(training, GeneratorTraining):
            assert training.corpus in catalog.CORPORA, path


def test_other_processes_compute_the_same_latents(corpora: Path, codec_folder: Path) -> None:
    source = PoolSource(
        modality="image",
        corpus="sprites",
        corpora=str(corpora),
        data={"scenes": 70, "seed": 1},
        codec=str(codec_folder),
        text_encoder={"kind": "builtin"},
    )
    here, elsewhere = (list(latent_chunks(source, 70, workers)) for workers in (0, 1))
    assert [len(part) for part in here] == [64, 6]
    for own, other in zip(here, elsewhere, strict=True):
        torch.testing.assert_close(own.float(), other.float(), atol=2e-3, rtol=0)
