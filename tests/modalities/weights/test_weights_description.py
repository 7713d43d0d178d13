from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modalities.contracts import CheckpointError
from modalities.generators.nextdit.config import SIZES, NextDiTConfig
from modalities.generators.nextdit.model import NextDiT
from modalities.generators.nextdit.weights import save_weights
from modalities.weights.checkpoint import (
    check_tensors,
    read_metadata,
    read_tensors,
    write_model_json,
    write_tensors,
)
from modalities.weights.description import DescriptionError, ModelDescription, describe, file_hash
from modalities.weights.headers import read_header
from modalities.weights.loading import load_generator

CONFIG = NextDiTConfig(dim=32, layers=2, heads=2, kv_heads=1, multiple_of=16, cap_feat_dim=8, trained_tokens=(4, 4))
BESIDE = {"text_encoder": {"kind": "builtin"}, "codec": {"kind": "diffusers-vae", "source": "stabilityai/sdxl-vae"}}


@pytest.fixture
def model() -> NextDiT:
    torch.manual_seed(0)
    return NextDiT(CONFIG)


@pytest.fixture
def own(model: NextDiT, tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    save_weights(model, folder / "generator.safetensors")
    write_tensors(folder / "codec.safetensors", {"x": torch.zeros(1)})
    write_model_json(
        folder,
        {
            "name": "own",
            "modality": "image",
            "generator": {"family": "nextdit", "config": CONFIG.to_mapping()},
            "codec": {"kind": "image-autoencoder", "config": {"channels": 4}},
            "text_encoder": {"kind": "builtin"},
            "native_size": [32, 32],
            "defaults": {"steps": 8},
        },
    )
    return folder


@pytest.fixture
def original(model: NextDiT, tmp_path: Path) -> Path:
    save_weights(model, tmp_path / "lumina" / "consolidated.00-of-01.safetensors")
    return tmp_path / "lumina"


def change(file: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    values = json.loads(file.read_text())
    edit(values)
    file.write_text(json.dumps(values))


def test_our_own_format(own: Path, model: NextDiT):
    found = describe(own)
    assert found.family == "nextdit"
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert found.stride == (4, 4)
    assert found.native_size == (32, 32)
    assert found.defaults == {"steps": 8}
    assert found.codec["file"] == str(own / "codec.safetensors")
    generator = load_generator(found, "cpu", torch.float32)
    assert generator.latent_shape((32, 48)) == (4, 8, 12)


def test_describing_imports_no_torch(own: Path):
    code = (
        f"import sys; from modalities.weights.description import describe; d = describe({str(own)!r}); d.weights_hash()"
    )
    code += "; print([m for m in ('torch', 'numpy', 'safetensors', 'huggingface_hub') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_original_weights_need_no_configuration(original: Path):
    (original / "config.json").write_text("{'dim': 2304,, not JSON")
    found = describe(original, BESIDE)
    told = NextDiTConfig.from_mapping(found.generator_config)
    assert (told.dim, told.layers, told.heads, told.kv_heads) == (32, 2, 2, 1)
    assert (told.ffn_dim, told.cap_feat_dim, told.learn_sigma) == (CONFIG.ffn_dim, 8, True)
    assert found.native_size == (1024, 1024)
    assert found.stride == (8, 8)
    load_generator(found, "cpu", torch.float32)


def test_a_readable_configuration_adds_what_tensors_cannot_tell(original: Path):
    (original / "config.json").write_text(json.dumps({"norm_eps": 1e-6, "image_size": 512, "patch_size": 2, "lm": "x"}))
    found = describe(original, BESIDE)
    assert found.generator_config["norm_eps"] == 1e-6
    assert found.native_size == (512, 512)
    (original / "config.json").write_text(json.dumps({"dim": 2304}))
    with pytest.raises(DescriptionError, match="says dim 2304, but the tensors have 32"):
        describe(original, BESIDE)


def test_original_weights_ask_for_what_they_lack(original: Path):
    with pytest.raises(DescriptionError, match=r"hold no text encoder; add text_encoder: \{kind: huggingface"):
        describe(original)
    with pytest.raises(DescriptionError, match="hold no codec"):
        describe(original, {"text_encoder": {"kind": "builtin"}})


def test_averaged_weights_are_taken_on_request(original: Path, model: NextDiT):
    with pytest.raises(DescriptionError, match="no consolidated_ema"):
        describe(original, {**BESIDE, "ema": True})
    save_weights(model, original / "consolidated_ema.00-of-01.safetensors")
    assert describe(original, {**BESIDE, "ema": True}).files[0].name == "consolidated_ema.00-of-01.safetensors"
    assert describe(original, BESIDE).files[0].name == "consolidated.00-of-01.safetensors"


def test_weights_split_for_several_gpus_are_refused(original: Path, model: NextDiT):
    save_weights(model, original / "consolidated.01-of-02.safetensors")
    with pytest.raises(DescriptionError, match="split for 2 GPUs"):
        describe(original, BESIDE)


def test_the_abandoned_layouts_are_named(model: NextDiT, tmp_path: Path):
    tensors = dict(model.state_dict())
    tensors["layers.0.adaLN_modulation.1.weight"] = torch.zeros(6 * 32, 32)
    write_tensors(tmp_path / "may" / "consolidated.00-of-01.safetensors", tensors)
    with pytest.raises(DescriptionError, match="12 to 28 May 2024"):
        describe(tmp_path / "may", BESIDE)
    write_tensors(tmp_path / "july" / "consolidated.00-of-01.safetensors", {"patch_embedder.weight": torch.zeros(1)})
    with pytest.raises(DescriptionError, match="July 2024"):
        describe(tmp_path / "july", BESIDE)
    write_tensors(tmp_path / "class" / "consolidated.00-of-01.safetensors", {"y_embedder.w": torch.zeros(1)})
    with pytest.raises(DescriptionError, match="class-conditional"):
        describe(tmp_path / "class", BESIDE)
    write_tensors(tmp_path / "other" / "consolidated.00-of-01.safetensors", {"conv.weight": torch.zeros(1)})
    with pytest.raises(DescriptionError, match=r"not a Next-DiT checkpoint.*conv\.weight"):
        describe(tmp_path / "other", BESIDE)


@pytest.mark.parametrize("name", ["consolidated.00-of-01.pth", "consolidated_ema.00-of-01.pth"])
def test_pickles_are_refused_by_name(tmp_path: Path, name: str):
    torch.save({"x": torch.zeros(1)}, tmp_path / name)
    with pytest.raises(DescriptionError, match=r"(pickled checkpoint.*convert it to safetensors|no consolidated)"):
        describe(tmp_path, BESIDE)
    with pytest.raises(DescriptionError, match="pickled checkpoint"):
        describe(tmp_path / name)


def test_pickles_are_refused_by_content(tmp_path: Path):
    torch.save({"x": torch.zeros(1)}, tmp_path / "generator.safetensors")
    with pytest.raises(CheckpointError, match=r"generator\.safetensors: a pickled checkpoint"):
        read_tensors(tmp_path / "generator.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 200, -1])
def test_files_cut_short_are_refused(own: Path, keep: int):
    file = own / "generator.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(DescriptionError, match=r"generator\.safetensors: .*(cut short|not a safetensors)"):
        describe(own)
    with pytest.raises(CheckpointError, match=r"generator\.safetensors"):
        read_tensors(file)


@pytest.mark.parametrize("junk", [b"\xff" * 64, b"\x10" + b"\0" * 7 + b"{}", b"\x02" + b"\0" * 7 + b"[]"])
def test_files_of_junk_are_refused(tmp_path: Path, junk: bytes):
    (tmp_path / "x.safetensors").write_bytes(junk)
    with pytest.raises(DescriptionError, match=r"x\.safetensors"):
        read_header(tmp_path / "x.safetensors")


def test_tensors_that_do_not_fit_are_listed(own: Path, model: NextDiT):
    tensors = dict(model.state_dict())
    del tensors["pad_token"]
    tensors["extra"] = torch.zeros(3)
    tensors["x_embedder.bias"] = torch.zeros(31)
    write_tensors(own / "generator.safetensors", tensors)
    wanted = r"1 missing: pad_token; 1 unexpected: extra; 1 wrong shape: x_embedder\.bias is \[31\] instead of \[32\]"
    with pytest.raises(DescriptionError, match=wanted):
        describe(own)
    with pytest.raises(CheckpointError, match=wanted):
        check_tensors(tensors, {name: tuple(t.shape) for name, t in model.state_dict().items()}, "here")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda v: v.update(format="parhelion-model/9"), "format is 'parhelion-model/9'"),
        (lambda v: v.pop("native_size"), "damaged or incomplete"),
        (lambda v: v["generator"].update(family="nextdot"), "unknown generator `nextdot`; did you mean `nextdit`"),
        (lambda v: v.update(modality="imge"), "unknown modality `imge`; did you mean `image`"),
        (lambda v: v["generator"]["config"].update(laeyrs=2), "Next-DiT: unknown laeyrs; known: .*did you mean layers"),
        (lambda v: v["generator"]["config"].update(layers=3), "missing: layers.2"),
    ],
)
def test_a_wrong_model_json_says_what_is_wrong(own: Path, edit: Callable[[dict[str, Any]], None], message: str):
    change(own / "model.json", edit)
    with pytest.raises(DescriptionError, match=message):
        describe(own)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("builtin/imoge", r"no built-in model `builtin/imoge`; .*known: "),
        ("./no/such/folder", "no such folder, and not a hub id"),
        ("nowhere", "no such folder"),
    ],
)
def test_unknown_sources_are_refused(source: str, message: str):
    with pytest.raises(DescriptionError, match=message):
        describe(source)


