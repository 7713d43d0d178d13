"""The numbers that decide a MAR, the published sizes, and its tensors by name. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Self

from modalities.weights.configuration import config_from, plain_values

TIME_FEATURES = 256
"""Sinusoids of a diffusion time."""
SKETCH, SKETCH_HIDDEN = 32, 3
"""Numbers that a prompt alone says of each token, and the hidden width of what says them, in widths of the encoder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MARConfig:
    """One MAR; the defaults are those of the published base model.

    patch: latent cells per token of both axes. in_channels: channels of the latents. trained_tokens: tokens of both
    axes; positions are learned, so there is no other size.
    dim, layers, heads: of the encoder. decoder_dim, decoder_layers, decoder_heads: of the decoder. mlp_ratio: hidden
    width of a block's perceptron over its width. buffer: rows in front of the tokens that carry the condition.
    classes: number of classes that condition the model; 0 for text. cap_feat_dim: width of the conditioning's tokens: 1
    for classes (the number of the class), otherwise that of the text encoder.
    head_dim, head_layers: of the perceptron that draws one token by diffusion. bound: no latent is larger, which keeps
    the first steps of a small head in check; 0 for no bound, as published.
    The rest matters to training alone. masked: least part of the tokens that a step hides. head_repeats: times and
    noises that a step draws for each hidden token. head_tokens: hidden tokens of a sample that a step looks at, 0 for
    all. noisy_weight: how much more an error at a noisy time may count than one at a clean time (`diffusion.loss`).
    foresight: weight of a second loss, by which the first numbers of z are the token itself as far as it can be
    foreseen, which is less noisy than the first. dropout: of attention, projections and perceptrons.
    """

    patch: tuple[int, ...] = (1, 1)
    in_channels: int = 16
    trained_tokens: tuple[int, ...] = (16, 16)
    dim: int = 768
    layers: int = 12
    heads: int = 12
    decoder_dim: int = 768
    decoder_layers: int = 12
    decoder_heads: int = 12
    mlp_ratio: int = 4
    buffer: int = 64
    classes: int = 1000
    cap_feat_dim: int = 1
    head_dim: int = 1024
    head_layers: int = 6
    bound: float = 0.0
    masked: float = 0.7
    head_repeats: int = 4
    head_tokens: int = 0
    noisy_weight: float = 1.0
    foresight: float = 0.0
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if len(self.patch) != 2 or len(self.trained_tokens) != 2:
            raise ValueError(f"patch {self.patch} and trained_tokens {self.trained_tokens} should name two axes each")
        whole = ("in_channels", "dim", "layers", "heads", "decoder_dim", "decoder_layers", "decoder_heads", "mlp_ratio")
        numbers = {name: getattr(self, name) for name in (*whole, "buffer", "cap_feat_dim", "head_dim", "head_layers")}
        numbers |= {"patch": min(self.patch), "trained_tokens": min(self.trained_tokens)}
        for name, value in (numbers | {"head_repeats": self.head_repeats}).items():
            if value < 1:
                raise ValueError(f"{name} is {value}; expected a whole number of at least 1")
        for name, width, heads in (
            ("heads", self.dim, self.heads),
            ("decoder_heads", self.decoder_dim, self.decoder_heads),
        ):
            if width % heads:
                raise ValueError(f"{name} is {heads}, which does not divide the width {width}")
        for name in ("classes", "head_tokens", "bound", "foresight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 0")
        if self.classes and self.cap_feat_dim != 1:
            raise ValueError(f"cap_feat_dim is {self.cap_feat_dim}; a model of classes is told one number, so 1")
        if self.noisy_weight < 1:
            raise ValueError(f"noisy_weight is {self.noisy_weight}; expected at least 1")
        if not 0 < self.masked < 1 or not 0 <= self.dropout < 1:
            raise ValueError(f"masked {self.masked} should lie between 0 and 1, dropout {self.dropout} from 0 to 1")

    @property
    def tokens(self) -> int:
        """L: tokens of a sample."""
        return prod(self.trained_tokens)

    @property
    def token_features(self) -> int:
        """F: latent numbers in one token."""
        return self.in_channels * prod(self.patch)

    @property
    def cells(self) -> tuple[int, ...]:
        """Latent cells of both axes."""
        return tuple(n * p for n, p in zip(self.trained_tokens, self.patch, strict=True))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Read a mapping such as the one in model.json. Unknown keys are refused; lists become tuples."""
        return config_from(cls, values, "MAR")

    def to_mapping(self) -> dict[str, Any]:
        """All fields as JSON can hold them; `from_mapping` reads it back."""
        return plain_values(self)


def size(dim: int, layers: int, heads: int, head_dim: int, head_layers: int) -> MARConfig:
    """A published size: encoder and decoder alike."""
    return MARConfig(
        dim=dim,
        layers=layers,
        heads=heads,
        decoder_dim=dim,
        decoder_layers=layers,
        decoder_heads=heads,
        head_dim=head_dim,
        head_layers=head_layers,
    )


SIZES: dict[str, MARConfig] = {
    "base": size(768, 12, 12, 1024, 6),
    "large": size(1024, 16, 16, 1280, 8),
    "huge": size(1280, 20, 16, 1536, 12),
}
"""The published models. Their head widths are 64, 64 and 80, so heads cannot be told from a width alone."""


def expected_shapes(config: MARConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of a checkpoint under its published name; those of a text condition as `text.*`, `sketch.*`."""
    c, rows = config, config.buffer + config.tokens
    shapes: dict[str, tuple[int, ...]] = {
        **_linear("z_proj", c.dim, c.token_features),
        **_linear("z_proj_ln", c.dim),
        "encoder_pos_embed_learned": (1, rows, c.dim),
        **_linear("encoder_norm", c.dim),
        **_linear("decoder_embed", c.decoder_dim, c.dim),
        "mask_token": (1, 1, c.decoder_dim),
        "decoder_pos_embed_learned": (1, rows, c.decoder_dim),
        **_linear("decoder_norm", c.decoder_dim),
        "diffusion_pos_embed_learned": (1, c.tokens, c.decoder_dim),
        **(_text_shapes(c) if not c.classes else {"class_emb.weight": (c.classes, c.dim), "fake_latent": (1, c.dim)}),
    }
    for i in range(c.layers):
        shapes |= _block(f"encoder_blocks.{i}", c.dim, c.mlp_ratio)
    for i in range(c.decoder_layers):
        shapes |= _block(f"decoder_blocks.{i}", c.decoder_dim, c.mlp_ratio)
    return shapes | {f"diffloss.net.{name}": shape for name, shape in _head_shapes(c).items()}


