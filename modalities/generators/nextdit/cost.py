"""What a Next-DiT costs, from its configuration alone: parameters, operations, memory. No torch.

A multiplication and an addition count as two operations. N is the number of latent tokens, L of text tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from modalities.generators.nextdit.config import NextDiTConfig
from modalities.generators.nextdit.layouts import expected_shapes


def parameters(config: Mapping[str, Any]) -> int:
    """Number of parameters, exactly."""
    return sum(prod(shape) for shape in expected_shapes(NextDiTConfig.from_mapping(config)).values())


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

    The larger of the two moments of a block: queries, keys, values, both attention results and the stream; or the two
    hidden halves of the feed-forward network and the stream. Norms need their factor in float32.
    """
    c = NextDiTConfig.from_mapping(config)
    attention = 6 * c.dim + 4 * c.kv_dim
    feed_forward = 3 * c.dim + 2 * c.ffn_dim
    return batch * tokens * (max(attention, feed_forward) * bytes_per_value + 4 * c.dim)
