"""Step settings to stage options: short forms written out, defaults filled in, `${matrix.name}` left standing."""

from __future__ import annotations

from collections.abc import Mapping
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


def encode_options(raw: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Options of an encode step."""
    return {"model": model, "negative_prompt": raw.get("negative_prompt") or ""}


def sampling_options(
    raw: Mapping[str, Any],
    model: str,
    native_size: tuple[int, ...],
    model_defaults: Mapping[str, Any],
    has_latents: bool,
) -> dict[str, Any]:
    """Options of a generate or extrapolate step.

    model_defaults: as in model.json, with the field names of GenerateOptions. has_latents: whether an earlier step
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
    size = raw.get("size")
    options |= {"model": model, "size": list(native_size) if size is None else size}
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
