"""Workflow file -> WorkflowSpec: read with places, checked in full, every fault reported at once. No torch, no Ray."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.checks import (
    MOST_CELLS,
    Variants,
    check_model_names,
    check_paths,
    check_references,
    check_reserved_names,
    check_steps,
    choose_models,
)
from orchestrator.errors import MissingExtra, Problem, WorkflowError, nearest
from orchestrator.graph import Graph, read_graph, report_unread
from orchestrator.models import PlannedModel, describe_models
from orchestrator.places import Document, read_document
from orchestrator.plan import Prompt
from orchestrator.prompt_rules import PromptRules, check_negative_prompts, prompt_rules
from orchestrator.prompts import Row, named, read_prompt_file
from orchestrator.setting_types import NAME, Settings, bad_name
from orchestrator.settings import (
    SECTIONS,
    HeadSettings,
    MatrixSettings,
    ModelsSettings,
    PromptFile,
    PromptsSettings,
    WorkflowFile,
)
from orchestrator.step_settings import STEPS
from orchestrator.validation import Cell, axes_of, cells_of, shown_cell, substitute, validate

MOST_STEPS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowSpec:
    """A workflow that has passed every check.

    path: the file; paths inside it are relative to its folder. text: what it says. raw: its steps as plain values.
    variants: each step's settings in every combination of the matrix parameters that it names itself.
    graph, models, chosen: who feeds whom, the models described, and the model of each step. document: places for
    messages that come later.
    """

    path: Path
    document: Document
    name: str
    seed: int
    repetitions: int
    output: str
    prompts: tuple[Prompt, ...]
    matrix: Mapping[str, tuple[Any, ...]]
    raw: Mapping[str, Mapping[str, Any]]
    variants: Variants
    graph: Graph
    models: Mapping[str, PlannedModel]
    chosen: Mapping[str, str]

    @property
    def text(self) -> str:
        """The file, word for word."""
        return self.document.text

    def axes(self, step: str) -> tuple[str, ...]:
        """The matrix parameters that a step depends on, itself or through what it reads, in matrix order."""
        return step_axes(self.graph, self.raw, self.matrix, step)


def read_workflow(path: Path | str, *, fetch: bool = False) -> WorkflowSpec:
    """Read and check a workflow file. WorkflowError lists everything that is wrong with it and with what it names.

    fetch: download hub models that are not on this machine.
    """
    path = Path(path)
    return check_workflow(read_document(path), path, fetch=fetch)


def check_workflow(document: Document, path: Path, *, fetch: bool = False) -> WorkflowSpec:
    """Check a document that was read from `path`; see `read_workflow`."""
    raw = document.root.plain()
    sections = _sections(document, raw)
    head, prompts_section, models_section, matrix_section = sections
    matrix = matrix_section.matrix if isinstance(matrix_section, MatrixSettings) else {}
    raw_steps = _raw_steps(document, raw)
    if isinstance(matrix_section, MatrixSettings):
        check_references(document, raw_steps, matrix)
    variants = _variants(document, raw_steps, matrix)
    models: dict[str, PlannedModel] = {}
    if isinstance(models_section, ModelsSettings):
        models = describe_models(document, models_section.models, path.parent, fetch)
    known = list(raw["models"]) if isinstance(raw.get("models"), dict) else []
    check_reserved_names(document, known)
    check_model_names(document, raw_steps, known)
    graph = read_graph(document, raw_steps)
    chosen: dict[str, str] = {}
    if graph is not None:
        report_unread(document, graph)
        chosen = choose_models(document, raw_steps, graph, models, known)
    exports = [name for name, step in raw_steps.items() if step.get("stage") == "export"]
    axes = {name: step_axes(graph, raw_steps, matrix, name) if graph else tuple(matrix) for name in exports}
    check_paths(document, raw_steps, axes)
    check_steps(document, variants, graph, chosen, models)
    prompts: tuple[Prompt, ...] = ()
    rules = prompt_rules(document, graph, chosen, models)
    if graph is not None:
        readers = {step: [models[name] for name in readers_of(graph, chosen, step)] for step in graph.order}
        check_negative_prompts(document, variants, readers, rules, chosen)
    if isinstance(prompts_section, PromptsSettings):
        prompts = _prompts(document, prompts_section, path.parent, rules)
    else:
        _check_readable_prompts(document, raw.get("prompts"), rules)
    document.raise_problems()
    if not isinstance(head, HeadSettings) or graph is None:
        raise AssertionError("a workflow without reported faults has a head and a graph")
    return WorkflowSpec(
        path=path,
        document=document,
        name=head.name,
        seed=head.seed,
        repetitions=head.repetitions,
        output=head.output or f"runs/{head.name}",
        prompts=prompts,
        matrix={axis: tuple(_frozen(value) for value in values) for axis, values in matrix.items()},
        raw=raw_steps,
        variants=variants,
        graph=graph,
        models=models,
        chosen=chosen,
    )


def readers_of(graph: Graph, chosen: Mapping[str, str], step: str) -> list[str]:
    """The models that generate from the conditioning of a step, each once, in order."""
    reading = [name for name in graph.order if graph.reads[name].get("conditioning") == step and name in chosen]
    return list(dict.fromkeys(chosen[name] for name in reading))


def step_axes(graph: Graph, steps: Mapping[str, Any], matrix: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The matrix parameters that a step depends on, in matrix order."""
    named_above = {axis for step in graph.above(name) for axis in axes_of(steps[step], matrix)}
    return tuple(axis for axis in matrix if axis in named_above)


