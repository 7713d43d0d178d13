"""Descriptions of every family and kind of media: sizes, tokens, codecs of other models, other modalities."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modalities.codecs.image_autoencoder import ImageAutoencoder, ImageAutoencoderConfig
from modalities.generators.flagdit.config import FlagDiTConfig
from modalities.generators.flagdit.model import FlagDiT
from modalities.generators.nextdit.config import NextDiTConfig
from modalities.generators.nextdit.model import NextDiT
from modalities.weights.checkpoint import write_model_json, write_tensors
from modalities.weights.description import DescriptionError, describe
from modalities.weights.loading import load_codec, load_generator

SMALL = {"dim": 32, "layers": 1, "heads": 2, "kv_heads": 1, "multiple_of": 16, "cap_feat_dim": 8}
IMAGE_CODEC = ImageAutoencoderConfig(width=(8, 8), encoder_blocks=(1, 1), decoder_blocks=(1, 1))
PER_FRAME = {"kind": "per-frame", "of": "../image"}
KINDS: dict[str, dict[str, Any]] = {
    "image": {
        "native_size": [16, 16],
        "codec": {"kind": "image-autoencoder", "config": IMAGE_CODEC.to_mapping()},
        "config": {"patch": (2, 2), "trained_tokens": (2, 2)},
    },
    "video": {
        "native_size": [4, 16, 16],
        "codec": PER_FRAME,
        "config": {"patch": (2, 2, 2), "trained_tokens": (2, 2, 2)},
    },
    "audio": {
        "native_size": [256 * 12],
        "codec": {"kind": "mel-griffin-lim"},
        "config": {"patch": (3,), "in_channels": 80, "bands": 4, "trained_tokens": (4,)},
    },
    "point-cloud": {
        "native_size": [16],
        "codec": {"kind": "points"},
        "config": {
            "patch": (1,),
            "in_channels": 6,
            "trained_tokens": (16,),
            "unordered": True,
            "coordinates": 3,
        },
    },
}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    def make(modality: str, /, **changes: Any) -> Path:
        kind = KINDS[modality]
        folder = tmp_path / modality
        config = NextDiTConfig.from_mapping(SMALL | kind["config"])
        torch.manual_seed(0)
        write_tensors(folder / "generator.safetensors", dict(NextDiT(config).state_dict()))
        values = {
            "modality": modality,
            "generator": {"family": "nextdit", "config": config.to_mapping()},
            "codec": kind["codec"],
            "native_size": kind["native_size"],
        }
        write_model_json(folder, values | changes)
        if modality == "image":
            codec = ImageAutoencoder(IMAGE_CODEC)
            codec.normalise_by(torch.rand(4, 3, 16, 16) * 2 - 1)
            write_tensors(folder / "codec.safetensors", dict(codec.state_dict()))
        return folder

    return make


@pytest.mark.parametrize(
    ("modality", "stride", "patch", "size", "tokens"),
    [
        ("image", (4, 4), (2, 2), (16, 24), 2 * 3),
        ("video", (1, 4, 4), (2, 2, 2), (6, 16, 8), 3 * 2 * 1),
        ("audio", (256,), (3,), (256 * 6,), 2 * 4),
        ("point-cloud", (1,), (1,), (100,), 100),
    ],
)
def test_sizes_and_tokens_of_every_kind(
    make: Callable[..., Path],
    modality: str,
    stride: tuple[int, ...],
    patch: tuple[int, ...],
    size: tuple[int, ...],
    tokens: int,
):
    make("image")
    found = describe(make(modality))
    assert (found.stride, found.patch) == (stride, patch)
    assert found.units == tuple(s * p for s, p in zip(stride, patch, strict=True))
    assert found.num_tokens(size) == tokens
    assert found.default_size == found.native_size
    generator = load_generator(found, "cpu", torch.float32)
    assert found.parameters == sum(p.numel() for p in generator.model.parameters())  # type: ignore[attr-defined]
    shape = generator.latent_shape(size)
    assert shape[1:] == tuple(n // s for n, s in zip(size, stride, strict=True))


def test_sizes_that_do_not_fit_have_no_tokens(make: Callable[..., Path]):
    found = describe(make("image"))
    for size in ((16,), (15, 16), (0, 8)):
        with pytest.raises(ValueError, match=r"is not a multiple of \(8, 8\)"):
            found.num_tokens(size)


def test_a_native_size_that_the_cells_do_not_divide_is_refused(make: Callable[..., Path]):
    for size in ([17, 16], [16], [0, 16]):
        with pytest.raises(DescriptionError, match=r"is no multiple of the \[4, 4\] cells"):
            describe(make("image", native_size=size))


def test_a_second_family_is_described_through_its_own_cost_module(tmp_path: Path):
    config = FlagDiTConfig(
        in_channels=4, dim=32, layers=1, heads=2, multiple_of=16, cap_feat_dim=8, trained_tokens=(5,)
    )
    tensors = dict(FlagDiT(config).state_dict())
    write_tensors(tmp_path / "generator.safetensors", tensors)
    values = {
        "modality": "audio",
        "generator": {"family": "flagdit", "config": config.to_mapping()},
        "codec": {"kind": "mel-griffin-lim"},
        "native_size": [5 * 256],
    }
    write_model_json(tmp_path, values)
    found = describe(tmp_path)
    assert (found.stride, found.patch, found.num_tokens((512,))) == ((256,), (1,), 2)
    assert found.parameters == sum(tensor.numel() for tensor in tensors.values())
    del tensors["proj_in.bias"]
    write_tensors(tmp_path / "generator.safetensors", tensors)
    with pytest.raises(DescriptionError, match=r"1 missing: proj_in\.bias"):
        describe(tmp_path)


def test_a_codec_of_another_model_is_found_hashed_and_loaded(make: Callable[..., Path]):
    image, video = make("image"), make("video")
    found = describe(video)
    assert found.codec["codec"]["file"] == str(image / "codec.safetensors")
    assert image / "codec.safetensors" in found.weight_files()
    codec = load_codec(found, "cpu", torch.float32)
    assert (codec.stride, codec.channels) == ((1, 4, 4), 4)
    assert codec.decode(torch.zeros(1, 4, 2, 4, 4)).shape == (1, 3, 2, 16, 16)
    first = found.weights_hash()
    assert describe(video).weights_hash() == first
    (image / "codec.safetensors").write_bytes((image / "codec.safetensors").read_bytes() + b"")
    other = ImageAutoencoder(IMAGE_CODEC)
    write_tensors(image / "codec.safetensors", dict(other.state_dict()))
    assert describe(video).weights_hash() != first


def test_a_codec_may_be_of_a_builtin_model_and_come_from_the_workflow(make: Callable[..., Path]):
    found = describe(make("video", codec={"kind": "per-frame", "of": "builtin/image"}))
    assert Path(found.codec["codec"]["file"]).parent.name == "image"
    make("image")
    given = describe(make("video"), {"codec": {"kind": "per-frame", "of": "builtin/image"}})
    assert given.codec["codec"] == found.codec["codec"]
    with pytest.raises(DescriptionError, match="no built-in model `builtin/imoge`"):
        describe(make("video", codec={"kind": "per-frame", "of": "builtin/imoge"}))


def test_a_codec_of_itself_is_refused(make: Callable[..., Path], tmp_path: Path):
    with pytest.raises(DescriptionError, match="of itself"):
        describe(make("video", codec={"kind": "per-frame", "of": str(tmp_path / "video")}))
    with pytest.raises(DescriptionError, match="of itself"):
        describe(make("video", codec={"kind": "per-frame", "of": "."}))


def test_codecs_with_weights_need_their_file_and_others_have_none(make: Callable[..., Path]):
    assert "file" not in describe(make("point-cloud")).codec
    assert load_codec(describe(make("audio")), "cpu", torch.float32).stride == (256,)
    folder = make("image")
    (folder / "codec.safetensors").unlink()
    with pytest.raises(DescriptionError, match=r"has no codec\.safetensors, the weights of its codec `image-auto"):
        describe(folder)
    with pytest.raises(DescriptionError, match="a codec inside another should be a mapping with `kind`"):
        describe(make("point-cloud", codec={"kind": "per-frame", "codec": {"config": {}}}))
    with pytest.raises(DescriptionError, match="unknown codec `pionts`; did you mean `points`"):
        describe(make("point-cloud", codec={"kind": "pionts"}))


def test_a_model_may_be_taken_for_another_modality_with_its_axes(make: Callable[..., Path]):
    make("image")
    folder = make("audio", defaults={"steps": 8, "guidance": {"scale": 2.0}})
    plain, music = describe(folder), describe(folder, {"modality": "music"})
    assert (plain.defaults["guidance"], music.defaults["guidance"]) == ({"scale": 2.0}, {"scale": 5.0})
    assert music.defaults["steps"] == 8
    assert music.defaults["extrapolation"]["method"] == "time-aware"
    assert music.default_size == (768 * 167,)
    assert music.native_size == plain.native_size
    assert (music.stride, music.weights_hash()) == (plain.stride, plain.weights_hash())
    assert describe(folder, {"modality": "music", "native_size": [256 * 12]}).modality == "music"
    assert describe(make("video"), {"modality": "multi-view"}).default_size == (8, 64, 64)
    assert describe(folder, {"modality": "audio"}).default_size == plain.native_size


@pytest.mark.parametrize(("modality", "other"), [("audio", "point-cloud"), ("image", "video"), ("video", "audio")])
def test_a_modality_with_other_axes_or_channels_is_refused(make: Callable[..., Path], modality: str, other: str):
    make("image")
    with pytest.raises(DescriptionError, match=f"makes {modality} .* cannot be taken for {other}"):
        describe(make(modality), {"modality": other})


def test_an_unknown_modality_is_refused(make: Callable[..., Path]):
    with pytest.raises(DescriptionError, match="unknown modality `musik`; did you mean `music`"):
        describe(make("audio"), {"modality": "musik"})


def test_a_model_takes_the_defaults_of_its_modality_where_it_has_none(make: Callable[..., Path]):
    assert describe(make("audio")).defaults == {"guidance": {"scale": 3.0}}
    assert describe(make("audio", modality="music")).defaults["guidance"] == {"scale": 5.0}
    assert describe(make("image")).defaults == {}


def test_models_in_the_package_are_described(make: Callable[..., Path]):
    found = describe("builtin/image")
    assert found.num_tokens((64, 64)) == 64
    assert json.loads((found.folder / "model.json").read_text())["modality"] == "image"  # type: ignore[operator]
