"""The published discriminative tokenizer against a vision transformer written out, and its own way with positions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from modalities.codecs.dinov2_tokens import (
    MEAN,
    STD,
    DinoV2Config,
    DinoV2Tokens,
    config_from_shapes,
    expected_shapes,
    load_tokens,
    resized_positions,
)
from modalities.contracts import CheckpointError
from modalities.weights.checkpoint import write_tensors

CONFIG = DinoV2Config(dim=24, layers=2, heads=3, mlp_ratio=2, patch=7, grid=3, table=5, clusters=11)


def tensors(seed: int = 4) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    found = {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in expected_shapes(CONFIG).items()}
    return {name: tensor + ("norm" in name and "weight" in name) for name, tensor in found.items()}


def loaded(folder: Path) -> DinoV2Tokens:
    write_tensors(folder / "tokenizer.safetensors", tensors())
    return load_tokens(CONFIG, folder / "tokenizer.safetensors", "cpu")


def written_out(p: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """Features `[9, 24]` of one prepared picture `[3, 21, 21]`: every head and patch by itself, in float64."""
    p = {name: tensor.double() for name, tensor in p.items()}

    def norm(name: str, x: Tensor) -> Tensor:
        x = x - x.mean(-1, keepdim=True)
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * p[f"{name}.weight"] + p[f"{name}.bias"]

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    places = resized_positions(p["pos_embed"], 3)[0]
    rows = [p["cls_token"][0, 0] + places[0], *p["register_tokens"][0]]
    kernel = p["patch_embed.proj.weight"].flatten(1)
    for i in range(3):
        for j in range(3):
            cut = pixels[:, 7 * i : 7 * i + 7, 7 * j : 7 * j + 7].double().flatten()
            rows.append(kernel @ cut + p["patch_embed.proj.bias"] + places[1 + 3 * i + j])
    x = torch.stack(rows)
    for i in range(2):
        q, k, v = linear(f"blocks.{i}.attn.qkv", norm(f"blocks.{i}.norm1", x)).chunk(3, dim=1)
        heads = [
            torch.softmax(q[:, c : c + 8] @ k[:, c : c + 8].T / 8**0.5, dim=1) @ v[:, c : c + 8] for c in (0, 8, 16)
        ]
        x = x + p[f"blocks.{i}.ls1.gamma"] * linear(f"blocks.{i}.attn.proj", torch.cat(heads, dim=1))
        inner = linear(f"blocks.{i}.mlp.fc1", norm(f"blocks.{i}.norm2", x))
        inner = inner * 0.5 * (1 + torch.erf(inner / 2**0.5))
        x = x + p[f"blocks.{i}.ls2.gamma"] * linear(f"blocks.{i}.mlp.fc2", inner)
    return norm("norm", x)[5:]


def pictures(side: int, batch: int = 2) -> Tensor:
    return torch.rand((batch, 3, side, side), generator=torch.Generator().manual_seed(9)) * 2 - 1


@pytest.mark.parametrize("side", [21, 24])
def test_tokens_are_the_nearest_clusters_of_dinov2_features(tmp_path: Path, side: int):
    tokenizer, media, p = loaded(tmp_path), pictures(side), tensors()
    pixels = (media / 2 + 0.5 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    if side == 24:
        pixels = F.interpolate(pixels, scale_factor=0.875, mode="bicubic", align_corners=False)
    found = tokenizer.network.features(tokenizer.prepared(media))
    tokens = tokenizer.tokens(media)
    for i in range(2):
        wanted = written_out(p, pixels[i])
        assert (found[i].flatten(0, 1) - wanted).abs().max() < 1e-4
        distances = (wanted[:, None] - p["centroids"].double()).square().sum(-1)
        assert torch.equal(tokens[i].flatten(), distances.argmin(1))
    assert len(tokens.unique()) > 2
    assert torch.equal(tokens, torch.cat([tokenizer.tokens(one) for one in media.split(1)]))


def test_positions_are_resized_with_the_offset_of_the_release():
    """Against the kernel of Keys (1981), a = -0.75, cell by cell: i lies at (i + 1/2) n / (g + 0.1) - 1/2."""
    table = torch.randn(1, 26, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = resized_positions(table, 3)
    cells = table[0, 1:].view(5, 5, 2)

    def weight(x: float) -> float:
        x = abs(x)
        if x <= 1:
            return 1.25 * x**3 - 2.25 * x**2 + 1
        return -0.75 * x**3 + 3.75 * x**2 - 6 * x + 3 if x < 2 else 0.0

    matrix = torch.zeros(3, 5, dtype=torch.float64)
    for i in range(3):
        at = (i + 0.5) * 5 / 3.1 - 0.5
        first = int(at // 1)
        for j in range(first - 1, first + 3):
            matrix[i, min(max(j, 0), 4)] += weight(at - j)
    wanted = torch.einsum("ia,jb,abd->ijd", matrix, matrix, cells).reshape(9, 2)
    assert torch.allclose(found[0, 1:], wanted, atol=1e-9)
    assert torch.equal(found[0, 0], table[0, 0])
    assert (
        F.interpolate(cells.permute(2, 0, 1)[None], size=(3, 3), mode="bicubic")[0] - wanted.T.view(2, 3, 3)
    ).abs().max() > 0.01


@pytest.mark.parametrize(
    ("media", "message"),
    [(pictures(22), "sides of 21 or 24, not 22"), (pictures(24)[..., :21], "square pictures")],
)
def test_other_sizes_are_refused(tmp_path: Path, media: Tensor, message: str):
    with pytest.raises(ValueError, match=message):
        loaded(tmp_path).tokens(media)


def test_a_file_is_loaded_strictly(tmp_path: Path):
    write_tensors(tmp_path / "tokenizer.safetensors", {**tensors(), "mask_token": torch.zeros(1, 24)})
    with pytest.raises(CheckpointError, match="unexpected: mask_token"):
        load_tokens(CONFIG, tmp_path / "tokenizer.safetensors", "cpu")


def test_the_configuration_follows_from_shapes():
    shapes = expected_shapes(DinoV2Config())
    assert config_from_shapes(shapes) == DinoV2Config()
    large = DinoV2Config(dim=1024, layers=22, heads=16, clusters=16384)
    assert config_from_shapes(expected_shapes(large)) == large
    with pytest.raises(ValueError, match="768 wide, the features"):
        config_from_shapes(expected_shapes(large) | {"centroids": (16384, 768)})
    with pytest.raises(ValueError, match="no DINOv2"):
        config_from_shapes({"centroids": (3, 4)})