def _sections(document: Document, raw: Mapping[str, Any]) -> list[Settings | None]:
    """Each section checked by itself, so that a fault in one hides nothing in another."""
    for key in raw:
        if key not in WorkflowFile.model_fields:
            document.report((key,), f"unknown key `{key}`; {nearest(key, WorkflowFile.model_fields)}", at_key=True)
    found = []
    for section in SECTIONS:
        values = {key: raw[key] for key in section.model_fields if key in raw}
        if values.get("matrix", {}) is None:
            del values["matrix"]
        found.append(validate(document, section, values))
    return found


def _raw_steps(document: Document, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The steps that are mappings; everything else is reported."""
    steps = raw.get("steps")
    if "steps" not in raw:
        document.report((), "the key `steps` is missing")
    elif not isinstance(steps, dict) or not steps:
        document.report(("steps",), "expected a mapping of step names to steps")
    elif len(steps) > MOST_STEPS:
        document.report(("steps",), f"{len(steps)} steps; at most {MOST_STEPS} are planned", at_key=True)
    else:
        for name, step in steps.items():
            if not isinstance(step, dict):
                document.report(("steps", name), "expected a mapping with `stage` and options")
        return {name: step for name, step in steps.items() if isinstance(step, dict)}
    return {}


def _variants(document: Document, steps: Mapping[str, Any], matrix: Mapping[str, Any]) -> Variants:
    """Every step checked in each combination of the parameters that it names."""
    variants: dict[str, list[tuple[Cell, Settings]]] = {}
    for name, step in steps.items():
        if not re.fullmatch(NAME, name):
            document.report(("steps", name), bad_name("step", name), at_key=True)
        stage = step.get("stage")
        if "stage" not in step:
            document.report(
                ("steps", name), f"the key `stage` is missing; known stages: {', '.join(STEPS)}", at_key=True
            )
            continue
        if stage not in STEPS:
            document.report(("steps", name, "stage"), f"unknown stage `{stage}`; {nearest(str(stage), STEPS)}")
            continue
        cells = list(itertools.islice(cells_of(axes_of(step, matrix), matrix), MOST_CELLS + 1))
        if len(cells) > MOST_CELLS:
            continue  # reported by check_references
        found: list[tuple[Cell, Settings]] = []

        def check(
            trial: Document, index: int, name: str = name, stage: str = stage, cells: Any = cells, found: Any = found
        ) -> None:
            values = substitute(steps[name], dict(cells[index]))
            settings = validate(trial, STEPS[stage], values, ("steps", name))
            if settings is not None:
                found.append((cells[index], settings))

        document.over([shown_cell(cell) for cell in cells], check)
        variants[name] = found
    return variants


def _prompts(document: Document, section: PromptsSettings, folder: Path, rules: PromptRules) -> tuple[Prompt, ...]:
    if isinstance(section.prompts, PromptFile):
        try:
            return read_prompt_file((folder / section.prompts.file).resolve(), section.prompts, rules)
        except WorkflowError as error:
            document.problems.extend(error.problems)
        except MissingExtra as error:
            place = document.root.value["prompts"]
            document.problems.append(Problem(document.file, place.line, place.column, "prompts", str(error)))
        return ()
    rows = [Row(entry.id, entry.text, 0) for entry in section.prompts]
    return named(rows, lambda index, message: document.report(("prompts", index), message), rules)


def _check_readable_prompts(document: Document, entries: Any, rules: PromptRules) -> None:
    """Beside the entries that are no prompts at all, which are reported already: look at the others."""
    rows, places = [], []
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        text, name = (entry.get("text"), entry.get("id")) if isinstance(entry, dict) else (entry, None)
        if isinstance(text, str) and (name is None or isinstance(name, str)):
            rows.append(Row(name or f"p{index:05d}", text, 0))
            places.append(index)
    named(rows, lambda index, message: document.report(("prompts", places[index]), message), rules)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
