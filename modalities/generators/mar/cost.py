"""What a MAR costs, from its configuration alone: parameters, operations, memory. No torch.

A multiplication and an addition count as two operations. An evaluation is one iteration: a look of encoder and decoder,
and the head for the tokens that are drawn. The cosine schedule keeps 2 / pi of the tokens hidden on average.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import pi, prod
from typing import Any

from modalities.generators.mar import config as mar
from modalities.generators.mar.config import TIME_FEATURES, MARConfig

ITERATIONS, HEAD_STEPS = 64, 100
"""Of the published demonstration: what the head costs in one iteration depends on both."""


def checked(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of the configuration, the rest as in the base model; ValueError for what cannot be built."""
    return MARConfig.from_mapping(config).to_mapping()


def expected_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the checkpoint."""
    return mar.expected_shapes(MARConfig.from_mapping(config))


def parameters(config: Mapping[str, Any]) -> int:
    """Number of parameters, exactly."""
    return sum(prod(shape) for shape in expected_shapes(config).values())


def trained_cells(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Latent cells of both axes at the only size that there is."""
    return MARConfig.from_mapping(config).cells


def patch(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Latent cells per token of both axes."""
    return MARConfig.from_mapping(config).patch


def tokens(config: Mapping[str, Any], latent_axes: Sequence[int]) -> int:
    """Tokens of latents with so many cells per axis; ValueError for any but the trained ones: positions are learned."""
    c = MARConfig.from_mapping(config)
    if tuple(latent_axes) != c.cells:
        raise ValueError(
            f"latents of {tuple(latent_axes)} cells; a MAR makes the size that it was trained at alone, {c.cells} cells"
        )
    return c.tokens


def flops(config: Mapping[str, Any], tokens: int, text_tokens: int) -> int:
    """Operations of one of 64 iterations for one sample, matrix products only; the head takes 100 steps a token."""
    c = MARConfig.from_mapping(config)
    return _look(c, tokens) + (_drawing(c, tokens, HEAD_STEPS) + _times(c, HEAD_STEPS)) // ITERATIONS


def evaluations(config: Mapping[str, Any], options: Mapping[str, Any]) -> int:
    """Iterations of one sample; with guidance each looks at two conditions."""
    return int(options["steps"]) * _conditions(options)


def sample_flops(config: Mapping[str, Any], text_tokens: int, options: Mapping[str, Any]) -> int:
    """Operations of one sample whose text is prepared: looks, the head for every token, its times once."""
    c = MARConfig.from_mapping(config)
    steps = int(options["sampler"].get("head_steps", HEAD_STEPS))
    looks = evaluations(config, options) * _look(c, c.tokens)
    return looks + _conditions(options) * _drawing(c, c.tokens, steps) + _times(c, steps)


def option_faults(config: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, str]:
    """What a model of this configuration cannot follow in the options of a step, by key."""
    tokens = MARConfig.from_mapping(config).tokens
    steps = int(options["steps"])
    if steps <= tokens:
        return {}
    return {"steps": f"{steps} iterations for {tokens} tokens; each draws at least one, so at most {tokens}"}


def _conditions(options: Mapping[str, Any]) -> int:
    return 1 if float(options["guidance"]["scale"]) == 1 else 2


def _look(c: MARConfig, tokens: int) -> int:
    """Encoder and decoder once, with as many tokens hidden as there are on average."""
    rows = c.buffer + tokens
    seen = c.buffer + round(tokens * (1 - 2 / pi))
    trunk = c.layers * _block(c.dim, c.mlp_ratio, seen) + c.decoder_layers * _block(c.decoder_dim, c.mlp_ratio, rows)
    return trunk + 2 * seen * c.dim * (c.token_features + c.decoder_dim)


def _drawing(c: MARConfig, tokens: int, steps: int) -> int:
    """The head for so many tokens: each of its steps, and what it is told once."""
    step = 2 * c.head_dim * (5 * c.head_layers * c.head_dim + 2 * c.head_dim + 3 * c.token_features)
    return tokens * (steps * step + 2 * c.decoder_dim * c.head_dim)


def _times(c: MARConfig, steps: int) -> int:
    """The embeddings of the head's times, once for all."""
    return 2 * c.head_dim * (TIME_FEATURES + c.head_dim) * steps


def _block(width: int, ratio: int, rows: int) -> int:
    """Queries, keys, values and projection; perceptron; attention."""
    return rows * (8 + 4 * ratio) * width * width + 4 * rows * rows * width


def text_flops(config: Mapping[str, Any], text_tokens: int) -> int:
    """Operations of bringing the text of one sample into the buffer, once; nothing for classes."""
    c = MARConfig.from_mapping(config)
    if c.classes:
        return 0
    read = 4 * text_tokens * c.cap_feat_dim * c.dim + 4 * c.buffer * text_tokens * c.dim
    return read + c.buffer * (2 + 4 * c.mlp_ratio) * c.dim * c.dim


def activation_bytes(config: Mapping[str, Any], tokens: int, batch: int, bytes_per_value: int) -> int:
    """Peak memory of one evaluation beyond the weights, with attention computed in tiles.

    The larger of the two moments of a decoder's block: queries, keys, values, result and stream; or the hidden half of
    the perceptron before and after its activation, and the stream. Norms need theirs in float32.
    """
    c = MARConfig.from_mapping(config)
    width = max(c.dim, c.decoder_dim)
    return batch * (c.buffer + tokens) * width * (max(6, 2 + 2 * c.mlp_ratio) * bytes_per_value + 4)
