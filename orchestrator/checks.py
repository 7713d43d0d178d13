"""What a workflow's values must fulfil together: names, sizes, strengths, texts and paths. Reports, never raises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modalities.catalog import MODALITIES, SAMPLERS, SCHEDULES, Entry
from orchestrator.catalog import EXPORTERS
from orchestrator.errors import nearest
from orchestrator.families import check_family, planned_options
from orchestrator.graph import Graph
from orchestrator.models import PlannedModel
from orchestrator.paths import template_faults
from orchestrator.places import Document
from orchestrator.setting_types import Settings
from orchestrator.size_checks import check_size
from orchestrator.step_settings import (
    ExportStep,
    ExtrapolateStep,
    FormatSettings,
    SamplerSettings,
    SamplingStep,
    ScheduleSettings,
)
from orchestrator.validation import Cell, references, shown_cell

MOST_CELLS = 2000

Variants = Mapping[str, Sequence[tuple[Cell, Settings]]]
"""Step -> its settings in every combination of the matrix parameters that it names itself."""


def check_references(document: Document, steps: Mapping[str, Any], matrix: Mapping[str, Sequence[Any]]) -> None:
    """Report references to unknown parameters, references where none may stand, and parameters that nobody uses."""
    used = set()
    for path, reference in references(steps, ("steps",)):
        kind, _, name = reference.partition(".")
        if kind != "matrix":
            document.report(
                path, f"unknown reference `${{{reference}}}`; write `${{matrix.<parameter>}}`", settles=True
            )
        elif name not in matrix:
            known = nearest(name, matrix) if matrix else "the workflow has no matrix"
            document.report(path, f"unknown matrix parameter `{name}`; {known}", settles=True)
        elif path[2:3] in {("from",), ("stage",), ("model",), ("batch_size",)}:
            document.report(
                path, f"`{path[2]}` cannot change within a matrix; write a step for each value", settles=True
            )
        elif path[2:3] == ("path",):
            document.report(path, f"write `{{{name}}}` for a matrix parameter in a path")
        used.add(name)
    for axis in matrix:
        if axis not in used:
            document.report(("matrix", axis), f"no step uses `${{matrix.{axis}}}`", at_key=True)
    cells = 1
    for values in matrix.values():
        cells *= len(values)
    if cells > MOST_CELLS:
        document.report(
            ("matrix",), f"the matrix has {cells} combinations; at most {MOST_CELLS} are planned", at_key=True
        )
    for axis, values in matrix.items():
        seen = set()
        for index, value in enumerate(values):
            if repr(value) in seen:
                document.report(("matrix", axis, index), f"the value `{value}` stands twice")
            seen.add(repr(value))


def check_model_names(document: Document, steps: Mapping[str, Any], known: Sequence[str]) -> None:
    """Report steps that name a model which the file does not."""
    for name, step in steps.items():
        own = step.get("model")
        if isinstance(own, str) and own not in known and "${" not in own:
            document.report(("steps", name, "model"), f"unknown model `{own}`; {nearest(own, known)}")


def check_reserved_names(document: Document, names: Sequence[str]) -> None:
    """Report models that are named like a pool, since `--workers` could mean either."""
    for name in names:
        if name in {"text", "export"}:
            document.report(
                ("models", name), f"`{name}` names the workers of a stage; call the model otherwise", at_key=True
            )


def choose_models(
    document: Document, steps: Mapping[str, Any], graph: Graph, models: Mapping[str, PlannedModel], known: Sequence[str]
) -> dict[str, str]:
    """The model of each step: its own, else that of the nearest step before it, else the only one.

    known: every model that the file names, described or not. An encode step without one takes that of its readers.
    """
    chosen: dict[str, str] = {}
    for name in graph.order:
        if graph.shapes[name].stage == "export":
            continue
        own = steps[name].get("model")
        earlier = [chosen[source] for source in reversed(graph.above(name)[:-1]) if source in chosen]
        readers = _models_of_readers(steps, graph, name) if graph.shapes[name].stage == "encode" else []
        if own is not None:
            chosen[name] = own
        elif len(known) == 1:
            chosen[name] = known[0]
        elif earlier or readers:
            chosen[name] = (earlier or readers)[0]
        else:
            document.report(("steps", name), f"say which model: {', '.join(known)}", at_key=True)
    _check_encoders(document, graph, chosen, models)
    return {name: model for name, model in chosen.items() if model in models}


def _models_of_readers(steps: Mapping[str, Any], graph: Graph, name: str) -> list[str]:
    readers = [step for step in graph.order if name in graph.reads[step].values()]
    return [steps[reader]["model"] for reader in readers if steps[reader].get("model")]


def _check_encoders(
    document: Document, graph: Graph, chosen: Mapping[str, str], models: Mapping[str, PlannedModel]
) -> None:
    """A generator must get the conditioning of the text encoder that it was trained with, and latents of its codec."""
    for name in graph.order:
        for kind, writer in graph.reads[name].items():
            own, other = (models.get(chosen.get(step, "")) for step in (name, writer))
            if own is None or other is None or own.name == other.name:
                continue
            if kind == "conditioning" and own.description.text_encoder != other.description.text_encoder:
                message = (
                    f"step `{name}` needs the text encoder of model `{own.name}` ({own.encoder_name}), but `{writer}` "
                    f"encodes with that of `{other.name}` ({other.encoder_name}); give it an encode step of its own"
                )
                document.report(("steps", name, "from"), message)
            if kind == "latents" and own.description.codec != other.description.codec:
                message = f"step `{name}` (model `{own.name}`) cannot read the latents of `{other.name}`: other codec"
                document.report(("steps", name, "from"), message)


def check_steps(
    document: Document,
    variants: Variants,
    graph: Graph | None,
    chosen: Mapping[str, str],
    models: Mapping[str, PlannedModel],
) -> None:
    """Report what is wrong with options in some combination of the matrix."""
    for name, entries in variants.items():
        model = models.get(chosen.get(name, ""))
        modality = _modality(name, graph, chosen, models)
        has_latents = graph is None or "latents" in graph.reads[name]

        def check(
            trial: Document,
            index: int,
            name: str = name,
            entries: Any = entries,
            facts: Any = (model, modality, has_latents),
        ) -> None:
            _check_step(trial, ("steps", name), entries[index][1], *facts)

        document.over([shown_cell(cell) for cell, _ in entries], check)


def _check_step(
    document: Document,
    at: tuple[str, ...],
    settings: Settings,
    model: PlannedModel | None,
    modality: str | None,
    has_latents: bool,
) -> None:
    if isinstance(settings, SamplingStep):
        _check_options_taken(document, (*at, "sampler"), settings.sampler, SAMPLERS)
        _check_options_taken(document, (*at, "schedule"), settings.schedule, SCHEDULES)
        check_size(document, at, settings, model)
        if model is not None:
            given = settings.model_dump(by_alias=True, exclude_none=True)
            check_family(document, at, settings, model, planned_options(given, model, settings.size, has_latents))
        if settings.context_drop and model is not None and MODALITIES[model.modality].facts.get("unordered"):
            document.report(
                (*at, "context_drop"),
                f"context_drop merges neighbours, and a {model.modality} has no order; leave it out",
            )
    if isinstance(settings, ExtrapolateStep) and not has_latents and (settings.strength or 1) < 1:
        document.report(
            (*at, "strength"),
            f"strength {settings.strength:g} starts from earlier latents, and no step before makes any; "
            "continue a generate step, or use strength 1",
        )
    if isinstance(settings, ExportStep):
        _check_options_taken(document, (*at, "format"), settings.format, EXPORTERS)
        _check_format(document, (*at, "format"), settings.format.name, modality)


def _check_options_taken(
    document: Document,
    at: tuple[str, ...],
    value: SamplerSettings | ScheduleSettings | FormatSettings | None,
    entries: Mapping[str, Entry],
) -> None:
    """Report options that the sampler, schedule or format of a step does not take."""
    if value is None or value.name not in entries:
        return
    known = str(entries[value.name].facts.get("options", "")).split()
    takes = f"it takes {', '.join(known)}" if known else "it takes none"
    for option in sorted(value.model_fields_set - {"name"}):
        if option not in known and getattr(value, option) is not None:
            document.report((*at, option), f"{at[-1]} `{value.name}` has no option `{option}`; {takes}", at_key=True)


def _modality(
    name: str, graph: Graph | None, chosen: Mapping[str, str], models: Mapping[str, PlannedModel]
) -> str | None:
    writer = graph.reads[name].get("media") if graph is not None else None
    model = models.get(chosen.get(writer or "", ""))
    return model.modality if model is not None else None


def _check_format(document: Document, at: tuple[str, ...], name: str, modality: str | None) -> None:
    if modality is None or name not in EXPORTERS or modality in str(EXPORTERS[name].facts["modality"]).split():
        return
    known = [other for other, entry in EXPORTERS.items() if modality in str(entry.facts["modality"]).split()]
    document.report(at, f"format `{name}` is not for {modality}; use {', '.join(known)}")


def check_paths(document: Document, steps: Mapping[str, Any], axes: Mapping[str, Sequence[str]]) -> None:
    """Report path templates that could leave the run folder. axes: the matrix parameters of each export step."""
    for name, known in axes.items():
        template = steps[name].get("path")
        if isinstance(template, str) and "${" not in template:
            for fault in template_faults(template, known):
                document.report(("steps", name, "path"), fault)
