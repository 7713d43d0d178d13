"""The numbers that decide a Flag-DiT. Standard library only, so that planning stays cheap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from modalities.generators.nextdit.config import NextDiTConfig
from modalities.weights.configuration import config_from, plain_values

Value = TypeVar("Value")
PREFIX = "model.diffusion_model."
"""What the released training checkpoints put before every name of the transformer."""
TIME_STEPS = 1000
"""Times that the model knows: the flow time 0..1 is multiplied by this and cut to a whole number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagDiTConfig:
    """One Flag-DiT of the Lumina audio line (Lumina-T2X, arXiv 2405.05945); the defaults are those of the release.

    in_channels: channels of the latents. dim, layers, heads: width, depth, heads (as many for keys and values).
    multiple_of, ffn_dim_multiplier: the feed-forward width is 8/3 dim, times the multiplier, rounded up.
    cap_feat_dim: width of the text encoder's tokens.
    trained_tokens: latent frames that the model was trained at; extrapolation is measured from them.
    max_tokens: positions that the released table of rotations holds; longer latents need an extrapolation method.
    sigma_min: noise that is left of a sample at t = 1 in training.
    """

    in_channels: int = 20
    dim: int = 768
    layers: int = 16
    heads: int = 32
    multiple_of: int = 256
    ffn_dim_multiplier: float | None = None
    norm_eps: float = 1e-5
    cap_feat_dim: int = 1024
    rope_theta: float = 10000.0
    trained_tokens: tuple[int, ...] = (312,)
    max_tokens: int = 1000
    sigma_min: float = 1e-4

    def __post_init__(self) -> None:
        if len(self.trained_tokens) != 1:
            raise ValueError(f"trained_tokens {self.trained_tokens} should hold one number; a Flag-DiT has one axis")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens is {self.max_tokens}; expected a whole number of at least 1")
        if not 0 <= self.sigma_min < 1:
            raise ValueError(f"sigma_min is {self.sigma_min}; expected at least 0 and less than 1")
        _ = self.parts  # refuses what cannot be built

    @property
    def parts(self) -> NextDiTConfig:
        """The same numbers for the parts that both transformers are built from: attention, feed-forward, positions."""
        return NextDiTConfig(
            patch=(1,),
            in_channels=self.in_channels,
            learn_sigma=False,
            dim=self.dim,
            layers=self.layers,
            heads=self.heads,
            kv_heads=self.heads,
            qk_norm=False,
            multiple_of=self.multiple_of,
            ffn_dim_multiplier=self.ffn_dim_multiplier,
            norm_eps=self.norm_eps,
            cap_feat_dim=self.cap_feat_dim,
            rope_theta=self.rope_theta,
            trained_tokens=self.trained_tokens,
        )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Read a mapping such as the one in model.json. Unknown keys are refused; lists become tuples."""
        return config_from(cls, values, "Flag-DiT")

    def to_mapping(self) -> dict[str, Any]:
        """All fields as JSON can hold them; `from_mapping` reads it back."""
        return plain_values(self)


def expected_shapes(config: FlagDiTConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of a checkpoint under its published name, without the prefix of the training framework."""
    dim, text, ffn = config.dim, config.cap_feat_dim, config.parts.ffn_dim
    shapes: dict[str, tuple[int, ...]] = {
        **_linear("t_embedder.mlp.0", dim, 256),
        **_linear("t_embedder.mlp.2", dim, dim),
        **_linear("proj_in", dim, config.in_channels),
        **_linear("cap_embedder.0", text),
        **_linear("cap_embedder.1", dim, text),
        **_linear("final_layer.linear", config.in_channels, dim),
        **_linear("final_layer.adaLN_modulation.1", 2 * dim, dim),
    }
    for i in range(config.layers):
        block = f"blocks.{i}"
        for name in ("wq", "wk", "wv", "wo"):
            shapes[f"{block}.attention.{name}.weight"] = (dim, dim)
        for name in ("wk_y", "wv_y"):
            shapes[f"{block}.attention.{name}.weight"] = (dim, text)
        shapes[f"{block}.attention.gate"] = (config.heads,)
        shapes[f"{block}.feed_forward.w1.weight"] = (ffn, dim)
        shapes[f"{block}.feed_forward.w2.weight"] = (dim, ffn)
        shapes[f"{block}.feed_forward.w3.weight"] = (ffn, dim)
        shapes[f"{block}.attention_norm.weight"] = (dim,)
        shapes[f"{block}.ffn_norm.weight"] = (dim,)
        shapes[f"{block}.attention_y_norm.weight"] = (text,)
        shapes |= _linear(f"{block}.adaLN_modulation.1", 6 * dim, dim)
    return shapes


def config_from_shapes(shapes: Mapping[str, tuple[int, ...]], **known: Any) -> FlagDiTConfig:
    """The configuration of tensors under their published names; ValueError when they are no Flag-DiT.

    Everything but the settings that leave no trace in a shape (`known` gives those, otherwise as released).
    """
    try:
        dim, channels = shapes["proj_in.weight"]
        (heads,) = shapes["blocks.0.attention.gate"]
        _, text = shapes["cap_embedder.1.weight"]
        ffn, _ = shapes["blocks.0.feed_forward.w1.weight"]
    except (KeyError, ValueError) as error:
        raise ValueError(f"these tensors are no Flag-DiT; {error} is not there or has another shape") from None
    layers = len({name.split(".")[1] for name in shapes if name.startswith("blocks.")})
    sizes = {"in_channels": channels, "dim": dim, "layers": layers, "heads": heads, "cap_feat_dim": text}
    config = FlagDiTConfig(**sizes | known)
    if config.parts.ffn_dim != ffn:
        config = FlagDiTConfig(**sizes | known, multiple_of=1, ffn_dim_multiplier=(ffn + 0.5) / int(8 * dim / 3))
    return config


def without_prefix(named: Mapping[str, Value]) -> dict[str, Value]:
    """The same values, their names without the prefix of the training checkpoints where all of them have it."""
    if not all(name.startswith(PREFIX) for name in named):
        return dict(named)
    return {name.removeprefix(PREFIX): value for name, value in named.items()}


def _linear(name: str, *weight: int) -> dict[str, tuple[int, ...]]:
    """A weight and its bias."""
    return {f"{name}.weight": weight, f"{name}.bias": weight[:1]}
