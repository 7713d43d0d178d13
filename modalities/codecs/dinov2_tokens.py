"""The discriminative tokens of the published DiGIT: features of DINOv2 with registers, and the nearest of its clusters.

What differs from stock DINOv2 in transformers, and is kept here because tokens depend on it: the features are those of
the third block from the end, after the model's last norm; the table of positions is resized once, by bicubic
interpolation with the scale (n + 0.1) / 37 and without antialiasing; and a larger picture is shrunk to 7 / 8 of its
side by plain bicubic interpolation after ImageNet's normalisation. Tensors keep the names of the DINOv2 release.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from modalities.codecs.semantic_tokens import SemanticTokenizer
from modalities.weights.checkpoint import read_tensors
from modalities.weights.configuration import config_from, plain_values

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, of pixels in 0..1."""
SHRINK = 0.875
OFFSET = 0.1
UNUSED = 2
"""Blocks at the end of the network whose output is not looked at: the features are the third's from the end."""
REGISTERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DinoV2Config:
    """Shape of the features' network and of the clusters; the defaults are those of the published base size.

    dim, layers, heads, mlp_ratio: of the blocks that are used; the release has UNUSED more. patch: pixels of a token's
    side. grid: tokens of a picture's side. table: those of the side that the positions were trained for.
    """

    dim: int = 768
    layers: int = 10
    heads: int = 12
    mlp_ratio: int = 4
    patch: int = 14
    grid: int = 16
    table: int = 37
    clusters: int = 8192

    def __post_init__(self) -> None:
        for name in ("dim", "layers", "heads", "mlp_ratio", "patch", "grid", "table", "clusters"):
            if getattr(self, name) < 1:
                raise ValueError(f"DINOv2: {name} is {getattr(self, name)}; expected a whole number of at least 1")
        if self.dim % self.heads:
            raise ValueError(f"DINOv2: dim {self.dim} is no multiple of heads {self.heads}")

    @property
    def side(self) -> int:
        """Pixels of the side that the network sees."""
        return self.patch * self.grid

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Read a configuration from plain values; ValueError names keys that do not exist."""
        return config_from(cls, values, "DINOv2")

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, as `model.json` holds them."""
        return plain_values(self)


class DinoV2Tokens:
    """Pictures to ids of clusters; argmin over k of |f - c_k|^2 for the feature f of each patch."""

    def __init__(self, network: SemanticTokenizer, config: DinoV2Config) -> None:
        self.network = network
        self.config = config

    @torch.no_grad()
    def tokens(self, media: Tensor) -> Tensor:
        """Ids `[B, grid, grid]` of media `[B, 3, H, W]` in -1..1; ValueError for other sides than `prepared` takes.

        One picture at a time, so that none depends on its batch mates.
        """
        return torch.cat([self.network.tokens(self.prepared(one)) for one in torch.split(media, 1)])

    def prepared(self, media: Tensor) -> Tensor:
        """Media as the network sees them: normalised, and shrunk where their side is 8 / 7 of what it sees."""
        side = self.config.side
        if media.ndim != 4 or media.shape[1] != 3 or media.shape[2] != media.shape[3]:
            raise ValueError(f"the tokenizer takes square pictures [B, 3, H, W], not {list(media.shape)}")
        if media.shape[2] not in (side, round(side / SHRINK)):
            raise ValueError(f"the tokenizer takes sides of {side} or {round(side / SHRINK)}, not {media.shape[2]}")
        mean, std = (torch.tensor(values, device=media.device).view(3, 1, 1) for values in (MEAN, STD))
        pixels = (media.float() * 0.5 + 0.5 - mean) / std
        return pixels if pixels.shape[2] == side else F.interpolate(pixels, scale_factor=SHRINK, mode="bicubic")


def expected_shapes(config: DinoV2Config) -> dict[str, tuple[int, ...]]:
    """Every tensor of `tokenizer.safetensors`: the clusters, and the release's names of what is used of the network."""
    dim, inner = config.dim, config.dim * config.mlp_ratio
    shapes: dict[str, tuple[int, ...]] = {
        "centroids": (config.clusters, dim),
        "cls_token": (1, 1, dim),
        "register_tokens": (1, REGISTERS, dim),
        "pos_embed": (1, 1 + config.table**2, dim),
        "patch_embed.proj.weight": (dim, 3, config.patch, config.patch),
        "patch_embed.proj.bias": (dim,),
        "norm.weight": (dim,),
        "norm.bias": (dim,),
    }
    for i in range(config.layers):
        for name, rows, columns in (
            ("attn.qkv", 3 * dim, dim),
            ("attn.proj", dim, dim),
            ("mlp.fc1", inner, dim),
            ("mlp.fc2", dim, inner),
        ):
            shapes |= {f"blocks.{i}.{name}.weight": (rows, columns), f"blocks.{i}.{name}.bias": (rows,)}
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma", "ls2.gamma"):
            shapes[f"blocks.{i}.{name}"] = (dim,)
    return shapes


