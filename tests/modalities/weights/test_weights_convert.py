"""Published checkpoints, tiny and random, to folders that load; what is refused, and that nothing half stays behind."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from typer.testing import CliRunner

from modalities.codecs.vae1d import VAE1D
from modalities.contracts import CheckpointError
from modalities.generators.flagdit.generate import FlagDiTGenerator
from modalities.generators.nextdit.config import NextDiTConfig
from modalities.generators.nextdit.layouts import expected_shapes as nextdit_shapes
from modalities.weights.convert import Request, convert
from modalities.weights.description import describe
from modalities.weights.headers import read_json
from modalities.weights.loading import load_codec, load_generator
from orchestrator.commandline.application import app
from tests.modalities.weights.released import lightning, random_tensors, save_music, save_vocoder

TINY = NextDiTConfig(dim=32, layers=2, heads=2, kv_heads=1, multiple_of=16, cap_feat_dim=16)


def converted(source: Path, target: Path, **options: Any) -> list[str]:
    return convert(Request(source=source, target=target, **options))


def test_the_music_release_becomes_a_folder_that_loads(tmp_path: Path) -> None:
    source = save_music(tmp_path / "Lumina-T2Music")
    save_vocoder(source / "bigvnat")
    lines = converted(source, tmp_path / "music")
    assert lines[0] == f"{tmp_path / 'music'}: lumina-music"
    assert "with its vocoder" in "\n".join(lines)
    names = sorted(path.name for path in (tmp_path / "music").iterdir())
    assert names == ["codec.safetensors", "generator.safetensors", "model.json", "vocoder.safetensors"]
    found = describe(tmp_path / "music")
    assert (found.modality, found.family, found.native_size, found.stride) == ("music", "flagdit", (159744,), (512,))
    assert found.text_encoder == {"kind": "huggingface", "source": "google/flan-t5-large", "preset": "lumina-music"}
    assert found.defaults["steps"] == 39
    assert found.defaults["guidance"] == {"scale": 5.0}
    assert tmp_path / "music" / "vocoder.safetensors" in found.weight_files()
    generator = load_generator(found, "cpu", torch.float32)
    assert isinstance(generator, FlagDiTGenerator)
    state = lightning({})["state_dict"]
    assert isinstance(state, dict)
    weight = generator.model.state_dict()["blocks.1.attention.wk_y.weight"]
    assert torch.equal(weight, state["model.diffusion_model.blocks.1.attention.wk_y.weight"])
    codec = load_codec(found, "cpu", torch.float32)
    assert isinstance(codec, VAE1D)
    assert float(codec.network.scale_factor) == pytest.approx(0.8)
    sound = codec.decode(torch.randn(1, 4, 3))
    assert sound.shape == (1, 1, 1536)
    assert sound.abs().max() > 0
    with safe_open(tmp_path / "music" / "generator.safetensors", "pt") as file:
        assert set(file.keys()) == set(generator.model.state_dict())


def test_an_autoencoder_in_a_file_of_its_own(tmp_path: Path) -> None:
    whole = save_music(tmp_path / "whole")
    parts = save_music(tmp_path / "parts", with_codec=False)
    converted(whole, tmp_path / "a")
    lines = converted(parts, tmp_path / "b")
    assert "no vocoder found: Griffin-Lim takes its place" in "\n".join(lines)
    for name in ("generator.safetensors", "codec.safetensors", "model.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    with pytest.raises(CheckpointError, match=r"119\.ckpt: holds no autoencoder.*maa2\.ckpt"):
        converted(parts / "music_generation" / "119.ckpt", tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_averaged_weights_are_taken_unless_not_wanted(tmp_path: Path) -> None:
    value: dict[str, Any] = lightning({"transformer.x": torch.ones(1)})
    last = {name: each for name, each in value["state_dict"].items() if name.startswith("model.diffusion_model.")}
    for name, tensor in last.items():
        value["state_dict"]["model_ema." + name.removeprefix("model.").replace(".", "")] = tensor + 1
    value["state_dict"]["model_ema.decay"] = torch.tensor(0.999)
    torch.save(value, tmp_path / "x.ckpt")
    name = "proj_in.weight"
    assert "took the averaged weights" in "\n".join(converted(tmp_path / "x.ckpt", tmp_path / "ema"))
    converted(tmp_path / "x.ckpt", tmp_path / "last", ema=False)
    averaged = load_file(tmp_path / "ema" / "generator.safetensors")[name]
    assert torch.equal(averaged, last[f"model.diffusion_model.{name}"] + 1)
    plain = load_file(tmp_path / "last" / "generator.safetensors")[name]
    assert torch.equal(plain, last[f"model.diffusion_model.{name}"])


def test_the_audio_release_keeps_the_text_encoder_of_clap(tmp_path: Path) -> None:
    text = {
        "caption_encoder.base.embeddings.word_embeddings.weight": torch.rand(6, 8),
        "caption_encoder.base.embeddings.position_ids": torch.arange(5),
        "caption_encoder.projection.linear1.weight": torch.rand(24, 8),
        "t5_transformer.shared.weight": torch.rand(6, 8),
    }
    torch.save(lightning(text), tmp_path / "324.ckpt")
    lines = converted(tmp_path / "324.ckpt", tmp_path / "audio")
    assert "4 tensors found, 2 of CLAP's text encoder kept" in "\n".join(lines)
    kept = load_file(tmp_path / "audio" / "text.safetensors")
    assert set(kept) == {"base.embeddings.word_embeddings.weight", "projection.linear1.weight"}
    found = describe(tmp_path / "audio")
    assert (found.modality, found.defaults["steps"], found.defaults["guidance"]) == ("audio", 99, {"scale": 3.0})
    assert found.text_encoder["kind"] == "lumina-audio"
    assert Path(found.text_encoder["file"]) == tmp_path / "audio" / "text.safetensors"


def test_which_of_the_two_models_it_is_must_be_said_without_text(tmp_path: Path) -> None:
    torch.save(lightning({}), tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="say --kind lumina-music or --kind lumina-audio"):
        converted(tmp_path / "x.ckpt", tmp_path / "out")
    converted(tmp_path / "x.ckpt", tmp_path / "out", kind="lumina-music", text_encoder="/models/flan")
    assert read_json(tmp_path / "out" / "model.json")["text_encoder"]["source"] == "/models/flan"


def test_original_image_weights_keep_their_names(tmp_path: Path) -> None:
    source = tmp_path / "Lumina-Next"
    source.mkdir()
    weights = random_tensors(nextdit_shapes(TINY), 0)
    torch.save(weights, source / "consolidated.00-of-01.pth")
    torch.save(weights, source / "consolidated_ema.00-of-01.pth", _use_new_zipfile_serialization=False)
    torch.save(argparse.Namespace(qk_norm=True), source / "model_args.pth")
    converted(source, tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["consolidated.00-of-01.safetensors", "consolidated_ema.00-of-01.safetensors"]
    for name in names:
        read = load_file(tmp_path / "out" / name)
        assert all(torch.equal(read[key], tensor) for key, tensor in weights.items())
    beside = {"codec": {"kind": "diffusers-vae", "source": "x/y"}, "text_encoder": {"kind": "builtin"}}
    assert describe(tmp_path / "out", {**beside, "ema": True}).generator_config["dim"] == 32


def test_a_vocoder_and_any_other_tensors(tmp_path: Path) -> None:
    converted(save_vocoder(tmp_path / "bigvnat"), tmp_path / "vocoder")
    assert "conv_pre.weight_v" in load_file(tmp_path / "vocoder" / "vocoder.safetensors")
    torch.save({"a": torch.ones(2, 3).t(), "b": torch.tensor(2.0, dtype=torch.bfloat16)}, tmp_path / "x.bin")
    converted(tmp_path / "x.bin", tmp_path / "plain")
    read = load_file(tmp_path / "plain" / "tensors.safetensors")
    assert (read["a"].shape, read["b"].dtype, float(read["b"])) == ((3, 2), torch.bfloat16, 2.0)


def test_a_vocoder_of_other_spectrograms_is_refused(tmp_path: Path) -> None:
    source = save_music(tmp_path / "release")
    settings = save_vocoder(source / "bigvnat").with_name("args.yml")
    settings.write_text(f"{settings.read_text()}sampling_rate: 24000\nhop_size: 256\nfmax: null\n")
    with pytest.raises(CheckpointError, match=r"args\.yml: sampling_rate is 24000; .* have 16000"):
        converted(source, tmp_path / "music")
    settings.write_text(settings.read_text().replace("24000", "16000"))
    assert "with its vocoder" in "\n".join(converted(source, tmp_path / "music"))


def test_files_without_weights_are_passed_over_and_not_enough(tmp_path: Path) -> None:
    source = save_music(tmp_path / "release")
    torch.save({"epoch": 3}, source / "state.pt")
    assert "state.pt: holds no tensors under names" in converted(source, tmp_path / "music")
    with pytest.raises(CheckpointError, match=r"found state\.pt \(nothing\)"):
        converted(source / "state.pt", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"empty: holds no file that ends in \.pth"):
        converted(tmp_path / "empty", tmp_path / "out")


def test_a_target_that_is_there_is_not_touched(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "x.pt")
    converted(tmp_path / "x.pt", tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"is there already.*--force"):
        converted(tmp_path / "x.pt", tmp_path / "out")
    torch.save({"a": torch.zeros(2)}, tmp_path / "x.pt")
    converted(tmp_path / "x.pt", tmp_path / "out", force=True)
    assert not load_file(tmp_path / "out" / "tensors.safetensors")["a"].any()
    (tmp_path / "out" / "diary.txt").write_text("mine")
    with pytest.raises(CheckpointError, match=r"holds diary\.txt, which no conversion wrote"):
        converted(tmp_path / "x.pt", tmp_path / "out", force=True)
    assert (tmp_path / "out" / "diary.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "x.pt"]


@pytest.mark.parametrize("force", [False, True])
def test_a_failed_conversion_leaves_nothing(force: bool, tmp_path: Path) -> None:
    value: dict[str, Any] = lightning({"transformer.x": torch.ones(1)})
    del value["state_dict"]["model.diffusion_model.blocks.1.attention.gate"]
    torch.save(value, tmp_path / "x.ckpt")
    if force:
        torch.save({"a": torch.ones(2)}, tmp_path / "y.pt")
        converted(tmp_path / "y.pt", tmp_path / "out")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(
        CheckpointError, match=r"x\.ckpt.*transformer do not fit.*1 missing: blocks\.1\.attention\.gate"
    ):
        converted(tmp_path / "x.ckpt", tmp_path / "out", force=force)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_tensors_that_multiply_a_file_are_refused(tmp_path: Path) -> None:
    one = torch.ones(4000)
    torch.save({f"t{i}": one for i in range(50)}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="more than 4 times its own size"):
        converted(tmp_path / "x.pt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_it_did_and_what_was_wrong(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "x.pt")
    answer = CliRunner().invoke(app, ["convert", str(tmp_path / "x.pt"), str(tmp_path / "out")])
    assert (answer.exit_code, "tensors.safetensors: 1 tensors of x.pt" in answer.output) == (0, True)
    torch.save({"a": torch.ones(2), "b": argparse.Namespace()}, tmp_path / "x.pt")
    refused = CliRunner().invoke(app, ["convert", str(tmp_path / "x.pt"), str(tmp_path / "other")])
    assert "asks for `argparse.Namespace`" in str(refused.exception)
    assert not (tmp_path / "other").exists()
    missing = CliRunner().invoke(app, ["convert", str(tmp_path / "absent"), str(tmp_path / "other")])
    assert "no such file or folder" in str(missing.exception)
    wrong = CliRunner().invoke(app, ["convert", str(tmp_path / "x.pt"), str(tmp_path / "other"), "--kind", "video"])
    assert "unknown kind `video`; known: auto, lumina-music" in str(wrong.exception)
