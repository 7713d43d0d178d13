"""Names and shapes in public Next-DiT checkpoints, and the configuration read back from them. No torch.

`original` is the layout of Lumina-Next's own files and of ours; `diffusers` that of `LuminaNextDiT2DModel`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import isqrt, prod
from typing import Any

from modalities.generators.nextdit.config import NextDiTConfig

Shapes = Mapping[str, tuple[int, ...]]

_TOP = {
    "pad_token": ("pad_token",),
    "x_embedder.weight": ("patch_embedder.proj.weight",),
    "x_embedder.bias": ("patch_embedder.proj.bias",),
    "t_embedder.mlp.0": ("time_caption_embed.timestep_embedder.linear_1",),
    "t_embedder.mlp.2": ("time_caption_embed.timestep_embedder.linear_2",),
    "cap_embedder.0": ("time_caption_embed.caption_embedder.0",),
    "cap_embedder.1": ("time_caption_embed.caption_embedder.1",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear_1",),
    "final_layer.linear": ("norm_out.linear_2",),
}
_LAYER = {
    "attention.gate": ("gate",),
    "attention.wq": ("attn1.to_q", "attn2.to_q"),
    "attention.wk": ("attn1.to_k",),
    "attention.wv": ("attn1.to_v",),
    "attention.wk_y": ("attn2.to_k",),
    "attention.wv_y": ("attn2.to_v",),
    "attention.wo": ("attn2.to_out.0",),
    "attention.q_norm": ("attn1.norm_q", "attn2.norm_q"),
    "attention.k_norm": ("attn1.norm_k",),
    "attention.ky_norm": ("attn2.norm_k",),
    "feed_forward.w1": ("feed_forward.linear_1",),
    "feed_forward.w2": ("feed_forward.linear_2",),
    "feed_forward.w3": ("feed_forward.linear_3",),
    "adaLN_modulation.1": ("norm1.linear",),
    "attention_norm1": ("norm1.norm",),
    "attention_norm2": ("norm2",),
    "ffn_norm1": ("ffn_norm1",),
    "ffn_norm2": ("ffn_norm2",),
    "attention_y_norm": ("norm1_context",),
}
_LAYER_KEY = re.compile(r"layers\.(\d+)\.(.+)")


def expected_shapes(config: NextDiTConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of a Next-DiT in the original layout, with its shape."""
    d, c, t, kv, f = config.dim, config.conditioning_dim, config.cap_feat_dim, config.kv_dim, config.ffn_dim
    shapes: dict[str, tuple[int, ...]] = {"pad_token": (d,)}
    shapes |= _linear("x_embedder", d, config.embedded_features)
    shapes |= _linear("t_embedder.mlp.0", c, 256) | _linear("t_embedder.mlp.2", c, c)
    shapes |= {"cap_embedder.0.weight": (t,), "cap_embedder.0.bias": (t,)} | _linear("cap_embedder.1", c, t)
    for i in range(config.layers):
        attention = f"layers.{i}.attention"
        shapes |= {f"{attention}.{name}.weight": (d, d) for name in ("wq", "wo")}
        shapes |= {f"{attention}.{name}.weight": (kv, d) for name in ("wk", "wv")}
        shapes |= {f"{attention}.{name}.weight": (kv, t) for name in ("wk_y", "wv_y")}
        shapes[f"{attention}.gate"] = (config.heads,)
        if config.qk_norm:
            norms = {"q_norm": d, "k_norm": kv, "ky_norm": kv}
            shapes |= {f"{attention}.{n}.{part}": (w,) for n, w in norms.items() for part in ("weight", "bias")}
        shapes |= {f"layers.{i}.feed_forward.{name}.weight": (f, d) for name in ("w1", "w3")}
        shapes[f"layers.{i}.feed_forward.w2.weight"] = (d, f)
        norms_d = ("attention_norm1", "attention_norm2", "ffn_norm1", "ffn_norm2")
        shapes |= {f"layers.{i}.{name}.weight": (d,) for name in norms_d}
        shapes[f"layers.{i}.attention_y_norm.weight"] = (t,)
        shapes |= _linear(f"layers.{i}.adaLN_modulation.1", 4 * d, c)
    return (
        shapes
        | _linear("final_layer.linear", config.token_outputs, d)
        | _linear("final_layer.adaLN_modulation.1", d, c)
    )


