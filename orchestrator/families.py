"""What a family of generators takes of a step: samplers, options, guidance. Reports, never raises. No torch.

A family that some sampler names as its own (MAR, DiGIT) has no velocity: nothing that places times, follows a score or
rescales positions means anything to it. What it can say itself about options stands in its cost module
(`modalities/weights/described.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modalities.catalog import SAMPLERS, samplers_of
from orchestrator.errors import nearest
from orchestrator.models import PlannedModel
from orchestrator.options import sampling_options
from orchestrator.places import Document
from orchestrator.step_settings import ExtrapolateStep, GuidanceSettings, SamplingStep

OF_A_VELOCITY: Mapping[str, str] = {
    "schedule": "places the times of a velocity",
    "method": "rescales rotary positions",
    "watershed": "is a time of a velocity",
    "proportional_attention": "widens attention at untrained sizes",
    "context_drop": "drops keys and values at untrained sizes",
    "scale": "is what rotary positions are rescaled from",
}
"""Keys of a sampling step that only models with a velocity take, and why."""


def has_velocity(model: PlannedModel) -> bool:
    """Whether the generator is a flow: whether no sampler names its family as its own."""
    return not any(entry.facts.get("families") for entry in samplers_of(model.description.family).values())


def takes_steps(model: PlannedModel) -> bool:
    """Whether a number of steps means anything to the samplers of a model."""
    return any(entry.facts.get("steps", True) for entry in samplers_of(model.description.family).values())


def has_null_condition(model: PlannedModel) -> bool:
    """Whether the generator was also trained without a prompt, which guidance moves away from."""
    told = getattr(model.cost(), "has_null_condition", None)
    return told is None or not model.is_known or bool(told(model.description.generator_config))


def family_defaults(model: PlannedModel) -> dict[str, Any]:
    """Fields of `GenerateOptions` that the family decides where neither file nor model does."""
    found: dict[str, Any] = {}
    if not has_velocity(model):
        found["sampler"] = next(iter(samplers_of(model.description.family)))
    if not has_null_condition(model):
        found["guidance"] = {"scale": 1.0}
    return found


def planned_options(raw: Mapping[str, Any], model: PlannedModel, size: Any, has_latents: bool) -> dict[str, Any]:
    """Options of a generate or extrapolate step, all defaults in, without those that mean nothing to the family.

    raw: what the file says. size, has_latents: as `sampling_options` takes them.
    """
    defaults = family_defaults(model) | model.description.defaults
    options = sampling_options(raw, model.name, size, defaults, has_latents)
    without = set() if has_velocity(model) else set(OF_A_VELOCITY)
    without |= set() if takes_steps(model) else {"steps"}
    return {key: value for key, value in options.items() if key not in without}


def check_family(
    document: Document,
    at: tuple[str, ...],
    settings: SamplingStep,
    model: PlannedModel,
    planned: Mapping[str, Any],
) -> None:
    """Report what a step asks of a model that its family does not have.

    at: path of the step. planned: its options as `planned_options` makes them.
    """
    if isinstance(settings, ExtrapolateStep) and not has_velocity(model):
        message = (
            f"model `{model.name}` ({model.description.family}) learned the positions of its one size, and has neither "
            "rotary ones to rescale nor a time to start from; use generate"
        )
        document.report((*at, "stage"), message)
        return
    if not _check_sampler(document, at, str(planned["sampler"]["name"]), model):
        return
    if not has_velocity(model):
        _check_keys(document, at, settings, model)
    _check_guidance(document, at, settings.guidance, float(planned["guidance"]["scale"]), model)
    faults = getattr(model.cost(), "option_faults", None)
    if faults is not None and model.is_known:
        for key, message in faults(model.description.generator_config, planned).items():
            document.report((*at, *key.split(".")), message)


def _check_sampler(document: Document, at: tuple[str, ...], name: str, model: PlannedModel) -> bool:
    """Whether the model has the sampler that the step, or else its own model.json, names; reported if not."""
    family = model.description.family
    known, entry = samplers_of(family), SAMPLERS.get(name)
    if entry is None or name in known:
        return True
    families = str(entry.facts.get("families", ""))
    who = f"model `{model.name}` ({family})"
    if families:
        message = f"sampler `{name}` is of the family {', '.join(families.split())}, which {who} is not"
    else:
        message = f"sampler `{name}` follows a velocity or score, which {who} does not have"
    choice = nearest(name, known) if families else f"use {' or '.join(f'`{each}`' for each in known)}"
    document.report((*at, "sampler"), f"{message}; {choice}")
    return False


def _check_keys(document: Document, at: tuple[str, ...], settings: SamplingStep, model: PlannedModel) -> None:
    """Keys that mean nothing to a model without a velocity."""
    who = f"model `{model.name}` ({model.description.family})"
    for key, what in OF_A_VELOCITY.items():
        if getattr(settings, key) not in (None, False, 0, "none"):
            document.report((*at, key), f"`{key}` {what}, and {who} has none of that; leave it out", at_key=True)
    if settings.steps is not None and not takes_steps(model):
        message = f"`steps` means nothing to {who}, which draws one token after the other; leave it out"
        document.report((*at, "steps"), message, at_key=True)


def _check_guidance(
    document: Document, at: tuple[str, ...], guidance: GuidanceSettings | None, scale: float, model: PlannedModel
) -> None:
    """scale: that of the step, or else of its model."""
    if scale != 1 and not has_null_condition(model):
        message = (
            f"guidance {scale:g} moves away from a null condition, which model `{model.name}` "
            f"({model.description.family}) was trained without; {'leave it out' if guidance else 'use 1'}"
        )
        document.report((*at, "guidance"), message)
    for key in ("interval", "channels"):
        if guidance is not None and getattr(guidance, key) is not None and not has_velocity(model):
            message = (
                f"`{key}` of guidance belongs to a velocity, which model `{model.name}` "
                f"({model.description.family}) does not have; leave it out"
            )
            document.report((*at, "guidance", key), message, at_key=True)
