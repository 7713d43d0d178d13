"""What a DiGIT costs, from its configuration alone: parameters, operations, memory. No torch.

A multiplication and an addition count as two operations. One evaluation is a whole picture: S semantic tokens and V VQ
codes. L is the number of text tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from modalities.generators.digit import config as digit
from modalities.generators.digit.config import DECODER_ROUNDS, DiGITConfig, StageConfig


def checked(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of the configuration, those not given as published; ValueError for what cannot be built."""
    return DiGITConfig.from_mapping(config).to_mapping()


def expected_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the checkpoint."""
    return digit.expected_shapes(DiGITConfig.from_mapping(config))


def parameters(config: Mapping[str, Any]) -> int:
    """Number of parameters of both stages, exactly."""
    return sum(prod(shape) for shape in expected_shapes(config).values())


def trained_cells(config: Mapping[str, Any]) -> tuple[int, ...]:
    """VQ codes of each axis of a picture, the only ones there are."""
    return DiGITConfig.from_mapping(config).code_grid


def patch(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Latent cells per token: one."""
    return (1, 1)


def tokens(config: Mapping[str, Any], latent_axes: Sequence[int]) -> int:
    """Tokens that are drawn for a picture, S + V; ValueError for another size than the trained one."""
    c = DiGITConfig.from_mapping(config)
    if tuple(latent_axes) != c.code_grid:
        raise ValueError(f"latents of {tuple(latent_axes)} codes; this model makes {c.code_grid} alone")
    return c.tokens + c.num_codes


def flops(config: Mapping[str, Any], tokens: int, text_tokens: int) -> int:
    """Operations of a whole picture whose text is prepared, matrix products only.

    Both stages one token after the other with keys and values kept; an evaluation of all codes at once costs a masked
    second stage as much for every round.
    """
    c = DiGITConfig.from_mapping(config)
    return _first(c, text_tokens) + _second(c)


def has_null_condition(config: Mapping[str, Any]) -> bool:
    """Whether there is guidance: text may be empty, but a class is always one of those that were trained."""
    return DiGITConfig.from_mapping(config).text_width > 0


def option_faults(config: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, str]:
    """What a model of this configuration cannot follow in the options of a step, by key."""
    c, sampler = DiGITConfig.from_mapping(config), options["sampler"]
    rounds, masked = decoder_rounds(c, sampler), c.decoder_order == "masked"
    faults = {}
    if sampler.get("temperature") == 0:
        faults["sampler.temperature"] = "temperature 0 divides by nothing; top_k: 1 takes the likeliest token"
    if bool(rounds) != masked:
        trained = "in rounds; at least 1" if masked else "one code after the other; expected 0"
        faults["sampler.decoder_steps"] = f"{rounds} rounds, but the second stage of this model was trained {trained}"
    elif rounds > c.num_codes:
        faults["sampler.decoder_steps"] = f"{rounds} rounds for {c.num_codes} codes; at most {c.num_codes}"
    return faults


def decoder_rounds(c: DiGITConfig, sampler: Mapping[str, Any]) -> int:
    """Rounds of the second stage, 0 for one code after the other."""
    return int(sampler.get("decoder_steps", DECODER_ROUNDS if c.decoder_order == "masked" else 0))


def evaluations(config: Mapping[str, Any], options: Mapping[str, Any]) -> int:
    """Evaluations of both stages for one sample: one a token, two with guidance, and one a round or code."""
    c = DiGITConfig.from_mapping(config)
    return c.tokens * _conditions(options) + (decoder_rounds(c, options["sampler"]) or c.num_codes)


def sample_flops(config: Mapping[str, Any], text_tokens: int, options: Mapping[str, Any]) -> int:
    """Operations of one sample whose text is prepared; a round of the second stage looks at everything anew."""
    c = DiGITConfig.from_mapping(config)
    rounds = decoder_rounds(c, options["sampler"])
    first, second = _first(c, text_tokens), _second(c)
    if rounds:
        rows = c.tokens + c.num_codes
        apart = 4 * c.decoder.dim * c.decoder.layers * (rows * (rows - 1) // 2)  # what causal attention leaves out
        second = rounds * (second + apart)
    return _conditions(options) * first + second


def _conditions(options: Mapping[str, Any]) -> int:
    return 1 if float(options["guidance"]["scale"]) == 1 else 2


def _first(c: DiGITConfig, text_tokens: int) -> int:
    """All tokens of the first stage, keys and values kept, and their logits."""
    text = min(text_tokens, c.text_tokens)
    return _sequence(c.semantic, c.tokens, before=text) + 2 * c.tokens * c.semantic.dim * c.semantic_ids


def _second(c: DiGITConfig) -> int:
    """All codes of the second stage, keys and values kept, and their logits."""
    return _sequence(c.decoder, c.tokens + c.num_codes) + 2 * c.num_codes * c.decoder.dim * c.code_ids


def _sequence(stage: StageConfig, tokens: int, before: int = 0) -> int:
    """Operations of all layers for tokens that see those `before` them and each other up to themselves."""
    seen = tokens * before + tokens * (tokens + 1) // 2
    products = 8 * stage.dim * stage.dim + 4 * stage.dim * stage.ffn  # four projections, two of the feed-forward
    return stage.layers * (tokens * products + 4 * seen * stage.dim)  # and scores and weighted sums


def text_flops(config: Mapping[str, Any], text_tokens: int) -> int:
    """Operations of the text of one sample, once: its projection and its way through the first stage."""
    c = DiGITConfig.from_mapping(config)
    text = min(text_tokens, c.text_tokens)
    products = 8 * c.semantic.dim**2 + 4 * c.semantic.dim * c.semantic.ffn
    layers = c.semantic.layers * (text * products + 4 * text * text * c.semantic.dim)
    return layers + 2 * text * c.text_width * c.semantic.dim


def activation_bytes(config: Mapping[str, Any], tokens: int, batch: int, bytes_per_value: int) -> int:
    """Peak memory beyond the weights: keys and values of the larger stage, and one layer over its sequence."""
    c = DiGITConfig.from_mapping(config)

    def peak(stage: StageConfig, length: int) -> int:
        kept = 2 * stage.layers * length * stage.dim
        layer = length * max(6 * stage.dim, 2 * stage.dim + 2 * stage.ffn)
        return kept + layer

    longest = max(peak(c.semantic, c.text_tokens + c.tokens), peak(c.decoder, c.tokens + 1 + c.num_codes))
    return batch * (longest * bytes_per_value + 8 * 4 * max(c.semantic_ids, c.code_ids))
