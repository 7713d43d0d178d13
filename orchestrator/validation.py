"""Values of a YAML document checked against a settings class; every fault gets its place and plain words."""

from __future__ import annotations

import itertools
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from orchestrator.errors import nearest
from orchestrator.places import Document

Model = TypeVar("Model", bound=BaseModel)
Cell = tuple[tuple[str, Any], ...]
"""One combination of matrix parameters: (name, value) pairs in matrix order."""

REFERENCE = re.compile(r"\$\{\s*([^}]*?)\s*\}")
_LIST_PARTS = re.compile(r"'([^']*)'")


def validate(document: Document, model: type[Model], value: Any, at: Sequence[str | int] = ()) -> Model | None:
    """The settings, or None with every fault reported to the document. at: where `value` stands in it."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_context=True):
            _report(document, model, fault, tuple(at))
        return None


def references(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every `${...}` in text below a value: its path and what stands between the braces."""
    if isinstance(value, str):
        for match in REFERENCE.finditer(value):
            yield path, match.group(1)
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            yield from references(entry, (*path, key))
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from references(entry, (*path, index))


def substitute(value: Any, cell: Mapping[str, Any]) -> Any:
    """A value with each `${matrix.name}` replaced. Text that is nothing else takes the parameter's own type."""
    if isinstance(value, str):
        whole = REFERENCE.fullmatch(value)
        if whole and _axis(whole.group(1)) in cell:
            return cell[_axis(whole.group(1))]
        return REFERENCE.sub(
            lambda match: str(cell[_axis(match.group(1))]) if _axis(match.group(1)) in cell else match.group(0), value
        )
    if isinstance(value, Mapping):
        return {key: substitute(entry, cell) for key, entry in value.items()}
    if isinstance(value, list):
        return [substitute(entry, cell) for entry in value]
    return value


def axes_of(value: Any, matrix: Mapping[str, Sequence[Any]]) -> tuple[str, ...]:
    """The matrix parameters that a value refers to, in matrix order."""
    named = {_axis(reference) for _, reference in references(value)}
    return tuple(axis for axis in matrix if axis in named)


def cells_of(axes: Sequence[str], matrix: Mapping[str, Sequence[Any]]) -> Iterator[Cell]:
    """The combinations of some matrix parameters, the last one changing fastest."""
    for values in itertools.product(*(matrix[axis] for axis in axes)):
        yield tuple(zip(axes, values, strict=True))


def shown_cell(cell: Cell) -> str:
    """` (with guidance = 4)`, or nothing for the empty cell."""
    return f" (with {', '.join(f'{axis} = {value}' for axis, value in cell)})" if cell else ""


def _axis(reference: str) -> str:
    kind, _, name = reference.partition(".")
    return name if kind == "matrix" else ""


def _report(document: Document, model: type[BaseModel], fault: Any, at: tuple[str | int, ...]) -> None:
    location = tuple(fault["loc"])
    kind, context = fault["type"], fault.get("ctx", {})
    if kind == "extra_forbidden":
        known = keys_of(model, location[:-1])
        document.report(
            (*at, *location), f"unknown key `{location[-1]}`; {nearest(str(location[-1]), known)}", at_key=True
        )
        return
    if kind == "missing":
        document.report((*at, *location[:-1]), f"the key `{location[-1]}` is missing", at_key=True)
        return
    if kind == "union_tag_not_found":
        document.report((*at, *location), "the key `stage` is missing; every step has one", at_key=True)
        return
    if kind == "union_tag_invalid":
        known = _LIST_PARTS.findall(context["expected_tags"])
        text = f"unknown stage `{context['tag']}`; {nearest(str(context['tag']), known)}"
        document.report((*at, *location, "stage"), text)
        return
    document.report((*at, *location), _in_words(fault))


def _in_words(fault: Any) -> str:
    kind, context, given = fault["type"], fault.get("ctx", {}), _shown(fault.get("input"))
    expected = {
        "int_type": "a whole number",
        "float_type": "a number",
        "finite_number": "a finite number",
        "string_type": "text",
        "bool_type": "true or false",
        "list_type": "a list",
        "dict_type": "a mapping",
        "model_type": "a mapping",
        "model_attributes_type": "a mapping",
    }.get(kind)
    if expected is not None:
        quotes = "; put it in quotes" if kind == "string_type" and not isinstance(fault["input"], list | dict) else ""
        return f"expected {expected}; got {given}{quotes}"
    limits = {
        "greater_than": ("more than", "gt"),
        "greater_than_equal": ("at least", "ge"),
        "less_than": ("less than", "lt"),
        "less_than_equal": ("at most", "le"),
    }
    if kind in limits:
        words, key = limits[kind]
        return f"expected {words} {context[key]:g}; got {given}"
    if kind == "literal_error":
        known = _LIST_PARTS.findall(context["expected"])
        return f"unknown value {given}; {nearest(str(fault['input']), known)}"
    if kind in {"too_short", "too_long"}:
        bound = f"at least {context['min_length']}" if kind == "too_short" else f"at most {context['max_length']}"
        return f"expected {bound} {'entry' if bound.endswith(' 1') else 'entries'}; got {context['actual_length']}"
    if kind == "string_too_short":
        return "expected text; got nothing"
    if kind == "string_too_long":
        return f"expected at most {context['max_length']} characters; got {len(fault['input'])}"
    return str(fault["msg"])


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"the text `{value if len(value) <= 60 else value[:57] + '...'}`"
    if isinstance(value, list):
        return "a list"
    return "a mapping" if isinstance(value, dict) else f"`{value}`"


def keys_of(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """The keys that a settings class takes at a location of a validation error; empty when it takes any."""
    kinds: list[Any] = [model]
    for part in location:
        kinds = [inner for kind in kinds for inner in _step_into(kind, part)]
    models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return sorted({field.alias or name for kind in models for name, field in kind.model_fields.items()})


def _step_into(kind: Any, part: str | int) -> list[Any]:
    """The types behind one part of a location: a field, a key, an index, or the tag of a union."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            if (field.alias or name) == part:
                return _alternatives(field.annotation)
        return [kind] if part in _tags(kind) else []
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is dict:
        return _alternatives(arguments[1])
    if origin is list:
        return _alternatives(arguments[0]) if isinstance(part, int) else [kind]
    return []


def _alternatives(annotation: Any) -> list[Any]:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _alternatives(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return [kind for argument in arguments for kind in _alternatives(argument)]
    return [annotation]


def _tags(kind: type[BaseModel]) -> Sequence[str]:
    stage = kind.model_fields.get("stage")
    return typing.get_args(stage.annotation) if stage is not None else ("file", "list")
