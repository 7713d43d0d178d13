"""Weights in float16 and int8: what is lost, what is refused, and that every reader understands them."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from modalities.contracts import CheckpointError
from modalities.generators.nextdit.config import NextDiTConfig
from modalities.generators.nextdit.model import NextDiT
from modalities.weights.checkpoint import read_tensors, write_model_json, write_tensors
from modalities.weights.description import DescriptionError, describe
from modalities.weights.headers import read_header
from modalities.weights.loading import load_generator
from modalities.weights.storage import from_int8, restored, stored, to_int8

TENSORS = {
    "matrix": torch.randn(5, 9, generator=torch.Generator().manual_seed(0)) * torch.logspace(-6, 3, 5)[:, None],
    "kernel": torch.randn(4, 3, 7, generator=torch.Generator().manual_seed(1)),
    "vector": torch.randn(6, generator=torch.Generator().manual_seed(2)),
    "rows": torch.arange(4),
    "nothing": torch.zeros(2, 3),
}


def test_matrices_lose_at_most_half_a_step_of_their_row():
    for name in ("matrix", "kernel"):
        codes, scale = to_int8(TENSORS[name])
        assert codes.dtype == torch.int8
        assert codes.abs().flatten(1).amax(1).tolist() == [127] * len(codes)
        error = (from_int8(codes, scale) - TENSORS[name]).abs().flatten(1).amax(1)
        assert (error <= scale * 0.501).all()


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_files_come_back_under_their_names_in_their_shapes(tmp_path: Path, storage: str):
    tensors = {name: tensor for name, tensor in TENSORS.items() if storage == "int8" or name != "matrix"}
    write_tensors(tmp_path / "w.safetensors", tensors, {"note": "here"}, storage=storage)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    assert read_header(tmp_path / "w.safetensors") == shapes
    found = read_tensors(tmp_path / "w.safetensors", shapes)
    assert torch.equal(found["rows"], TENSORS["rows"])
    assert found["nothing"].abs().max() == 0
    for name in ("kernel", "vector"):
        torch.testing.assert_close(found[name].float(), TENSORS[name], atol=0.02 if storage == "int8" else 1e-3, rtol=0)
    if storage == "int8":
        assert torch.equal(found["vector"], TENSORS["vector"])
        assert load_file(tmp_path / "w.safetensors")["matrix"].dtype == torch.int8


def test_int8_takes_a_quarter_of_the_bytes(tmp_path: Path):
    tensors = {"weight": torch.randn(200, 300)}
    write_tensors(tmp_path / "wide.safetensors", tensors)
    write_tensors(tmp_path / "narrow.safetensors", tensors, storage="int8")
    wide, narrow = ((tmp_path / f"{name}.safetensors").stat().st_size for name in ("wide", "narrow"))
    assert narrow < 0.26 * wide


def test_storing_twice_changes_nothing_more():
    once = restored(stored(TENSORS, "int8"), "here")
    twice = restored(stored(once, "int8"), "here")
    assert all(torch.allclose(once[name].float(), twice[name].float(), rtol=1e-6, atol=0) for name in once)


def test_values_that_a_storage_cannot_hold_are_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match="matrix: values that float16 cannot hold"):
        write_tensors(tmp_path / "w.safetensors", {"matrix": torch.full((2, 2), 1e6)}, storage="float16")
    for bad in (float("nan"), float("inf")):
        with pytest.raises(CheckpointError, match="values that int8 cannot hold"):
            write_tensors(tmp_path / "w.safetensors", {"matrix": torch.tensor([[1.0, bad]])}, storage="int8")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="unknown storage `int4`; known: float16, int8"):
        stored(TENSORS, "int4")
    with pytest.raises(ValueError, match=r"needs the name x\.scale"):
        stored({"x": torch.zeros(2, 2), "x.scale": torch.zeros(2)}, "int8")


@pytest.mark.parametrize(
    "broken",
    [
        {"x": torch.zeros(2, 3, dtype=torch.int8)},
        {"x": torch.zeros(2, 3, dtype=torch.int8), "x.scale": torch.zeros(3)},
        {"x": torch.zeros(2, 3, dtype=torch.int8), "x.scale": torch.zeros(2, dtype=torch.int64)},
        {"x": torch.zeros(2, dtype=torch.int8), "x.scale": torch.zeros(2)},
    ],
)
def test_codes_without_their_scales_are_refused_by_header_and_by_content(
    tmp_path: Path, broken: dict[str, torch.Tensor]
):
    save_file(broken, tmp_path / "x.safetensors")
    with pytest.raises(DescriptionError, match=r"x is int8, but x\.scale is not one float for each"):
        read_header(tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"x is int8, but x\.scale is not one float for each"):
        read_tensors(tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="here: x is int8"):
        restored(broken, "here")


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_impossible_scales_are_refused(tmp_path: Path, bad: float):
    save_file(
        {"x": torch.ones(2, 3, dtype=torch.int8), "x.scale": torch.tensor([1.0, bad])}, tmp_path / "x.safetensors"
    )
    with pytest.raises(CheckpointError, match="negative or not finite"):
        read_tensors(tmp_path / "x.safetensors")


def test_a_header_that_lies_about_the_bytes_of_int8_is_refused(tmp_path: Path):
    header = json.dumps({"x": {"dtype": "I8", "shape": [2, 3], "data_offsets": [0, 5]}}).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(5))
    with pytest.raises(DescriptionError, match="shape of x does not match its bytes"):
        read_header(tmp_path / "x.safetensors")


def test_a_scale_of_its_own_is_an_ordinary_tensor(tmp_path: Path):
    write_tensors(tmp_path / "x.safetensors", {"norm.scale": torch.ones(3)})
    assert read_header(tmp_path / "x.safetensors") == {"norm.scale": (3,)}
    assert torch.equal(read_tensors(tmp_path / "x.safetensors")["norm.scale"], torch.ones(3))


def test_a_model_stored_as_int8_is_described_and_loaded(tmp_path: Path):
    config = NextDiTConfig(dim=32, layers=2, heads=2, kv_heads=1, multiple_of=16, cap_feat_dim=8, trained_tokens=(4, 4))
    torch.manual_seed(0)
    model = NextDiT(config)
    write_tensors(tmp_path / "generator.safetensors", dict(model.state_dict()), storage="int8")
    write_tensors(tmp_path / "codec.safetensors", {"weight": torch.zeros(1)})
    values = {
        "modality": "image",
        "generator": {"family": "nextdit", "config": config.to_mapping()},
        "codec": {"kind": "image-autoencoder", "config": {}},
        "native_size": [32, 32],
    }
    write_model_json(tmp_path, values)
    found = describe(tmp_path)
    assert found.parameters == sum(p.numel() for p in model.parameters())
    loaded = load_generator(found, "cpu", torch.float32)
    state = loaded.model.state_dict()  # type: ignore[attr-defined]
    for name, tensor in model.state_dict().items():
        assert state[name].dtype == torch.float32
        torch.testing.assert_close(state[name], tensor, atol=float(tensor.abs().max()) / 127 / 2 * 1.01, rtol=0)


@pytest.mark.parametrize("length", [640, 896, 1152, 1408])
def test_a_header_whose_length_begins_as_a_pickle_does_is_read(tmp_path: Path, length: int):
    path = tmp_path / "w.safetensors"
    for pad in range(length):
        save_file({"a": torch.zeros(2)}, path, metadata={"pad": "x" * pad})
        if struct.unpack("<Q", path.read_bytes()[:8])[0] == length:
            break
    assert path.read_bytes()[0] == 0x80
    assert read_header(path) == {"a": (2,)}
    path.write_bytes(path.read_bytes()[:8] + b"}" + path.read_bytes()[9:])
    with pytest.raises(DescriptionError, match="pickled"):
        read_header(path)
