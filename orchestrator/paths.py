"""Names of files in a run folder: made safe, and checked before anything is written."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.errors import nearest

DEFAULT_TEMPLATE = "{id}{suffix}"
FIELDS = ("id", "prompt_id", "step", "repetition", "suffix")
"""What a path template may hold, beside the matrix parameters by name."""

_UNSAFE = re.compile(r"[^\w.-]+")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_FIELD = re.compile(r"\{([^{}]*)\}")
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
_LONGEST_SLUG_BYTES = 80
_LONGEST_PART_BYTES = 240


def slug(name: str) -> str:
    """A name made safe for every file system; a changed name ends with eight hex digits of its hash.

    Letters and digits of any script, `.`, `_` and `-` stay. Reserved names of Windows, names that start or end with a
    dot, and names over 80 bytes are changed.
    """
    text = unicodedata.normalize("NFC", name)
    safe = _UNSAFE.sub("-", text).strip(".-") or "x"
    while len(safe.encode()) > _LONGEST_SLUG_BYTES:
        safe = safe[:-1]
    if safe == name and not _RESERVED.fullmatch(safe):
        return safe
    return f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def shown(value: Any) -> str:
    """A matrix value as file names show it: `4`, `0.5`, `128x128`, `dpm-solver++`."""
    if isinstance(value, list | tuple):
        return "x".join(shown(entry) for entry in value)
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    return text if re.fullmatch(r"[+-]?\w([\w.+-]{0,38}[\w+])?", text) else slug(text)


def template_faults(template: str, axes: Iterable[str]) -> list[str]:
    """What is wrong with a path template, whatever the samples are. axes: the matrix parameters of its step."""
    faults = []
    known = {*FIELDS, *axes}
    for field in _FIELD.findall(template):
        if field not in known:
            faults.append(f"unknown field `{{{field}}}`; {nearest(field, known)}")
    plain = _FIELD.sub(lambda match: ".x" if match.group(1) == "suffix" else "x", template)
    if found := _FORBIDDEN.search(plain):
        sign = found.group()
        faults.append(
            f"the path holds {f'`{sign}`' if sign.isprintable() else f'the control character U+{ord(sign):04X}'}"
        )
    elif "{" in plain or "}" in plain:
        faults.append("the path holds a brace without its partner")
    elif plain.startswith("/"):
        faults.append("the path is absolute; it must stay inside the run folder")
    elif ".." in plain.split("/"):
        faults.append("the path leaves the run folder through `..`")
    elif any(part in ("", ".") or part.startswith(".") or part.endswith((" ", ".")) for part in plain.split("/")):
        faults.append("a part of the path is empty, or starts with a dot, or ends with a dot or blank")
    return faults


def file_name(template: str, fields: Mapping[str, Any]) -> str:
    """A template filled in: the path of one file below `media/`, with forward slashes.

    The text of every field is made safe, so the result stays in the folder when `template_faults` finds nothing.
    Raises ValueError for an unknown field and for a part of the path that is too long for a file system.
    """
    try:
        name = _FIELD.sub(lambda match: str(fields[match.group(1)]), template)
    except KeyError as error:
        raise ValueError(
            f"path `{template}`: unknown field `{error.args[0]}`; {nearest(error.args[0], fields)}"
        ) from None
    for part in name.split("/"):
        if len(part.encode()) > _LONGEST_PART_BYTES:
            raise ValueError(
                f"path `{template}` gives a name longer than {_LONGEST_PART_BYTES} bytes: `{part[:40]}...`"
            )
    return name


def fields_of(
    sample_id: str, prompt_id: str, step: str, repetition: int, cell: Mapping[str, Any], suffix: str
) -> dict[str, str]:
    """The safe fields of one sample for `file_name`. suffix: with its dot."""
    fields = {axis: shown(value) for axis, value in cell.items()}
    fields |= {"id": sample_id, "prompt_id": slug(prompt_id), "step": step, "repetition": str(repetition)}
    return fields | {"suffix": suffix}
