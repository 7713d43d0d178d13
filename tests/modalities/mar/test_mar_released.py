"""MAR's published files, tiny and random, to a folder that loads: network, KL-16, classes; and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from modalities.codecs.ldm_names import diffusers_name
from modalities.contracts import CheckpointError, GenerateOptions, Guidance
from modalities.generators.mar import config as mar_config
from modalities.generators.mar.config import MARConfig
from modalities.generators.mar.generate import MARGenerator
from modalities.generators.mar.model import MAR
from modalities.weights.convert import Request, convert
from modalities.weights.convert_mar import SCALE, vae_config
from modalities.weights.description import describe
from modalities.weights.loading import load_codec, load_generator, load_text_encoder
from tests.modalities.mar import tiny_vae

TINY = MARConfig(
    trained_tokens=(4, 4),
    in_channels=6,
    dim=24,
    layers=1,
    heads=3,
    decoder_dim=24,
    decoder_layers=1,
    decoder_heads=3,
    buffer=3,
    head_dim=16,
    head_layers=1,
)


@pytest.fixture(autouse=True)
def known_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model as the published base: heads cannot be read off a checkpoint."""
    monkeypatch.setitem(mar_config.SIZES, "base", TINY)


def network(seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return {name: value + 0.05 * torch.randn_like(value) for name, value in MAR(TINY).state_dict().items()}


@pytest.fixture(scope="module")
def vae() -> dict[str, Tensor]:
    return tiny_vae.weights()


def save(folder: Path, value: dict[str, Any], vae: dict[str, Tensor] | None) -> Path:
    folder.mkdir()
    torch.save(value, folder / "checkpoint-last.pth")
    if vae is not None:
        torch.save({"model": vae}, folder / "kl16.ckpt")
    return folder


def test_a_release_becomes_a_folder_that_makes_pictures(tmp_path: Path, vae: dict[str, Tensor]) -> None:
    pytest.importorskip("diffusers")
    averages = network(1)
    source = save(tmp_path / "release", {"model": network(0), "model_ema": averages}, vae)
    lines = convert(Request(source=source, target=tmp_path / "mar"))
    assert lines[0] == f"{tmp_path / 'mar'}: mar"
    assert "took `model_ema`; left out `model`" in "\n".join(lines)
    assert "last weights" not in "\n".join(lines)
    found = describe(tmp_path / "mar")
    assert (found.family, found.native_size, found.stride) == ("mar", (16, 16), (4, 4))
    assert found.generator_config == TINY.to_mapping()
    generator = load_generator(found, "cpu", torch.float32)
    assert isinstance(generator, MARGenerator)
    for name, value in generator.model.state_dict().items():
        assert torch.equal(value, averages[name]), name
    encoder = load_text_encoder(found, "cpu", torch.float32)
    told, nothing = encoder.encode(["golden retriever", "1"]), encoder.encode([""])
    assert told.tokens.flatten().tolist() == [207, 1]
    assert nothing.tokens.item() == -1
    options = GenerateOptions(
        sampler="masked-autoregressive",
        steps=4,
        sampler_options={"head_steps": 3, "temperature": 0.9},
        guidance=Guidance(scale=2.0),
    )
    latents = generator.generate(told, nothing, (16, 16), [3, 4], options)
    assert latents.shape == (2, 6, 4, 4)
    assert load_codec(found, "cpu", torch.float32).decode(latents).shape == (2, 3, 16, 16)


def test_the_autoencoder_is_that_of_the_formulas(tmp_path: Path, vae: dict[str, Tensor]) -> None:
    pytest.importorskip("diffusers")
    source = save(tmp_path / "release", {"model_ema": network()}, vae)
    convert(Request(source=source, target=tmp_path / "mar"))
    codec = load_codec(describe(tmp_path / "mar"), "cpu", torch.float32)
    wide = {name: value.double() for name, value in vae.items()}
    draws = torch.Generator().manual_seed(2)
    media = torch.rand(1, 3, 16, 16, generator=draws) * 2 - 1
    latents = codec.encode(media)
    torch.testing.assert_close(latents.double(), tiny_vae.encode(wide, media.double()) * SCALE, atol=1e-5, rtol=1e-4)
    z = torch.randn(1, 6, 4, 4, generator=draws)
    wanted = tiny_vae.decode(wide, z.double() / SCALE).clamp(-1, 1)
    assert wanted.abs().median() < 0.99, "a decoder that is clamped everywhere would prove nothing"
    torch.testing.assert_close(codec.decode(z).double(), wanted, atol=1e-4, rtol=0)


def test_the_published_autoencoder_has_its_parameters() -> None:
    diffusers = pytest.importorskip("diffusers")
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in tiny_vae.weights(128, (1, 1, 2, 2, 4), 16).items()}
        config = vae_config(shapes, Path("kl16.ckpt"))
        state = diffusers.AutoencoderKL.from_config(config).state_dict()
    assert sum(value.numel() for value in state.values()) == 66_456_019
    assert {diffusers_name(name, 5) for name in shapes} == set(state)
    assert len(shapes) == 312


def test_weights_without_averages_are_named(tmp_path: Path, vae: dict[str, Tensor]) -> None:
    source = save(tmp_path / "release", {"model": network()}, vae)
    lines = "\n".join(convert(Request(source=source, target=tmp_path / "mar")))
    assert "checkpoint-last.pth: the last weights; published figures are of averages" in lines


def test_the_file_of_the_hub_that_holds_no_averages_is_recognised(tmp_path: Path, vae: dict[str, Tensor]) -> None:
    folder = tmp_path / "hub"
    folder.mkdir()
    save_file(network(), folder / "mar-base.safetensors")
    save_file(vae, folder / "kl16.safetensors")
    with pytest.raises(
        CheckpointError, match=r"mar-base\.safetensors: holds the last weights, not the averaged .*--no-ema"
    ):
        convert(Request(source=folder, target=tmp_path / "mar"))
    assert not (tmp_path / "mar").exists()
    lines = convert(Request(source=folder, target=tmp_path / "mar", ema=False))
    assert "16 x 16" in "\n".join(lines)
    assert describe(tmp_path / "mar").parameters == sum(value.numel() for value in network().values())


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path, vae: dict[str, Tensor]) -> None:
    alone = save(tmp_path / "alone", {"model_ema": network()}, None)
    with pytest.raises(CheckpointError, match=r"needs its autoencoder; .* holds kl16\.ckpt"):
        convert(Request(source=alone, target=tmp_path / "a"))
    other = save(tmp_path / "other", {"model_ema": network()}, tiny_vae.weights(channels=5))
    with pytest.raises(CheckpointError, match="6 channels, the autoencoder 5"):
        convert(Request(source=other, target=tmp_path / "b"))
    state = network()
    state["encoder_norm.weight"] = state["encoder_norm.weight"][:5]
    broken = save(tmp_path / "broken", {"model_ema": state}, vae)
    with pytest.raises(CheckpointError, match=r"do not fit a MAR of its size; .*encoder_norm\.weight"):
        convert(Request(source=broken, target=tmp_path / "c"))
    assert not any((tmp_path / name).exists() for name in "abc")


def test_heads_of_an_unpublished_width_are_not_guessed() -> None:
    shapes = mar_config.expected_shapes(replace(TINY, dim=36, decoder_dim=36))
    with pytest.raises(ValueError, match="width 36 is none of the published ones"):
        mar_config.config_from_shapes(shapes)
    assert mar_config.config_from_shapes(shapes, heads=6, decoder_heads=6).heads == 6
