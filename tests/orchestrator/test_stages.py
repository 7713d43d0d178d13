"""Stages: plain options become generate options, values keep their order, and notes are told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from modalities.contracts import Extrapolation, GenerateOptions, Guidance
from modalities.generators.options import generate_options
from orchestrator.catalog import STAGES, resolve
from orchestrator.errors import ModelError, StageError
from orchestrator.item import Item, Sample
from orchestrator.stages.decode import Decode, as_bytes
from orchestrator.stages.encode import Encode
from orchestrator.stages.extrapolate import Extrapolate, enlarged
from orchestrator.stages.generate import Generate
from orchestrator.stages.models import ModelStore
from tests.tiny_model import make_tiny_model

SHORT = {"model": "m", "size": [16, 16], "sampler": "euler", "steps": 2, "guidance": 2}


def item(number: int, prompt: str = "a red apple") -> Item:
    sample = Sample(
        id=f"p{number}", step="s", prompt_id=f"p{number}", prompt=prompt, repetition=0, cell={}, seed=number
    )
    return Item(sample=sample, values={})


@pytest.fixture(scope="module")
def models(tiny_model: Path) -> ModelStore:
    return ModelStore({"m": {"source": str(tiny_model), "precision": "float32"}}, "cpu")


@pytest.fixture(scope="module")
def encoded(models: ModelStore) -> list[Item]:
    stage = Encode({"model": "m", "negative_prompt": "blurry"}, models)
    stage.setup()
    return stage.process([item(0), item(1, "三只猫"), item(2, "")])


def test_the_catalog_agrees_with_the_stages():
    for name, entry in STAGES.items():
        stage = resolve(STAGES, name)
        for fact, attribute in (("reads", "reads"), ("optional", "optional_reads"), ("writes", "writes")):
            assert set(str(entry.facts.get(fact, "")).split()) == getattr(stage, attribute), (name, fact)


def test_options_are_names_numbers_or_mappings():
    assert generate_options({}) == GenerateOptions()
    assert generate_options({"sampler": None, "steps": None}) == GenerateOptions()
    full = generate_options(
        {
            "sampler": {"name": "dopri5", "rtol": 1e-4, "atol": None},
            "steps": 7,
            "schedule": {"name": "shifted", "shift": 3},
            "guidance": {"scale": 5, "interval": [0.2, 1], "channels": 3},
            "method": "watershed",
            "watershed": 0.4,
            "proportional_attention": True,
            "context_drop": 0.5,
            "scale": "area",
            "strength": 0.7,
        }
    )
    assert full == GenerateOptions(
        sampler="dopri5",
        sampler_options={"rtol": 1e-4},
        steps=7,
        schedule="shifted",
        schedule_options={"shift": 3},
        guidance=Guidance(scale=5, interval=(0.2, 1.0), channels=3),
        extrapolation=Extrapolation(
            method="watershed", watershed=0.4, proportional_attention=True, context_drop=0.5, scale="area"
        ),
        strength=0.7,
    )
    assert generate_options({"guidance": 2}).guidance == Guidance(scale=2.0)
    of_a_model = {"sampler": "dopri5", "sampler_options": {"rtol": 0.1}, "schedule_options": {"shift": 2.0}}
    found = generate_options(of_a_model)
    assert (found.sampler, found.sampler_options, found.schedule_options) == ("dopri5", {"rtol": 0.1}, {"shift": 2.0})


def test_a_prompt_is_encoded_as_if_it_were_alone(models: ModelStore, encoded: list[Item]):
    stage = Encode({"model": "m", "negative_prompt": "blurry"}, models)
    stage.setup()
    (alone,) = stage.process([item(1, "三只猫")])
    for kind in ("conditioning", "negative"):
        assert torch.equal(alone.values[kind].tokens, encoded[1].values[kind].tokens)
        assert bool(alone.values[kind].mask.all()), "values travel without padding"


def test_latents_and_media_keep_the_order_of_their_items(models: ModelStore, encoded: list[Item]):
    generate, decode = Generate(SHORT, models), Decode({"model": "m"}, models)
    generate.setup()
    decode.setup()
    outcomes = decode.process(generate.process(encoded))
    assert [outcome.sample.id for outcome in outcomes] == ["p0", "p1", "p2"]
    for outcome in outcomes:
        assert outcome.values["latents"].shape == (4, 4, 4)
        assert outcome.values["media"].shape == (3, 16, 16)
        assert outcome.values["media"].dtype == torch.uint8
    reversed_outcomes = generate.process(encoded[::-1])
    assert [outcome.sample.id for outcome in reversed_outcomes] == ["p2", "p1", "p0"]
    close = torch.allclose(reversed_outcomes[0].values["latents"], outcomes[2].values["latents"], atol=1e-4)
    assert close, "a sample depends on its own seed and conditioning alone"


def test_extrapolation_starts_from_earlier_latents_or_from_noise(models: ModelStore, encoded: list[Item]):
    generate = Generate(SHORT, models)
    generate.setup()
    small = generate.process(encoded)
    other = [each.with_values(latents=each.values["latents"] + 0.5) for each in small]
    results = {}
    for strength in (0.5, 1.0):
        stage = Extrapolate({**SHORT, "size": [24, 16], "method": "time-aware", "strength": strength}, models)
        stage.setup()
        one, two = stage.process(small), stage.process(other)
        assert one[0].values["latents"].shape == (4, 6, 4)
        results[strength] = torch.equal(one[0].values["latents"], two[0].values["latents"])
    assert results == {0.5: False, 1.0: True}


def test_enlarging_goes_through_the_media_and_leaves_equal_sizes_alone(models: ModelStore):
    codec = models.codec("m")
    with torch.inference_mode():
        latents = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
        assert enlarged(latents, (4, 4), (16, 16), codec) is latents
        larger = enlarged(latents, (6, 4), (24, 16), codec)
        assert larger.shape == (2, 4, 6, 4)
        flat = codec.encode(torch.full((1, 3, 16, 16), 0.25))
        shift = codec.decode(enlarged(flat, (8, 8), (32, 32), codec)).mean() - codec.decode(flat).mean()
        assert abs(float(shift)) < 0.2


def test_sounds_are_stretched_as_spectrograms_and_points_are_repeated(tmp_path: Path):
    source = torch.Generator().manual_seed(0)
    mels = torch.randn(1, 80, 16, generator=source)
    points = torch.randn(1, 6, 4, generator=source)
    cases = {
        "audio": (mels, torch.nn.functional.interpolate(mels, 32, mode="linear"), 32 * 256),
        "point-cloud": (points, points.repeat_interleave(2, dim=2), 8),
    }
    for name, (before, after, size) in cases.items():
        models = ModelStore({"m": {"source": str(make_tiny_model(tmp_path / name, modality=name))}}, "cpu")
        encode, options = Encode({"model": "m"}, models), {**SHORT, "size": [size], "strength": 0.5}
        stage = Extrapolate(options, models)
        encode.setup()
        stage.setup()
        (text,) = encode.process([item(3)])
        assert not isinstance(text, StageError)
        results = [
            outcome.values["latents"]
            for latents in (before, after)
            for outcome in stage.process([text.with_values(latents=latents[0])])
        ]
        assert results[0].shape == after.shape[1:]
        torch.testing.assert_close(results[0], results[1])


def test_media_leave_decode_in_the_numbers_of_their_modality(tmp_path: Path, encoded: list[Item]):
    kinds = {
        "video": ((4, 4, 4, 4), torch.uint8),
        "audio": ((80, 16), torch.float32),
        "point-cloud": ((6, 32), torch.float32),
    }
    for modality, (shape, dtype) in kinds.items():
        store = ModelStore({"m": {"source": str(make_tiny_model(tmp_path / modality, modality=modality))}}, "cpu")
        stage = Decode({"model": "m"}, store)
        stage.setup()
        good, bad = torch.randn(shape), torch.full(shape, float("nan"))
        outcomes = stage.process([item(0).with_values(latents=good), item(1).with_values(latents=good + bad)])
        media = outcomes[0].values["media"]
        assert media.dtype == dtype
        assert media.untyped_storage().nbytes() == media.nbytes, "no batch mate travels with it"
        assert dtype == torch.uint8 or float(media.abs().max()) <= 1
        assert isinstance(outcomes[1], StageError)
        assert "not finite" in outcomes[1].reason


def test_bytes_round_to_the_nearest_and_stay_in_range():
    values = torch.tensor([-1.5, -1.0, -0.999, 0.0, 0.999, 1.0, 2.0])
    assert as_bytes(values).tolist() == [0, 0, 0, 128, 255, 255, 255]


def test_a_prompt_that_a_model_does_not_know_is_noted(tiny_model: Path, tmp_path: Path):
    narrow = tmp_path / "narrow"
    shutil.copytree(tiny_model, narrow)
    concepts = {"threshold": 0.68, "concepts": [{"emoji": "🍎", "names": {"en": ["red apple"], "de": ["roter Apfel"]}}]}
    (narrow / "concepts.json").write_text(json.dumps(concepts), encoding="utf-8")
    stage = Encode({"model": "m"}, ModelStore({"m": {"source": str(narrow)}}, "cpu"))
    stage.setup()
    stage.process([item(0, "a red apple"), item(1, "a submarine under water"), item(2, "ᚠᚢᚦ")])
    notes = [note for note in stage.notes if note.startswith("p1")]
    assert len(notes) == 1
    assert "red apple" in notes[0]
    assert any(note.startswith("p2") and "ᚠᚢᚦ" in note for note in stage.notes)
    assert not any(note.startswith("p0") for note in stage.notes)


def test_each_model_that_reads_an_encoding_is_asked_for_itself(tiny_model: Path, tmp_path: Path):
    models = {}
    for name, thing in (("fruit", "red apple"), ("music", "piano")):
        shutil.copytree(tiny_model, tmp_path / name)
        concepts = {"threshold": 0.68, "concepts": [{"emoji": "🎵", "names": {"en": [thing]}}]}
        (tmp_path / name / "concepts.json").write_text(json.dumps(concepts), encoding="utf-8")
        models[name] = {"source": str(tmp_path / name)}
    stage = Encode({"model": "fruit", "readers": ["fruit", "music"]}, ModelStore(models, "cpu"))
    stage.setup()
    stage.process([item(0, "a red apple"), item(1, "a grand piano"), item(2, "a submarine")])
    noted = [(note.split()[0], name) for note in stage.notes for name in models if f"model `{name}`" in note]
    assert sorted(noted) == [("p0", "music"), ("p1", "fruit"), ("p2", "fruit"), ("p2", "music")]


def test_models_are_loaded_once_and_faults_are_named(models: ModelStore, tiny_model: Path):
    assert models.generator("m") is models.generator("m")
    with pytest.raises(ModelError, match="unknown model `x`; the plan has: m"):
        models.generator("x")
    with pytest.raises(ModelError, match="model `m`"):
        ModelStore({"m": {"source": "/nowhere/at/all"}}, "cpu").codec("m")