def test_settings_beside_a_source_are_checked(own: Path):
    with pytest.raises(DescriptionError, match="unknown model setting `codek`; did you mean `codec`"):
        describe(own, {"codek": {}})
    with pytest.raises(DescriptionError, match="unknown text encoder `hugingface`; did you mean `huggingface`"):
        describe(own, {"text_encoder": {"kind": "hugingface"}})
    with pytest.raises(DescriptionError, match="mapping with `kind`"):
        describe(own, {"codec": "vae"})
    changed = describe(
        own, {"defaults": {"sampler": "euler"}, "text_encoder": {"kind": "huggingface", "source": "a/b"}}
    )
    assert changed.defaults == {"steps": 8, "sampler": "euler"}
    assert changed.text_encoder == {"kind": "huggingface", "source": "a/b"}


def test_a_hub_id_that_is_not_here_is_described_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    known = describe("Alpha-VLLM/Lumina-Next-SFT-diffusers")
    assert known.folder is None
    assert known.parameters == 1_627_386_400
    assert known.stride == (8, 8)
    other = describe("some/model")
    assert (other.folder, other.files, other.parameters) == (None, (), 0)
    assert known.weights_hash() != other.weights_hash()


def test_a_hub_id_in_the_local_cache_is_its_folder(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--some--model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots").mkdir()
    own.rename(repository / "snapshots" / "abc")
    assert describe("some/model").parameters == describe(repository / "snapshots" / "abc").parameters > 0


def test_the_hash_follows_contents_and_not_places(own: Path, tmp_path: Path, model: NextDiT):
    def described(folder: Path) -> ModelDescription:
        return describe(folder)

    first = described(own).weights_hash()
    moved = own.rename(tmp_path / "moved")
    assert described(moved).weights_hash() == first
    with torch.no_grad():
        model.pad_token[0] += 1
    save_weights(model, moved / "generator.safetensors")
    assert described(moved).weights_hash() != first


def test_hashes_are_kept_until_the_file_changes(tmp_path: Path):
    file = tmp_path / "x"
    file.write_bytes(b"one")
    first = file_hash(file)
    assert first == file_hash(file)
    file.write_bytes(b"other")
    assert file_hash(file) != first


def test_shards_are_read_through_their_index(model: NextDiT, own: Path):
    tensors = dict(model.state_dict())
    names = sorted(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    (own / "generator.safetensors").unlink()
    for file, held in parts.items():
        write_tensors(own / file, {name: tensors[name] for name in held})
    index = {"weight_map": {name: file for file, held in parts.items() for name in held}}
    (own / "generator.safetensors.index.json").write_text(json.dumps(index))
    found = describe(own)
    assert [file.name for file in found.files] == ["a.safetensors", "b.safetensors"]
    load_generator(found, "cpu", torch.float32)
    (own / "b.safetensors").unlink()
    with pytest.raises(DescriptionError, match=r"names b\.safetensors, which the folder does not hold"):
        describe(own)
    index["weight_map"]["pad_token"] = "../b.safetensors"
    (own / "generator.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(DescriptionError, match="files of this folder"):
        describe(own)


def test_tensors_and_notes_come_back_and_equal_tensors_give_equal_bytes(tmp_path: Path):
    tensors = {"b": torch.arange(6).reshape(2, 3).t(), "a": torch.ones(2).bfloat16()}
    write_tensors(tmp_path / "x.safetensors", tensors, {"note": "here"})
    write_tensors(tmp_path / "y.safetensors", dict(reversed(tensors.items())), {"note": "here"})
    found = read_tensors(tmp_path / "x.safetensors", {"a": (2,), "b": (3, 2)})
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert read_metadata(tmp_path / "x.safetensors") == {"note": "here"}
    assert (tmp_path / "x.safetensors").read_bytes() == (tmp_path / "y.safetensors").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.safetensors", "y.safetensors"]


def test_weights_load_in_the_type_and_on_the_device_asked_for(own: Path):
    generator = load_generator(describe(own), "cpu", torch.bfloat16)
    assert {p.dtype for p in generator.model.parameters()} == {torch.bfloat16}  # type: ignore[attr-defined]


def test_named_sizes_are_found_again_from_their_shapes():
    from modalities.generators.nextdit.layouts import config_from_shapes, expected_shapes

    for name in ("2B-GQA", "2B"):
        assert config_from_shapes(expected_shapes(SIZES[name])) == SIZES[name]