def _text_shapes(c: MARConfig) -> dict[str, tuple[int, ...]]:
    return {
        "text.query": (c.buffer, c.dim),
        **_linear("text.norm", c.cap_feat_dim),
        **_linear("text.kv", 2 * c.dim, c.cap_feat_dim),
        **_linear("text.proj", c.dim, c.dim),
        **_linear("text.norm2", c.dim),
        **_linear("text.mlp.fc1", c.mlp_ratio * c.dim, c.dim),
        **_linear("text.mlp.fc2", c.dim, c.mlp_ratio * c.dim),
        **_linear("sketch.norm", c.cap_feat_dim),
        **_linear("sketch.fc1", SKETCH_HIDDEN * c.dim, c.cap_feat_dim),
        **_linear("sketch.fc2", c.tokens * SKETCH, SKETCH_HIDDEN * c.dim),
        **_linear("sketch.proj", c.decoder_dim, SKETCH),
    }


def _block(name: str, width: int, ratio: int) -> dict[str, tuple[int, ...]]:
    return {
        **_linear(f"{name}.norm1", width),
        **_linear(f"{name}.attn.qkv", 3 * width, width),
        **_linear(f"{name}.attn.proj", width, width),
        **_linear(f"{name}.norm2", width),
        **_linear(f"{name}.mlp.fc1", ratio * width, width),
        **_linear(f"{name}.mlp.fc2", width, ratio * width),
    }


def _head_shapes(c: MARConfig) -> dict[str, tuple[int, ...]]:
    width = c.head_dim
    shapes = {
        **_linear("time_embed.mlp.0", width, TIME_FEATURES),
        **_linear("time_embed.mlp.2", width, width),
        **_linear("cond_embed", width, c.decoder_dim),
        **_linear("input_proj", width, c.token_features),
        **_linear("final_layer.linear", 2 * c.token_features, width),
        **_linear("final_layer.adaLN_modulation.1", 2 * width, width),
    }
    for j in range(c.head_layers):
        shapes |= _linear(f"res_blocks.{j}.in_ln", width)
        shapes |= _linear(f"res_blocks.{j}.mlp.0", width, width)
        shapes |= _linear(f"res_blocks.{j}.mlp.2", width, width)
        shapes |= _linear(f"res_blocks.{j}.adaLN_modulation.1", 3 * width, width)
    return shapes


def config_from_shapes(shapes: Mapping[str, tuple[int, ...]], **known: Any) -> MARConfig:
    """The configuration of tensors under their published names; ValueError when they are no MAR.

    Grids are square, and heads are those of the published size of that width, unless `known` says otherwise.
    """
    try:
        dim, features = shapes["z_proj.weight"]
        _, tokens, decoder_dim = shapes["diffusion_pos_embed_learned"]
        buffer = shapes["encoder_pos_embed_learned"][1] - tokens
        classes, _ = shapes["class_emb.weight"]
        head_dim, _ = shapes["diffloss.net.cond_embed.weight"]
        hidden, _ = shapes["encoder_blocks.0.mlp.fc1.weight"]
    except (KeyError, ValueError) as error:
        raise ValueError(f"these tensors are no MAR; {error} is not there or has another shape") from None
    heads = {c.dim: c.heads for c in SIZES.values()}
    if not {"heads", "decoder_heads"} <= set(known) and not {dim, decoder_dim} <= set(heads):
        raise ValueError(f"width {dim} is none of the published ones ({', '.join(map(str, heads))}); heads are unknown")
    side = round(tokens**0.5)
    values: dict[str, Any] = {
        "in_channels": features,
        "trained_tokens": (side, side),
        "dim": dim,
        "layers": _count(shapes, "encoder_blocks."),
        "heads": heads.get(dim),
        "decoder_dim": decoder_dim,
        "decoder_layers": _count(shapes, "decoder_blocks."),
        "decoder_heads": heads.get(decoder_dim),
        "mlp_ratio": hidden // dim,
        "buffer": buffer,
        "classes": classes,
        "head_dim": head_dim,
        "head_layers": _count(shapes, "diffloss.net.res_blocks."),
    }
    return MARConfig(**(values | known))


def _count(shapes: Mapping[str, tuple[int, ...]], prefix: str) -> int:
    return len({name.removeprefix(prefix).split(".")[0] for name in shapes if name.startswith(prefix)})


def _linear(name: str, *weight: int) -> dict[str, tuple[int, ...]]:
    """A weight and its bias."""
    return {f"{name}.weight": weight, f"{name}.bias": weight[:1]}
