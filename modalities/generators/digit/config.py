"""The numbers that decide a DiGIT. Standard library only, so that planning stays cheap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Self

from modalities.weights.configuration import config_from, plain_values

SPECIAL = 5
"""Ids before the first code in every dictionary: <s>, <pad>, </s>, <unk>, <n>; code k has the id k + 5."""
PAD, EOS, UNKNOWN = 1, 2, 3
DECODER_ROUNDS = 8
"""Rounds of a second stage that was trained with masks, unless asked otherwise: those of the published script."""
POSITION_OFFSET = 2
"""Row of the position table that the first token uses; the rows before it belong to no position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageConfig:
    """One of the two transformers; the defaults are those of the published base size.

    dim, layers, heads, ffn: width, depth, attention heads, width of the feed-forward network.
    pre_norm: norms before attention and feed-forward, and one at the end; otherwise after each, and none at the end.
    positions: tokens that the table of positions has rows for.
    """

    dim: int = 1024
    layers: int = 16
    heads: int = 16
    ffn: int = 4096
    pre_norm: bool = True
    positions: int = 1024

    def __post_init__(self) -> None:
        for name in ("dim", "layers", "heads", "ffn", "positions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a whole number of at least 1")
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is no multiple of heads {self.heads}")

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.dim // self.heads


def _first_stage() -> StageConfig:
    return StageConfig(pre_norm=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiGITConfig:
    """Both stages of a DiGIT (Zhu et al. 2024, arXiv 2410.12490); the defaults are those of the published base size.

    clusters: codes of the discriminative tokenizer. grid: its tokens of one picture, rows and columns.
    codes: codes of the VQ codec. code_grid: its codes of one picture, rows and columns.
    classes: class ids that the first stage knows; 0 for none. text_width: width of the text encoder's tokens, which
    then stand before the picture's; 0 for none. text_tokens: rows of their table of positions; longer text is cut.
    semantic: the first stage, semantic tokens one after the other. decoder: the second, from them to VQ codes.
    decoder_order: how the second stage was trained, and so how it is sampled unless asked otherwise:
    `autoregressive`, or `masked` (all codes at once, over some rounds).
    """

    clusters: int = 8192
    grid: tuple[int, int] = (16, 16)
    codes: int = 1024
    code_grid: tuple[int, int] = (16, 16)
    classes: int = 0
    text_width: int = 0
    text_tokens: int = 0
    semantic: StageConfig = field(default_factory=_first_stage)
    decoder: StageConfig = field(default_factory=StageConfig)
    decoder_order: str = "autoregressive"

    def __post_init__(self) -> None:
        if self.clusters < 1 or self.codes < 1:
            raise ValueError(f"clusters {self.clusters} and codes {self.codes} should be at least 1")
        for name in ("grid", "code_grid"):
            found = getattr(self, name)
            if len(found) != 2 or min(found) < 1:
                raise ValueError(f"{name} {found} should be two numbers of at least 1, rows and columns")
        if self.classes < 0 or self.text_width < 0 or (self.classes and self.text_width):
            raise ValueError(
                f"classes {self.classes}, text_width {self.text_width}: a model reads classes, text or neither"
            )
        if (self.text_width > 0) != (self.text_tokens > 0):
            raise ValueError(f"text_width {self.text_width} and text_tokens {self.text_tokens}: both or neither")
        if self.decoder_order not in DECODER_ORDERS:
            raise ValueError(f"decoder_order is {self.decoder_order!r}; known: {', '.join(DECODER_ORDERS)}")
        for stage, longest in (("semantic", self.tokens), ("decoder", max(self.tokens, self.num_codes))):
            if getattr(self, stage).positions < longest + 1:
                raise ValueError(
                    f"{stage}.positions is {getattr(self, stage).positions}; {longest + 1} are needed for "
                    f"{longest} tokens and their start"
                )

    @property
    def tokens(self) -> int:
        """Semantic tokens of one picture."""
        return prod(self.grid)

    @property
    def num_codes(self) -> int:
        """VQ codes of one picture."""
        return prod(self.code_grid)

    @property
    def semantic_ids(self) -> int:
        """Ids of the first stage's output: the special ones and the clusters."""
        return self.clusters + SPECIAL

    @property
    def code_ids(self) -> int:
        """Ids of the second stage's output: the special ones and the VQ codes."""
        return self.codes + SPECIAL

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Read a mapping such as the one in model.json. Unknown keys are refused; lists become tuples."""
        found = dict(values)
        for stage in ("semantic", "decoder"):
            if isinstance(found.get(stage), Mapping):
                own = ({"pre_norm": False} if stage == "semantic" else {}) | dict(found[stage])
                found[stage] = config_from(StageConfig, own, f"DiGIT {stage} stage")
        return config_from(cls, found, "DiGIT")

    def to_mapping(self) -> dict[str, Any]:
        """All fields as JSON can hold them; `from_mapping` reads it back."""
        return plain_values(self)


DECODER_ORDERS = ("autoregressive", "masked")


def expected_shapes(config: DiGITConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of a checkpoint: the published names of each stage behind `semantic.` and `decoder.`."""
    first, second = config.semantic, config.decoder
    shapes = {
        "embed_tokens.weight": (config.semantic_ids + config.classes, first.dim),
        "embed_positions.weight": (first.positions + POSITION_OFFSET, first.dim),
        **_trunk(first, config.semantic_ids),
    }
    if config.text_width:
        shapes |= {
            "text_norm.weight": (config.text_width,),
            "text_norm.bias": (config.text_width,),
            **_linear("text_projection", first.dim, config.text_width),
            "text_positions.weight": (config.text_tokens, first.dim),
        }
    pixels = {
        "embed_tokens.weight": (config.code_ids + config.semantic_ids, second.dim),
        "embed_positions.weight": (second.positions + POSITION_OFFSET, second.dim),
        "embed_positions_1.weight": (second.positions + POSITION_OFFSET, second.dim),
        **_trunk(second, config.code_ids),
    }
    return {f"semantic.{name}": shape for name, shape in shapes.items()} | {
        f"decoder.{name}": shape for name, shape in pixels.items()
    }


def _trunk(stage: StageConfig, outputs: int) -> dict[str, tuple[int, ...]]:
    """Layers, the norm after them where there is one, and the output."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i in range(stage.layers):
        layer = f"layers.{i}"
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= _linear(f"{layer}.self_attn.{name}", stage.dim, stage.dim)
        for name in ("self_attn_layer_norm", "final_layer_norm"):
            shapes |= {f"{layer}.{name}.weight": (stage.dim,), f"{layer}.{name}.bias": (stage.dim,)}
        shapes |= _linear(f"{layer}.fc1", stage.ffn, stage.dim)
        shapes |= _linear(f"{layer}.fc2", stage.dim, stage.ffn)
    if stage.pre_norm:
        shapes |= {"layer_norm.weight": (stage.dim,), "layer_norm.bias": (stage.dim,)}
    return shapes | {"output_projection.weight": (outputs, stage.dim)}


def _linear(name: str, *weight: int) -> dict[str, tuple[int, ...]]:
    """A weight and its bias."""
    return {f"{name}.weight": weight, f"{name}.bias": weight[:1]}
