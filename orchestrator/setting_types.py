"""What the settings of a workflow are built from: their base, names of catalog tables, short forms, small types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from modalities import catalog as modality_catalog
from modalities.catalog import Entry
from orchestrator.errors import nearest

NAME = r"[A-Za-z][A-Za-z0-9_-]{0,63}"


class Settings(BaseModel):
    """Base of all: nothing unknown, nothing converted, nothing changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)


@dataclass(frozen=True, slots=True)
class Known:
    """Text that must be a name of a catalog table; editors get the list."""

    table: str
    entries: Mapping[str, Entry] = field(hash=False)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "enum": sorted(self.entries)}

    def check(self, name: str) -> str:
        """The name itself, or an error with the nearest one."""
        if name in self.entries or name in modality_catalog.outside_entries(self.table):
            return name
        text = f"unknown {self.table} `{name}`; {nearest(name, self.entries)}"
        raise PydanticCustomError("unknown_name", "{text}", {"text": text})


def bad_name(what: str, name: str) -> str:
    """The message about a name that cannot be one."""
    return f"`{name}` is not a name for a {what}; use a letter, then letters, digits, `-` and `_` (at most 64)"


def named(what: str) -> AfterValidator:
    """A check that text can be the name of a thing of this kind."""

    def check(name: str) -> str:
        if re.fullmatch(NAME, name):
            return name
        raise PydanticCustomError("bad_name", "{text}", {"text": bad_name(what, name)})

    return AfterValidator(check)


def short_for(key: str, kinds: tuple[type, ...], shown: Any) -> BeforeValidator:
    """A plain value stands for a mapping that holds nothing but it."""

    def expand(value: Any) -> Any:
        plain = isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds)
        return {key: value} if plain else value

    return BeforeValidator(expand, json_schema_input_type=shown)


Size = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=4)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
