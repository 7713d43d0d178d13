"""The numbers that decide a Next-DiT, and the named sizes. Standard library only, so that planning stays cheap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, prod
from typing import Any, Self

from modalities.weights.configuration import config_from, plain_values

MOST_FOURIER_BANDS = 16
"""A float32 tells no finer waves apart: the 16th is 32,768 times as fine as the first."""


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
    bands: the channels are cut into so many groups, which form a last token axis with rotary positions of its own (a
    spectrogram as time by frequency). `patch` and `trained_tokens` go on naming the axes of the media alone.
    unordered: the tokens are a set (points): no rotary positions, so permuted noise gives permuted latents.
    coordinates: the first so many channels are coordinates, which are Fourier-embedded beside the token's features,
    with `fourier_bands` waves each; the slowest is `fourier_span` latent units long and every next one half as long.
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
    bands: int = 1
    unordered: bool = False
    coordinates: int = 0
    fourier_bands: int = 8
    fourier_span: float = 8.0

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
            "bands": self.bands,
            "fourier_bands": self.fourier_bands,
        }
        for name, value in whole.items():
            if value < 1:
                raise ValueError(f"{name} is {value}; expected a whole number of at least 1")
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is not divisible by heads {self.heads}")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} is not divisible by kv_heads {self.kv_heads}")
        axes = len(self.token_patch)
        if self.head_dim % 2 or self.head_dim < 2 * axes:
            raise ValueError(
                f"head width {self.head_dim} (dim {self.dim} / heads {self.heads}) cannot hold rotary pairs for "
                f"{axes} axes; it must be even and at least {2 * axes}"
            )
        self._check_bands()
        self._check_set()

    def _check_bands(self) -> None:
        if self.in_channels % self.bands:
            raise ValueError(f"in_channels {self.in_channels} is not divisible by bands {self.bands}")
        if len(self.token_patch) > 3:
            raise ValueError(f"bands {self.bands} would make a fourth axis of tokens; a Next-DiT has 1, 2 or 3")

    def _check_set(self) -> None:
        if self.unordered and (self.patch != (1,) or self.bands != 1):
            raise ValueError(f"an unordered model has patch (1,) and 1 band; got {self.patch} and {self.bands}")
        if not 0 <= self.coordinates <= self.in_channels:
            raise ValueError(f"coordinates is {self.coordinates}; expected 0 to in_channels ({self.in_channels})")
        if self.coordinates and not self.unordered:
            raise ValueError(f"coordinates is {self.coordinates}, but only an unordered model embeds coordinates")
        if self.fourier_bands > MOST_FOURIER_BANDS:
            raise ValueError(f"fourier_bands is {self.fourier_bands}; expected at most {MOST_FOURIER_BANDS}")
        if not 0 < self.fourier_span < inf:
            raise ValueError(f"fourier_span is {self.fourier_span}; expected a length above 0")

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
        return self.in_channels // self.bands * prod(self.patch)

    @property
    def embedded_features(self) -> int:
        """Numbers that the embedding of a token reads: its latent numbers and the waves of its coordinates."""
        return self.token_features + 2 * self.coordinates * self.fourier_bands

    @property
    def token_outputs(self) -> int:
        """Numbers that the network puts out for one token, the unused half included."""
        return self.out_channels // self.bands * prod(self.patch)

    @property
    def token_patch(self) -> tuple[int, ...]:
        """Latent cells per token of each token axis: those of the media and, with bands, one of bands."""
        return (*self.patch, 1) if self.bands > 1 else self.patch

    @property
    def token_axes(self) -> int:
        """Number of token axes: those of the media and, with bands, one more."""
        return len(self.token_patch)

    def grid(self, latent_axes: Sequence[int]) -> tuple[int, ...]:
        """Tokens per token axis of latents with so many cells per axis; ValueError when the patch does not fit."""
        grid = token_grid(latent_axes, self.patch)
        return (*grid, self.bands) if self.bands > 1 else grid

    @property
    def trained_grid(self) -> tuple[int, ...]:
        """Tokens per token axis of the trained size."""
        return (*self.trained_tokens, self.bands) if self.bands > 1 else self.trained_tokens

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Read a mapping such as the one in model.json. Unknown keys are refused; lists become tuples."""
        return config_from(cls, values, "Next-DiT")

    def to_mapping(self) -> dict[str, Any]:
        """All fields as JSON can hold them; `from_mapping` reads it back."""
        return plain_values(self)


def token_grid(axes: Sequence[int], patch: Sequence[int]) -> tuple[int, ...]:
    """Tokens per axis of latents with `axes` cells per axis; ValueError when the patch does not divide them."""
    if len(axes) != len(patch):
        raise ValueError(f"latents have {len(axes)} axes {tuple(axes)}; this model has {len(patch)}")
    for cells, step in zip(axes, patch, strict=True):
        if cells < step or cells % step:
            raise ValueError(f"latents of {tuple(axes)} cells are not divisible by the patch {tuple(patch)}")
    return tuple(cells // step for cells, step in zip(axes, patch, strict=True))


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
