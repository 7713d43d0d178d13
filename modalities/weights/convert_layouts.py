"""Which published checkpoint a pickled file is, told by the names in it, and which of its tensors are of use.

Nothing here reads numbers: a `Part` is a choice of tensors, under the names that our files give them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modalities.weights.convert_values import PickledTensor

TRANSFORMER = "model.diffusion_model."
AUTOENCODER = "first_stage_model."
TEXT = "cond_stage_model."
CLAP = "caption_encoder."
AVERAGES = "model_ema."
SCHEDULE = re.compile(r"(betas|logvar|lvlb_weights|(sqrt_|log_|posterior_).*|alphas_cumprod.*|(sqrt_)?recipm?1?_.*)$")
EMA_KEYS = ("ema", "model_ema", "state_dict_ema", "params_ema", "ema_state_dict")
STATE_KEYS = ("state_dict", "model", "module", "params", "generator")

Tensors = dict[str, PickledTensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Tensors of one file that belong together.

    kind: lumina-audio-line (transformer, autoencoder and text of one training checkpoint), vae1d, bigvgan, next-dit,
    mar, kl-vae, digit-semantic, digit-decoder, vqgan, tensors (any other) or nothing. tensors: by the names
    that we write; of a training checkpoint, the transformer's.
    notes: what was chosen and what was left out. groups: the other tensors of a training checkpoint, by what they are.
    """

    kind: str
    tensors: Tensors
    notes: tuple[str, ...] = ()
    groups: Mapping[str, Tensors] = field(default_factory=dict)


def recognise(value: Any, *, ema: bool = True) -> Part:
    """What the saved value of a checkpoint is.

    ema: where averaged weights lie beside the last ones, take them.
    """
    state, note = _state(value, ema=ema) if isinstance(value, dict) else ({}, "")
    tensors = {str(name): each for name, each in state.items() if isinstance(each, PickledTensor)}
    if not tensors:
        return Part(kind="nothing", tensors={}, notes=("holds no tensors under names",))
    notes = (note,) if note else ()
    if any(name.startswith(TRANSFORMER) for name in tensors):
        return _audio_line(tensors, notes, ema=ema)
    if "conv_pre.bias" in tensors and any(name.startswith("resblocks.0.activations.") for name in tensors):
        return Part(kind="bigvgan", tensors=tensors, notes=notes)
    if {"mask_token", "encoder_pos_embed_learned", "z_proj.weight"} <= set(tensors):
        return Part(kind="mar", tensors=tensors, notes=notes)
    if {"encoder.conv_in.weight", "decoder.conv_in.weight", "quant_conv.weight"} <= set(tensors):
        if len(tensors["encoder.conv_in.weight"].shape) == 4:
            return Part(kind="kl-vae", tensors=_without(tensors, ("loss.",)), notes=notes)
        return Part(kind="vae1d", tensors=_without(tensors, ("loss.",)), notes=notes)
    if {"decoder.embed_positions.weight", "decoder.output_projection.weight"} <= set(tensors):
        return _digit_stage(tensors, notes)
    if {"encoder.conv_in.weight", "decoder.conv_in.weight", "quantize.embedding.weight"} <= set(tensors):
        return Part(kind="vqgan", tensors=_without(tensors, ("loss.",)), notes=notes)
    if "x_embedder.weight" in tensors and any(name.startswith("layers.0.") for name in tensors):
        return Part(kind="next-dit", tensors=tensors, notes=notes)
    return Part(kind="tensors", tensors=tensors, notes=notes)


def _state(value: Mapping[Any, Any], *, ema: bool) -> tuple[Mapping[Any, Any], str]:
    """The mapping of tensors inside what was saved, and which one was taken."""
    averaged = [key for key in EMA_KEYS if _holds_tensors(value.get(key))]
    plain = [key for key in STATE_KEYS if _holds_tensors(value.get(key))]
    chosen = averaged[:1] if averaged and (ema or not plain) else plain[:1]
    if not chosen:
        return value, ""
    rest = [key for key in (*averaged, *plain) if key != chosen[0]]
    left = f"; left out {', '.join(f'`{key}`' for key in rest)}" if rest else ""
    return value[chosen[0]], f"took `{chosen[0]}`{left}"


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(each, PickledTensor) for each in value.values())


def _audio_line(tensors: Tensors, notes: tuple[str, ...], *, ema: bool) -> Part:
    """The training checkpoint of the Lumina audio line, cut into its parts."""
    generator = _under(tensors, TRANSFORMER)
    codec = _without(_under(tensors, AUTOENCODER), ("loss.",))
    text = _under(tensors, TEXT)
    averages = _under(tensors, AVERAGES)
    if averages and ema:
        generator, note = _averaged(generator, averages)
        notes += (note,)
    clap = _without(_under(text, CLAP), ("base.embeddings.position_ids", "base.pooler."))
    unknown = [
        name
        for name in tensors
        if not name.startswith((TRANSFORMER, AUTOENCODER, TEXT, AVERAGES))
        and name != "scale_factor"
        and not SCHEDULE.match(name)
    ]
    if text:
        kept = f", {len(clap)} of CLAP's text encoder kept" if clap else ""
        notes += (f"text encoder: {len(text)} tensors found{kept}; T5 is read from its own folder or hub id",)
    if unknown:
        notes += (f"left out {len(unknown)} unknown tensors: {', '.join(sorted(unknown)[:4])}",)
    return Part(
        kind="lumina-audio-line",
        tensors=generator,
        notes=notes,
        groups={
            "codec": codec,
            "scale": {name: each for name, each in tensors.items() if name == "scale_factor"},
            "clap": clap,
            "text": text,
        },
    )


def _digit_stage(tensors: Tensors, notes: tuple[str, ...]) -> Part:
    """A stage of DiGIT, as fairseq saved it: the transformer, DINOv2 with its clusters, and in the second the VQGAN."""
    stage = _without(_under(tensors, "decoder."), ("version",))
    known = ("decoder.", "pretrained_encoder.", "vqgan.", "centroids", "centroid_norm")
    unknown = sorted(name for name in tensors if not name.startswith(known))
    if unknown:
        notes += (f"left out {len(unknown)} unknown tensors: {', '.join(unknown[:4])}",)
    return Part(
        kind="digit-decoder" if "embed_positions_1.weight" in stage else "digit-semantic",
        tensors=stage,
        notes=notes,
        groups={
            "codec": _under(tensors, "vqgan."),
            "encoder": _under(tensors, "pretrained_encoder."),
            "clusters": {name: each for name, each in tensors.items() if name == "centroids"},
        },
    )


def _averaged(last: Tensors, averages: Tensors) -> tuple[Tensors, str]:
    """The averaged transformer, whose names have lost their dots, in place of the last one, if all of it is there."""
    found = {name: averages.get(f"diffusion_model.{name}".replace(".", "")) for name in last}
    whole = {name: each for name, each in found.items() if each is not None}
    if len(whole) < len(last):
        return last, f"averaged weights hold {len(whole)} of {len(last)} tensors; took the last weights"
    return whole, "took the averaged weights"


def _under(tensors: Mapping[str, PickledTensor], prefix: str) -> Tensors:
    return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}


def _without(tensors: Mapping[str, PickledTensor], prefixes: Iterable[str]) -> Tensors:
    return {name: each for name, each in tensors.items() if not name.startswith(tuple(prefixes))}