def _linear(name: str, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def diffusers_names(original: str) -> tuple[str, ...]:
    """What diffusers calls a tensor of the original layout; two names where it keeps the tensor twice."""
    layer = _LAYER_KEY.fullmatch(original)
    prefix, name, table = (f"layers.{layer[1]}.", layer[2], _LAYER) if layer else ("", original, _TOP)
    if name in table:
        return tuple(prefix + found for found in table[name])
    stem, _, last = name.rpartition(".")
    if stem not in table:
        raise ValueError(f"`{original}` is not a tensor of the original Next-DiT layout")
    return tuple(f"{prefix}{found}.{last}" for found in table[stem])


def recognise(shapes: Shapes) -> str:
    """`original` or `diffusers`; ValueError for anything else, by name where it is a known abandoned layout."""
    names = set(shapes)
    if "patch_embedder.proj.weight" in names:
        return "diffusers"
    if "patch_embedder.weight" in names or any(".attn_norm1." in name for name in names):
        raise ValueError(
            "these are weights in the abandoned diffusers layout of July 2024 (first commit of "
            "Lumina-Next-SFT-diffusers); use a later revision of the repository"
        )
    if any(name.startswith("y_embedder.") for name in names):
        raise ValueError(
            "this is a class-conditional ImageNet Next-DiT (it has y_embedder), not a text-conditional one"
        )
    modulation, width = shapes.get("layers.0.adaLN_modulation.1.weight"), shapes.get("pad_token")
    if modulation and width and modulation[0] == 6 * width[0]:
        raise ValueError(
            "these are weights of the abandoned Lumina-Next-T2I architecture of 12 to 28 May 2024 (adaLN with 6 parts, "
            "shifts and no sandwich gates); download the files released from 29 May 2024 on"
        )
    if {"x_embedder.weight", "cap_embedder.1.weight", "layers.0.attention.wk_y.weight"} <= names:
        return "original"
    some = ", ".join(sorted(names)[:4]) or "no tensors at all"
    raise ValueError(f"not a Next-DiT checkpoint: it has neither layout's tensors (it holds {some}, ...)")


def to_original_shapes(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Shapes of a checkpoint in either layout, under original names; unknown names are kept as they are."""
    if recognise(shapes) == "original":
        return dict(shapes)
    count = layer_count(shapes)
    names = {
        theirs: ours
        for ours in expected_shapes(replace(NextDiTConfig(), layers=max(count, 1)))
        for theirs in diffusers_names(ours)
    }
    return {names.get(name, name): shape for name, shape in shapes.items()}


def layer_count(names: Iterable[str]) -> int:
    """Number of layers that the names speak of."""
    found = [int(match[1]) for match in map(_LAYER_KEY.match, names) if match]
    return max(found) + 1 if found else 0


def config_from_shapes(shapes: Shapes, hints: Mapping[str, Any] | None = None) -> NextDiTConfig:
    """The configuration of a checkpoint in either layout, from its shapes.

    hints: fields of `NextDiTConfig` for what shapes cannot tell: norm_eps, trained_tokens, and how the numbers of a
    token split into channels and patch, for which square patches of 4-channel latents are assumed.
    """
    known = to_original_shapes(shapes)
    hints = dict(hints or {})
    try:
        dim, features = known["x_embedder.weight"]
        outputs = known["final_layer.linear.weight"][0]
        heads = known["layers.0.attention.gate"][0]
        kv_heads = known["layers.0.attention.wk.weight"][0] // (dim // heads)
        ffn = known["layers.0.feed_forward.w1.weight"][0]
        cap_feat_dim = known["cap_embedder.1.weight"][1]
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise ValueError(f"the configuration cannot be read from the tensors: {error}") from None
    if "patch" in hints and "in_channels" not in hints:
        hints["in_channels"] = features // prod(hints["patch"])
    channels = int(hints.get("in_channels", 4))
    side = isqrt(features // channels)
    patch = hints.get("patch", (side, side))
    if channels * prod(patch) != features:
        raise ValueError(f"{features} numbers per token are not a patch {tuple(patch)} of {channels} channels")
    told = NextDiTConfig(
        patch=tuple(patch),
        in_channels=channels,
        learn_sigma=outputs == 2 * features,
        dim=dim,
        layers=layer_count(known),
        heads=heads,
        kv_heads=kv_heads,
        qk_norm="layers.0.attention.q_norm.weight" in known,
        norm_eps=float(hints.get("norm_eps", 1e-5)),
        cap_feat_dim=cap_feat_dim,
        trained_tokens=tuple(hints.get("trained_tokens", (64,) * len(patch))),
    )
    return _with_ffn(told, ffn, hints)


def _with_ffn(config: NextDiTConfig, ffn: int, hints: Mapping[str, Any]) -> NextDiTConfig:
    """`config` with the multiple (and, if needed, multiplier) that gives a feed-forward width of `ffn`."""
    hinted = {k: hints[k] for k in ("multiple_of", "ffn_dim_multiplier") if k in hints}
    candidates: list[dict[str, Any]] = [hinted, *({"multiple_of": n} for n in (256, 128, 64, 32, 16, 8, 1))]
    candidates.append({"multiple_of": 1, "ffn_dim_multiplier": (ffn + 0.5) / int(8 * config.dim / 3)})
    for values in candidates:
        found = replace(config, **values)
        if found.ffn_dim == ffn:
            return found
    raise ValueError(f"no rule gives a feed-forward width of {ffn} at dim {config.dim}")


def hints_from_diffusers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `NextDiTConfig` in a diffusers `transformer/config.json`; unknown keys are ignored."""
    plain = {
        "hidden_size": "dim",
        "num_layers": "layers",
        "num_attention_heads": "heads",
        "in_channels": "in_channels",
        "learn_sigma": "learn_sigma",
        "qk_norm": "qk_norm",
        "multiple_of": "multiple_of",
        "ffn_dim_multiplier": "ffn_dim_multiplier",
        "norm_eps": "norm_eps",
        "cross_attention_dim": "cap_feat_dim",
    }
    hints = {ours: values[theirs] for theirs, ours in plain.items() if theirs in values}
    if "num_attention_heads" in values:
        hints["kv_heads"] = values.get("num_kv_heads") or values["num_attention_heads"]
    if "patch_size" in values:
        hints["patch"] = (values["patch_size"],) * 2
        if "sample_size" in values:
            hints["trained_tokens"] = (values["sample_size"] // values["patch_size"],) * 2
    return hints


def hints_from_original(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `NextDiTConfig` in a `config.json` beside original weights; unknown keys are ignored."""
    plain = {
        "dim": "dim",
        "n_layers": "layers",
        "n_heads": "heads",
        "n_kv_heads": "kv_heads",
        "in_channels": "in_channels",
        "learn_sigma": "learn_sigma",
        "qk_norm": "qk_norm",
        "multiple_of": "multiple_of",
        "ffn_dim_multiplier": "ffn_dim_multiplier",
        "norm_eps": "norm_eps",
        "cap_feat_dim": "cap_feat_dim",
    }
    hints = {ours: values[theirs] for theirs, ours in plain.items() if values.get(theirs) is not None}
    if values.get("patch_size"):
        hints["patch"] = (values["patch_size"],) * 2
        if values.get("image_size"):
            hints["trained_tokens"] = (values["image_size"] // 8 // values["patch_size"],) * 2
    return hints
