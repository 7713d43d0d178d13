"""Step settings to stage options: short forms written out, defaults filled in, `${matrix.name}` left standing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SAMPLING_DEFAULTS: Mapping[str, Any] = {
    "sampler": {"name": "midpoint"},
    "steps": 20,
    "schedule": {"name": "shifted"},
    "guidance": {"scale": 4.0},
    "method": "none",
    "watershed": 0.3,
    "proportional_attention": False,
    "context_drop": 0.0,
    "scale": "per-axis",
}
"""The defaults of `modalities.contracts.GenerateOptions`, for planning, which does not import torch."""

EXTRAPOLATE_METHOD = "time-aware"
STRENGTH_WITH_LATENTS = 0.6


def encode_options(raw: Mapping[str, Any], model: str, readers: Sequence[str]) -> dict[str, Any]:
    """Options of an encode step. readers: the models that generate from its conditioning."""
    return {"model": model, "negative_prompt": raw.get("negative_prompt") or "", "readers": list(readers)}


def export_options(raw: Mapping[str, Any], path: str, modality: str, rate: float) -> dict[str, Any]:
    """Options of an export step. modality, rate: of the media that reach it."""
    given = raw["format"] if isinstance(raw["format"], Mapping) else {"name": raw["format"]}
    chosen = {name: value for name, value in given.items() if value is not None}
    return {"format": chosen, "path": raw.get("path") or path, "modality": modality, "rate": rate}


def sampling_options(
    raw: Mapping[str, Any],
    model: str,
    size: Any,
    model_defaults: Mapping[str, Any],
    has_latents: bool,
) -> dict[str, Any]:
    """Options of a generate or extrapolate step.

    size: as `orchestrator.sizes.planned_size` gives it.
    model_defaults: as in model.json, with the field names of GenerateOptions; options of its sampler stay where the
    file names the same one. has_latents: whether an earlier step
    makes latents that an extrapolate step can start from.
    """
    defaults = {**SAMPLING_DEFAULTS, **_written_out(model_defaults)}
    is_extrapolate = raw["stage"] == "extrapolate"
    if is_extrapolate and defaults["method"] == "none":
        defaults["method"] = EXTRAPOLATE_METHOD
    given = {key: raw[key] for key in defaults if raw.get(key) is not None}
    options = {**defaults, **given}
    for key, name in (("sampler", "name"), ("schedule", "name"), ("guidance", "scale")):
        value = options[key] if isinstance(options[key], Mapping) else {name: options[key]}
        options[key] = {field: entry for field, entry in value.items() if entry is not None}
    if options["sampler"]["name"] == defaults["sampler"]["name"]:
        options["sampler"] = {**defaults["sampler"], **options["sampler"]}
    options |= {"model": model, "size": size}
    if is_extrapolate:
        strength = raw.get("strength")
        options["strength"] = strength if strength is not None else STRENGTH_WITH_LATENTS if has_latents else 1.0
    return options


def _written_out(defaults: Mapping[str, Any]) -> dict[str, Any]:
    """GenerateOptions fields in the form of stage options."""
    found = {key: defaults[key] for key in ("steps",) if key in defaults}
    for key in ("sampler", "schedule"):
        if key in defaults:
            found[key] = {"name": defaults[key], **defaults.get(f"{key}_options", {})}
    if "guidance" in defaults:
        guidance = defaults["guidance"]
        found["guidance"] = dict(guidance) if isinstance(guidance, Mapping) else {"scale": guidance}
    extrapolation = defaults.get("extrapolation", {})
    return found | {key: value for key, value in extrapolation.items() if key in SAMPLING_DEFAULTS}
