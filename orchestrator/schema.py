"""The JSON Schema of workflow files, for editors: completion, names from the catalogs, and one line on every key."""

from __future__ import annotations

from typing import Any

from orchestrator.settings import WorkflowFile
from orchestrator.step_settings import STEPS

IDENTIFIER = "urn:parhelion:schema:workflow-1"
REFERENCE = {"type": "string", "pattern": r"^\$\{\s*matrix\.[A-Za-z][A-Za-z0-9_-]*\s*\}$"}
FIXED = {"stage", "from", "model", "batch_size", "path"}
"""Keys of a step that cannot change within a matrix."""


def workflow_schema() -> dict[str, Any]:
    """The schema as plain values. Wherever a step takes a value, it also takes a reference to a matrix parameter."""
    schema = WorkflowFile.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    definitions["Reference"] = {**REFERENCE, "description": "a parameter of the matrix, as ${matrix.name}"}
    inner = ["SamplerSettings", "ScheduleSettings", "GuidanceSettings", "FormatSettings"]
    for name in [*(step.__name__ for step in STEPS.values()), *inner]:
        for key, value in definitions[name]["properties"].items():
            if key not in FIXED:
                definitions[name]["properties"][key] = _or_reference(value)
    for name in definitions:
        definitions[name].pop("title", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": IDENTIFIER, **schema}


def _or_reference(value: dict[str, Any]) -> dict[str, Any]:
    """A property that also takes a reference; a list takes one in place of each entry."""
    outside: dict[str, Any] = {key: value[key] for key in ("description", "default", "title") if key in value}
    inside = {key: entry for key, entry in value.items() if key not in outside}
    choices = [_with_references_inside(choice) for choice in inside.get("anyOf", [inside])]
    outside.pop("title", None)
    return {"anyOf": [*choices, {"$ref": "#/$defs/Reference"}], **outside}


def _with_references_inside(choice: dict[str, Any]) -> dict[str, Any]:
    if choice.get("type") != "array":
        return choice
    return {**choice, "items": {"anyOf": [choice["items"], {"$ref": "#/$defs/Reference"}]}}
