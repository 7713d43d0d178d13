"""How a sample is made, as plain values say it: a workflow's step, a model's defaults, a training file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modalities.contracts import Extrapolation, GenerateOptions, Guidance


def generate_options(options: Mapping[str, Any]) -> GenerateOptions:
    """GenerateOptions from the plain values of a workflow, or from a model's defaults, which have its field names.

    What is left out takes the default of GenerateOptions.
    """
    default = GenerateOptions()
    options = {name: value for name, value in options.items() if value is not None}
    sampler, sampler_options = _named(options.get("sampler", default.sampler), "name")
    schedule, schedule_options = _named(options.get("schedule", default.schedule), "name")
    scale, guidance_options = _named(options.get("guidance", default.guidance.scale), "scale")
    if "interval" in guidance_options:
        first, last = guidance_options["interval"]
        guidance_options["interval"] = (float(first), float(last))
    return GenerateOptions(
        sampler=str(sampler),
        sampler_options={**options.get("sampler_options", {}), **sampler_options},
        steps=int(options.get("steps", default.steps)),
        schedule=str(schedule),
        schedule_options={**options.get("schedule_options", {}), **schedule_options},
        guidance=Guidance(scale=float(scale), **guidance_options),
        extrapolation=_extrapolation(options),
        strength=float(options.get("strength", default.strength)),
    )


def _named(value: Any, key: str) -> tuple[Any, dict[str, Any]]:
    """A value that is plain, or a mapping that holds it under `key`; and the mapping's other entries that are set."""
    if isinstance(value, Mapping):
        rest = {name: entry for name, entry in value.items() if name != key and entry is not None}
        return value[key], rest
    return value, {}


def _extrapolation(options: Mapping[str, Any]) -> Extrapolation:
    default = Extrapolation()
    return Extrapolation(
        method=str(options.get("method", default.method)),
        watershed=float(options.get("watershed", default.watershed)),
        proportional_attention=bool(options.get("proportional_attention", default.proportional_attention)),
        context_drop=float(options.get("context_drop", default.context_drop)),
        scale=str(options.get("scale", default.scale)),
    )