def config_from_shapes(shapes: Mapping[str, tuple[int, ...]], heads: int | None = None) -> DinoV2Config:
    """The configuration of tensors under the names above; ValueError when they are no DINOv2.

    heads: 64 numbers each, as in every release, unless given. The grid is the published one of 16.
    """
    try:
        _, table, dim = shapes["pos_embed"]
        inner, _ = shapes["blocks.0.mlp.fc1.weight"]
        clusters, width = shapes["centroids"]
        patch = shapes["patch_embed.proj.weight"][-1]
    except (KeyError, ValueError) as error:
        raise ValueError(f"these tensors are no DINOv2 with clusters; {error} is not there or another shape") from None
    if width != dim:
        raise ValueError(f"clusters are {width} wide, the features {dim}; they belong to different networks")
    layers = len({name.split(".")[1] for name in shapes if name.startswith("blocks.")})
    return DinoV2Config(
        dim=dim,
        layers=layers,
        heads=heads or max(1, dim // 64),
        mlp_ratio=inner // dim,
        patch=patch,
        table=round((table - 1) ** 0.5),
        clusters=clusters,
    )


def load_tokens(config: DinoV2Config, file: Path, device: torch.device | str) -> DinoV2Tokens:
    """The tokenizer of a file, in float32; CheckpointError when the tensors do not fit the configuration."""
    tensors = {name: value.float() for name, value in read_tensors(file, expected_shapes(config)).items()}
    settings = {
        "hidden_size": config.dim,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "mlp_ratio": config.mlp_ratio,
        "image_size": config.side,
        "patch_size": config.patch,
        "num_register_tokens": REGISTERS,
    }
    with torch.device("meta"):
        network = SemanticTokenizer(settings, config.clusters)
    centroids = tensors.pop("centroids")
    network.load_state_dict({"centroids": centroids, **_encoder(tensors, config)}, assign=True)
    return DinoV2Tokens(network.to(device).eval().requires_grad_(False), config)


def resized_positions(table: Tensor, grid: int) -> Tensor:
    """A table `[1, 1 + n^2, D]` of positions for a grid of another side, the first row as it is.

    The scale given to the interpolation is (grid + 0.1) / n, which moves every sample a little from where a resize to
    `grid` would take it; released features, and so the clusters, were computed with it.
    """
    side, dim = round((table.shape[1] - 1) ** 0.5), table.shape[2]
    cells = table[:, 1:].view(1, side, side, dim).permute(0, 3, 1, 2)
    scale = (grid + OFFSET) / side
    cells = F.interpolate(cells, scale_factor=(scale, scale), mode="bicubic", antialias=False)
    return torch.cat([table[:, :1], cells.permute(0, 2, 3, 1).reshape(1, -1, dim)], dim=1)


def _encoder(tensors: Mapping[str, Tensor], config: DinoV2Config) -> dict[str, Tensor]:
    """The release's tensors under transformers' names; query, key and value apart."""
    found = {
        "embeddings.cls_token": tensors["cls_token"],
        "embeddings.mask_token": torch.zeros(1, config.dim),
        "embeddings.register_tokens": tensors["register_tokens"],
        "embeddings.position_embeddings": resized_positions(tensors["pos_embed"], config.grid),
        "embeddings.patch_embeddings.projection.weight": tensors["patch_embed.proj.weight"],
        "embeddings.patch_embeddings.projection.bias": tensors["patch_embed.proj.bias"],
        "layernorm.weight": tensors["norm.weight"],
        "layernorm.bias": tensors["norm.bias"],
    }
    for i in range(config.layers):
        ours, theirs = f"blocks.{i}", f"encoder.layer.{i}"
        for kind in ("weight", "bias"):
            parts = tensors[f"{ours}.attn.qkv.{kind}"].chunk(3)
            for letter, part in zip("qkv", parts, strict=True):
                found[f"{theirs}.attention.{letter}_proj.{kind}"] = part.clone()
            found[f"{theirs}.attention.o_proj.{kind}"] = tensors[f"{ours}.attn.proj.{kind}"]
            for name in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                found[f"{theirs}.{name}.{kind}"] = tensors[f"{ours}.{name}.{kind}"]
        for number in (1, 2):
            found[f"{theirs}.layer_scale{number}.lambda1"] = tensors[f"{ours}.ls{number}.gamma"]
    return {f"encoder.{name}": tensor for name, tensor in found.items()}
