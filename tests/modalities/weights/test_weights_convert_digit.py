"""DiGIT's checkpoints as fairseq saved them, tiny and random, to a folder that loads and makes pictures."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from modalities.codecs import dinov2_tokens, vqgan
from modalities.codecs.dinov2_tokens import DinoV2Config
from modalities.codecs.vqgan import VQGANCodec, VQGANConfig
from modalities.contracts import CheckpointError, GenerateOptions, Guidance
from modalities.generators.digit.config import DiGITConfig, StageConfig, expected_shapes
from modalities.generators.digit.generate import DiGITGenerator
from modalities.weights.convert import Request, convert
from modalities.weights.description import describe
from modalities.weights.headers import read_json
from modalities.weights.loading import load_codec, load_generator, load_text_encoder
from tests.modalities.digit.tiny_digit import class_ids
from tests.modalities.weights.released import random_tensors

STAGE = StageConfig(dim=16, layers=1, heads=4, ffn=24, pre_norm=False)
CONFIG = DiGITConfig(clusters=20, codes=12, classes=3, semantic=STAGE, decoder=replace(STAGE, pre_norm=True))
PIXELS = VQGANConfig(codes=12, channels=4, width=32, multipliers=(1, 1, 1, 1, 1), blocks=1)
FEATURES = DinoV2Config(dim=16, layers=3, heads=1, patch=14, table=5, clusters=20)


def stage(name: str, settings: dict[str, Any], config: DiGITConfig = CONFIG, **more: Tensor) -> dict[str, Any]:
    """What fairseq saves of a stage: flat tensors, settings, and things that no one needs."""
    shapes = {key.removeprefix(f"{name}."): s for key, s in expected_shapes(config).items() if key.startswith(name)}
    tensors = OrderedDict((f"decoder.{key}", each) for key, each in random_tensors(shapes, seed=len(name)).items())
    tensors["decoder.version"] = torch.tensor([3.0])
    settings = {"decoder_attention_heads": 4, "decoder_normalize_before": name == "decoder", **settings}
    return {
        "args": None,
        "cfg": {"model": settings, "task": {"_name": "image_generation"}},
        "model": tensors | more,
        "optimizer_history": [{"num_updates": 7, "lr_scheduler_state": {"best": None}}],
        "extra_state": {"epoch": 3, "metrics": OrderedDict()},
    }


def features(half: bool = False) -> dict[str, Tensor]:
    """DINOv2 as the first stage holds it: two more blocks, the mask token, clusters as columns."""
    shapes = dinov2_tokens.expected_shapes(replace(FEATURES, layers=5))
    tensors = random_tensors({name: shape for name, shape in shapes.items() if name != "centroids"}, seed=8)
    found = {f"pretrained_encoder.{name}": tensor for name, tensor in tensors.items()}
    found["pretrained_encoder.mask_token"] = torch.zeros(1, 16)
    found["centroids"] = centres().T.contiguous()
    found["centroid_norm"] = centres().square().sum(1)[None]
    return {name: tensor.half() for name, tensor in found.items()} if half else found


def centres() -> Tensor:
    return torch.randn(20, 16, generator=torch.Generator().manual_seed(4))


def pixels() -> dict[str, Tensor]:
    return random_tensors(vqgan.expected_shapes(PIXELS), seed=6)


def saved(folder: Path, *, first: dict[str, Any] | None = None, second: dict[str, Any] | None = None) -> Path:
    """A folder with both stages, laid out as in the release."""
    within = {f"vqgan.{name}": tensor for name, tensor in pixels().items()}
    for name, value in (
        ("stage1", first or stage("semantic", {"_name": "stlm"}, **features())),
        ("stage2", second or stage("decoder", {"_name": "st2vtlm"}, **within)),
    ):
        (folder / name).mkdir(parents=True)
        torch.save(value, folder / name / "checkpoint_last.pt")
    return folder


def converted(source: Path, target: Path, **options: Any) -> list[str]:
    return convert(Request(source=source, target=target, **options))


def test_the_release_becomes_a_folder_that_makes_pictures(tmp_path: Path) -> None:
    source, target = saved(tmp_path / "release"), tmp_path / "digit"
    lines = converted(source, target)
    assert lines[0] == f"{target}: digit"
    assert "3 of 5 blocks, 20 clusters; clusters of checkpoint_last.pt, stored as float32" in "\n".join(lines)
    found = describe(target)
    assert (found.modality, found.family, found.native_size, found.stride) == ("image", "digit", (256, 256), (16, 16))
    assert found.generator_config == CONFIG.to_mapping()
    assert found.defaults["sampler"] == "autoregressive"
    assert found.defaults["sampler_options"] == {"top_k": 300, "decoder_top_p": 0.8}
    generator, codec = (load(found, "cpu", torch.float32) for load in (load_generator, load_codec))
    assert isinstance(generator, DiGITGenerator)
    assert isinstance(codec, VQGANCodec)
    wanted = stage("semantic", {})["model"]["decoder.layers.0.self_attn.q_proj.weight"]
    assert torch.equal(generator.model.semantic.state_dict()["layers.0.self_attn.q_proj.weight"], wanted)
    options = GenerateOptions(
        sampler="autoregressive", sampler_options=found.defaults["sampler_options"], guidance=Guidance(scale=1.0)
    )
    ids = generator.generate(class_ids(2), None, (256, 256), [1], options)
    media = codec.decode(ids)
    assert media.shape == (1, 3, 256, 256)
    assert torch.isfinite(media).all()
    both = codec.encode(media)
    assert both.shape == (1, 2, 16, 16)
    assert 0 <= int(both[:, 1].min()) <= int(both[:, 1].max()) < 20
    assert torch.equal(load_file(target / "tokenizer.safetensors")["centroids"], centres())
    assert "3 classes are not ImageNet's 1000" in "\n".join(lines)
    assert load_text_encoder(found, "cpu", torch.float32).encode(["2"]).tokens.tolist() == [[[2.0]]]
    again = tmp_path / "again"
    converted(source, again)
    for path in target.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()


def test_clusters_in_full_precision_and_a_vqgan_of_its_own_are_taken(tmp_path: Path) -> None:
    source = saved(
        tmp_path / "release",
        first=stage("semantic", {"_name": "stlm"}, replace(CONFIG, classes=0), **features(half=True)),
        second=stage("decoder", {"_name": "st2vtlm_nar"}),
    )
    torch.save({"state_dict": pixels()}, source / "vqgan_jax_strongaug.ckpt")
    np.save(source / "km_0k.npy", centres().numpy())
    np.save(source / "km_16k.npy", np.zeros((40, 16), np.float32))
    lines = converted(source, tmp_path / "digit")
    assert "clusters of km_0k.npy" in "\n".join(lines)
    values = read_json(tmp_path / "digit" / "model.json")
    assert values["generator"]["config"]["decoder_order"] == "masked"
    reader = load_text_encoder(describe(tmp_path / "digit"), "cpu", torch.float32)
    assert reader.encode(["", " "]).tokens.flatten().tolist() == [-1.0, -1.0]
    with pytest.raises(ValueError, match="`a cat`: this model knows no classes"):
        reader.encode(["a cat"])
    assert values["defaults"]["sampler_options"] == {"top_k": 200, "decoder_steps": 8}
    assert torch.equal(load_file(tmp_path / "digit" / "tokenizer.safetensors")["centroids"], centres())
    assert torch.equal(
        load_file(tmp_path / "digit" / "codec.safetensors")["decoder.conv_in.bias"], pixels()["decoder.conv_in.bias"]
    )


def test_the_vqgan_alone_becomes_one_file(tmp_path: Path) -> None:
    torch.save({"state_dict": pixels()}, tmp_path / "vqgan_jax_strongaug.ckpt")
    lines = converted(tmp_path / "vqgan_jax_strongaug.ckpt", tmp_path / "codec")
    assert lines[0].endswith(": vqgan")
    assert set(load_file(tmp_path / "codec" / "codec.safetensors")) == set(pixels())


def without(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {**values, "model": OrderedDict((key, each) for key, each in values["model"].items() if key != name)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"first": stage("semantic", {"decoder_normalize_before": True})},
            "decoder_normalize_before True, but a norm after the last layer is not there",
        ),
        ({"first": stage("semantic", {}, replace(CONFIG, clusters=30))}, "reads 20 clusters, but the first stage"),
        ({"second": stage("decoder", {})}, r"holds no VQGAN .* vqgan_jax_strongaug\.ckpt"),
        ({"first": without(stage("semantic", {}), "decoder.layers.0.fc2.bias")}, "missing: semantic.layers.0.fc2.bias"),
        ({"first": stage("semantic", {"decoder_attention_heads": 3})}, "dim 16 is no multiple of heads 3"),
        (
            {"first": without(stage("semantic", {}, **features()), "centroids")},
            r"holds no clusters \(centroids\), and no km_\*\.npy of 20",
        ),
    ],
)
def test_files_that_do_not_fit_together_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        converted(saved(tmp_path / "release", **change), tmp_path / "digit")
    assert not (tmp_path / "digit").exists()


def test_one_stage_alone_is_refused(tmp_path: Path) -> None:
    source = saved(tmp_path / "release")
    with pytest.raises(CheckpointError, match=r"needs one second stage \(digit-decoder\), found none"):
        converted(source / "stage1", tmp_path / "digit")


def test_pickled_objects_in_a_npy_are_refused(tmp_path: Path) -> None:
    source = saved(tmp_path / "release")
    np.save(source / "km_0k.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(CheckpointError, match=r"km_0k\.npy: not an array of numbers"):
        converted(source, tmp_path / "digit")
    np.save(source / "km_0k.npy", np.arange(20))
    with pytest.raises(CheckpointError, match=r"km_0k\.npy: expected a matrix of floats"):
        converted(source, tmp_path / "digit")
