"""What a prompt must fulfil for the models of a workflow: its length, and, where a model knows classes, its class."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modalities.weights.class_list import ClassList, read_classes
from orchestrator.families import has_null_condition
from orchestrator.graph import Graph
from orchestrator.models import LONGEST_PROMPT, PlannedModel
from orchestrator.places import Document
from orchestrator.step_settings import EncodeStep

CLASS_NAMES = "class-names"
"""The kind of text encoder whose prompts are classes."""
CLASSES = "classes.json"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class PromptRules:
    """longest: the most characters of a prompt. encoder: who sets this limit. classes: of each model that has some."""

    longest: int
    encoder: str
    classes: Mapping[str, ClassList] = field(default_factory=dict)

    @property
    def takes_empty(self) -> bool:
        """Whether prompts are empty, since no model in use knows anything to be told."""
        return bool(self.classes) and not any(classes.names for classes in self.classes.values())

    def fault(self, text: str) -> str | None:
        """What is wrong with a prompt, or None."""
        if not text.strip():
            return None if self.takes_empty else "the prompt is empty"
        if len(text) > self.longest:
            limit = f"the text encoder {self.encoder} takes at most {self.longest}"
            return f"the prompt has {len(text)} characters; {limit}"
        if found := _CONTROL.search(text):
            return f"the prompt holds the control character U+{ord(found.group()):04X}"
        for model, classes in self.classes.items():
            if wrong := class_fault(classes, text, model):
                return wrong
        return None


def class_fault(classes: ClassList, text: str, model: str) -> str | None:
    """Why a text is no class of a model, or None."""
    try:
        classes.number(text)
    except ValueError as error:
        return f"model `{model}`: {error}"
    return None


def prompt_rules(
    document: Document, graph: Graph | None, chosen: Mapping[str, str], models: Mapping[str, PlannedModel]
) -> PromptRules:
    """The strictest limit of all text encoders in use, and their classes; classes that cannot be read are reported."""
    encoding = [name for name in graph.order if graph.shapes[name].stage == "encode"] if graph is not None else []
    used = [models[chosen[name]] for name in encoding if name in chosen]
    longest, encoder = min(((each.longest_prompt, each.encoder_name) for each in used), default=(LONGEST_PROMPT, "any"))
    classes = {}
    for model in used:
        if model.description.text_encoder.get("kind") != CLASS_NAMES:
            continue
        try:
            classes[model.name] = read_classes(_classes_file(model))
        except ValueError as error:
            document.report(("models", model.name, "source"), str(error))
    return PromptRules(longest, encoder, classes)


def check_negative_prompts(
    document: Document,
    variants: Mapping[str, object],
    readers: Mapping[str, list[PlannedModel]],
    rules: PromptRules,
    chosen: Mapping[str, str],
) -> None:
    """Report negative prompts that are no class, or that no null condition of a reading model can take the place of.

    variants: the settings of every step in every cell. readers: encode step -> the models that generate from it.
    """
    for name, models in readers.items():
        entries = variants.get(name)
        for _, settings in entries if isinstance(entries, list) else []:
            if not isinstance(settings, EncodeStep) or not settings.negative_prompt:
                continue
            at, own = ("steps", name, "negative_prompt"), chosen.get(name, "")
            wrong = class_fault(rules.classes[own], settings.negative_prompt, own) if own in rules.classes else None
            if wrong:
                document.report(at, wrong)
            for model in models:
                if not has_null_condition(model):
                    message = "was trained without a null condition, so there is no guidance and no negative prompt"
                    document.report(at, f"model `{model.name}` ({model.description.family}) {message}; leave it out")


def _classes_file(model: PlannedModel) -> Path:
    """Where the classes of a model stand: what its description says, else beside its weights."""
    file = model.description.text_encoder.get("file")
    return Path(str(file)) if file else Path(model.description.folder or model.source) / CLASSES
