"""What a Next-DiT costs, from its configuration alone: parameters, operations, memory. No torch.

A multiplication and an addition count as two operations. N is the number of latent tokens, L of text tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from modalities.generators.nextdit import layouts
from modalities.generators.nextdit.config import NextDiTConfig


def checked(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of the configuration, defaults filled in; ValueError for what cannot be built."""
    return NextDiTConfig.from_mapping(config).to_mapping()


def expected_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor, in the original layout."""
    return layouts.expected_shapes(NextDiTConfig.from_mapping(config))


def original_names(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Shapes of a checkpoint in either public layout, under original names; ValueError for anything else."""
    return layouts.to_original_shapes(shapes)


def trained_cells(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Latent cells of each media axis at the trained size."""
    c = NextDiTConfig.from_mapping(config)
    return tuple(n * p for n, p in zip(c.trained_tokens, c.patch, strict=True))


def patch(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Latent cells per token of each media axis."""
    return NextDiTConfig.from_mapping(config).patch


def parameters(config: Mapping[str, Any]) -> int:
    """Number of parameters, exactly."""
    return sum(prod(shape) for shape in expected_shapes(config).values())


def tokens(config: Mapping[str, Any], latent_axes: Sequence[int]) -> int:
    """Tokens of latents with so many cells per axis; ValueError when the patch does not divide them."""
    return prod(NextDiTConfig.from_mapping(config).grid(latent_axes))


def flops(config: Mapping[str, Any], tokens: int, text_tokens: int) -> int:
    """Operations of one evaluation for one sample whose text is prepared, matrix products only, term by term."""
    c = NextDiTConfig.from_mapping(config)
    per_layer = (
        2 * tokens * c.dim * (c.dim + 2 * c.kv_dim)  # queries, keys, values
        + 4 * tokens * tokens * c.dim  # self-attention: scores and weighted sum
        + 4 * tokens * text_tokens * c.dim  # attention to the text: idem
        + 2 * tokens * c.dim * c.dim  # output projection
        + 6 * tokens * c.dim * c.ffn_dim  # w1, w3, w2
        + 2 * c.conditioning_dim * 4 * c.dim  # modulation
    )
    ends = (
        2 * tokens * c.embedded_features * c.dim  # embedding
        + 2 * tokens * c.dim * c.token_outputs  # final projection
        + 2 * c.conditioning_dim * (256 + c.conditioning_dim + c.dim)  # time embedding, final modulation
    )
    return c.layers * per_layer + ends


def text_flops(config: Mapping[str, Any], text_tokens: int) -> int:
    """Operations of preparing the text of one sample, once: keys, values and the pooled caption."""
    c = NextDiTConfig.from_mapping(config)
    return c.layers * 4 * text_tokens * c.cap_feat_dim * c.kv_dim + 2 * c.cap_feat_dim * c.conditioning_dim


def activation_bytes(config: Mapping[str, Any], tokens: int, batch: int, bytes_per_value: int) -> int:
    """Peak memory of one evaluation beyond the weights, with attention computed in tiles.

    The largest of three moments: in a block, queries, keys, values, both attention results and the stream; or the two
    hidden halves of the feed-forward network and the stream; before the blocks, the Fourier features of coordinates in
    float32. Norms need their factor in float32.
    """
    c = NextDiTConfig.from_mapping(config)
    attention = 6 * c.dim + 4 * c.kv_dim
    feed_forward = 3 * c.dim + 2 * c.ffn_dim
    in_blocks = max(attention, feed_forward) * bytes_per_value + 4 * c.dim
    embedding = 4 * (c.embedded_features + 4 * c.coordinates * c.fourier_bands) + c.dim * bytes_per_value
    return batch * tokens * max(in_blocks, embedding)
