"""The numbers that decide a Next-DiT, and the named sizes. Standard library only, so that planning stays cheap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import prod
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class NextDiTConfig:
    """One Next-DiT (Lumina-Next, arXiv 2406.18583).

    patch: latent cells per token, one number per axis; its length is the number of axes (1, 2 or 3).
    in_channels: channels of the latents. learn_sigma: the network has twice as many outputs, of which the second half
    is thrown away (so in every released checkpoint).
    dim, layers, heads, kv_heads: width, depth, query heads, and key-value heads shared by groups of query heads.
    multiple_of, ffn_dim_multiplier: the feed-forward width is 8/3 dim, times the multiplier, rounded up.
    cap_feat_dim: width of the text encoder's tokens.
    trained_tokens: tokens per axis of the size that the model was trained at; extrapolation is measured from it.
    """

    patch: tuple[int, ...] = (2, 2)
    in_channels: int = 4
    learn_sigma: bool = True
    dim: int = 2304
    layers: int = 24
    heads: int = 32
    kv_heads: int = 8
    qk_norm: bool = True
    multiple_of: int = 256
    ffn_dim_multiplier: float | None = None
    norm_eps: float = 1e-5
    cap_feat_dim: int = 2048
    rope_theta: float = 10000.0
    trained_tokens: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        if not 1 <= len(self.patch) <= 3:
            raise ValueError(f"patch {self.patch} names {len(self.patch)} axes; a Next-DiT has 1, 2 or 3")
        if len(self.trained_tokens) != len(self.patch):
            raise ValueError(
                f"trained_tokens {self.trained_tokens} and patch {self.patch} name different numbers of axes"
            )
        whole = {
            "in_channels": self.in_channels,
            "dim": self.dim,
            "layers": self.layers,
            "heads": self.heads,
            "kv_heads": self.kv_heads,
            "multiple_of": self.multiple_of,
            "cap_feat_dim": self.cap_feat_dim,
            "patch": min(self.patch),
            "trained_tokens": min(self.trained_tokens),
        }
        for name, value in whole.items():
            if value < 1:
                raise ValueError(f"{name} is {value}; expected a whole number of at least 1")
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is not divisible by heads {self.heads}")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} is not divisible by kv_heads {self.kv_heads}")
        if self.head_dim % 2 or self.head_dim < 2 * self.axes:
            raise ValueError(
                f"head width {self.head_dim} (dim {self.dim} / heads {self.heads}) cannot hold rotary pairs for "
                f"{self.axes} axes; it must be even and at least {2 * self.axes}"
            )

    @property
    def axes(self) -> int:
        """Number of axes of the latents."""
        return len(self.patch)

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.dim // self.heads

    @property
    def kv_dim(self) -> int:
        """Width of all keys (or values) together."""
        return self.head_dim * self.kv_heads

    @property
    def conditioning_dim(self) -> int:
        """Width of the vector that modulates the blocks: time embedding plus pooled caption."""
        return min(self.dim, 1024)

    @property
    def ffn_dim(self) -> int:
        """Hidden width of the feed-forward network."""
        hidden = int(2 * 4 * self.dim / 3)
        if self.ffn_dim_multiplier is not None:
            hidden = int(self.ffn_dim_multiplier * hidden)
        return self.multiple_of * -(-hidden // self.multiple_of)

    @property
    def out_channels(self) -> int:
        """Channels that the network puts out, the unused half included."""
        return self.in_channels * (2 if self.learn_sigma else 1)

    @property
    def token_features(self) -> int:
        """Latent numbers in one token."""
        return self.in_channels * prod(self.patch)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Read a mapping such as the one in model.json. Unknown keys are refused; lists become tuples."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"unknown Next-DiT settings {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list | tuple) else v for k, v in values.items()}
        return cls(**arguments)

    def to_mapping(self) -> dict[str, Any]:
        """All fields as JSON can hold them; `from_mapping` reads it back."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


SIZES: dict[str, NextDiTConfig] = {
    "2B-GQA": NextDiTConfig(),
    "2B": NextDiTConfig(kv_heads=32),
    "builtin": NextDiTConfig(
        learn_sigma=False,
        dim=192,
        layers=6,
        heads=6,
        kv_heads=2,
        multiple_of=32,
        cap_feat_dim=704,
        trained_tokens=(8, 8),
    ),
    "tiny": NextDiTConfig(
        dim=64, layers=2, heads=4, kv_heads=2, multiple_of=32, cap_feat_dim=32, trained_tokens=(8, 8)
    ),
}
"""Configurations with a name. `2B-GQA` is Lumina-Next-T2I and -SFT as released from 29 May 2024; `builtin` is what
`workflows/train/image.yaml` trains."""
