"""The `config` entries of a model.json as frozen dataclasses, and back. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")


def config_from(kind: type[Config], values: Mapping[str, Any], name: str) -> Config:
    """A configuration of class `kind` from plain values; lists, nested ones too, become tuples.

    ValueError, which begins with `name`, says which keys do not exist, their nearest names, and which do; or that a
    value is of the wrong type.
    """
    known = sorted(field.name for field in fields(kind))
    unknown = sorted(set(values) - set(known))
    if unknown:
        near = [found for key in unknown for found in get_close_matches(str(key), known, 1)]
        meant = f" (did you mean {', '.join(near)}?)" if near else ""
        raise ValueError(f"{name}: unknown {', '.join(map(str, unknown))}; known: {', '.join(known)}{meant}")
    try:
        return kind(**{key: _tuples(value) for key, value in values.items()})
    except TypeError as error:  # what a check in `kind` makes of text where a number belongs
        raise ValueError(f"{name}: a value is of the wrong type; {error}") from None


def plain_values(config: DataclassInstance) -> dict[str, Any]:
    """All fields as JSON can hold them; `config_from` reads it back."""
    return {key: _lists(value) for key, value in asdict(config).items()}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list | tuple) else value


def _lists(value: Any) -> Any:
    return [_lists(one) for one in value] if isinstance(value, list | tuple) else value
