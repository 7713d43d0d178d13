"""What a Flag-DiT costs, from its configuration alone: parameters, operations, memory. No torch.

A multiplication and an addition count as two operations. N is the number of latent tokens, L of text tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from modalities.generators.flagdit import config as flagdit
from modalities.generators.flagdit.config import FlagDiTConfig


def checked(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of the configuration, those that are not given as released; ValueError for what cannot be built."""
    return FlagDiTConfig.from_mapping(config).to_mapping()


def expected_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the checkpoint."""
    return flagdit.expected_shapes(FlagDiTConfig.from_mapping(config))


def parameters(config: Mapping[str, Any]) -> int:
    """Number of parameters, exactly."""
    return sum(prod(shape) for shape in expected_shapes(config).values())


def trained_cells(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Latent frames at the trained size; one number, since there is one axis."""
    return FlagDiTConfig.from_mapping(config).trained_tokens


def patch(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Latent frames per token: one."""
    return FlagDiTConfig.from_mapping(config).parts.patch


def tokens(config: Mapping[str, Any], latent_axes: Sequence[int]) -> int:
    """Tokens of latents with so many frames: one for each; ValueError for more or fewer than one axis."""
    if len(latent_axes) != len(patch(config)) or latent_axes[0] < 1:
        raise ValueError(f"latents of {tuple(latent_axes)} cells do not fit a model with one axis")
    return latent_axes[0]


def flops(config: Mapping[str, Any], tokens: int, text_tokens: int) -> int:
    """Operations of one evaluation for one sample whose text is prepared, matrix products only, term by term."""
    c = FlagDiTConfig.from_mapping(config)
    per_layer = (
        6 * tokens * c.dim * c.dim  # queries, keys, values
        + 4 * tokens * tokens * c.dim  # self-attention: scores and weighted sum
        + 4 * tokens * text_tokens * c.dim  # attention to the text: idem
        + 2 * tokens * c.dim * c.dim  # output projection
        + 6 * tokens * c.dim * c.parts.ffn_dim  # w1, w3, w2
        + 12 * c.dim * c.dim  # modulation
    )
    ends = (
        4 * tokens * c.in_channels * c.dim  # embedding, final projection
        + 2 * c.dim * (256 + c.dim)  # time embedding
        + 4 * c.dim * c.dim  # final modulation
    )
    return c.layers * per_layer + ends


def text_flops(config: Mapping[str, Any], text_tokens: int) -> int:
    """Operations of preparing the text of one sample, once: keys, values and the pooled caption."""
    c = FlagDiTConfig.from_mapping(config)
    return c.layers * 4 * text_tokens * c.cap_feat_dim * c.dim + 2 * c.cap_feat_dim * c.dim


def activation_bytes(config: Mapping[str, Any], tokens: int, batch: int, bytes_per_value: int) -> int:
    """Peak memory of one evaluation beyond the weights, with attention computed in tiles.

    The larger of the two moments of a block: queries, keys, values, both attention results, their rotated copies and
    the stream; or the two hidden halves of the feed-forward network and the stream. Norms need their factor in float32.
    """
    c = FlagDiTConfig.from_mapping(config)
    attention, feed_forward = 9 * c.dim, 3 * c.dim + 3 * c.parts.ffn_dim
    return batch * tokens * (max(attention, feed_forward) * bytes_per_value + 4 * c.dim)


def original_names(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Shapes of a stored checkpoint under the names of `expected_shapes`: without the published prefix, if it is on."""
    return flagdit.without_prefix(shapes)
