"""Prompt lists: inline, text, CSV, JSON Lines and Parquet. Every fault is reported with its line.

Ids are kept as they are given; file names use `slug(id)`. Prompts without an id are called p00000, p00001, ... in the
order of the list. A prompt's text is kept as it is, so blanks at its ends are part of it.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.errors import MissingExtra, Problem, WorkflowError, nearest
from orchestrator.paths import slug
from orchestrator.places import read_text
from orchestrator.plan import Prompt
from orchestrator.prompt_rules import PromptRules
from orchestrator.settings import PromptFile

LARGEST_PROMPT_FILE_BYTES = 2**30
MOST_PROBLEMS = 50

Report = Callable[[int, str], None]
"""`report(index, message)`: a fault of the prompt at an index of the list."""


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt as it was found: id (None when the list gives none), text, and the line it is on (0 when unknown)."""

    id: str | None
    text: str
    line: int


def named(rows: Sequence[Row], report: Report, rules: PromptRules) -> tuple[Prompt, ...]:
    """Prompts with ids, after reporting texts that break the rules, and empty, doubled and clashing ids."""
    prompts = []
    seen: dict[str, int] = {}
    slugs: dict[str, int] = {}
    for index, row in enumerate(rows):
        name = f"p{index:05d}" if row.id is None else row.id
        if fault := rules.fault(row.text):
            report(index, fault)
        if not name.strip():
            report(index, "the id is empty")
        elif found := re.search(r"[\x00-\x1f\x7f]", name):
            report(index, f"the id holds the control character U+{ord(found.group()):04X}")
        elif name in seen:
            report(index, f"the id `{name}` stands twice; first at {_shown_place(rows, seen[name])}")
        elif (key := slug(name).casefold()) in slugs:
            other = rows[slugs[key]].id or f"p{slugs[key]:05d}"
            report(index, f"the ids `{name}` and `{other}` would give one file name where case does not count")
        seen.setdefault(name, index)
        slugs.setdefault(slug(name).casefold(), index)
        prompts.append(Prompt(name, row.text))
    return tuple(prompts)


def read_prompt_file(path: Path, settings: PromptFile, rules: PromptRules) -> tuple[Prompt, ...]:
    """The prompts of a file. WorkflowError lists its faults; MissingExtra for Parquet."""
    readers = {".txt": _text_rows, ".csv": _csv_rows, ".jsonl": _json_rows, ".parquet": _parquet_rows}
    problems: list[Problem] = []

    def fault(line: int, message: str) -> None:
        problems.append(Problem(str(path), line, 1 if line else 0, "", message))

    reader = readers.get(path.suffix.lower())
    if reader is None:
        fault(0, f"unknown kind of prompt file `{path.suffix}`; {nearest(path.suffix, readers)}")
        raise WorkflowError(problems)
    rows = list(reader(path, settings, fault))
    if not rows and not problems:
        fault(0, "the file holds no prompts")
    prompts = named(rows, lambda index, message: fault(rows[index].line, _with_row(path, index, message)), rules)
    if len(problems) > MOST_PROBLEMS:
        rest = len(problems) - MOST_PROBLEMS
        problems = [*problems[:MOST_PROBLEMS], Problem(str(path), 0, 0, "", f"and {rest} more faults of this kind")]
    if problems:
        raise WorkflowError(problems)
    return prompts


Fault = Callable[[int, str], None]


def _text_rows(path: Path, settings: PromptFile, fault: Fault) -> Iterator[Row]:
    """One prompt per line. The line end after the last prompt is no prompt."""
    for key in ("id", "text"):
        if getattr(settings, key) is not None:
            fault(0, f"a .txt file has no columns, so `{key}` has no meaning here; use .csv")
    lines = read_text(path, LARGEST_PROMPT_FILE_BYTES).replace("\r\n", "\n").split("\n")
    for number, line in enumerate(lines[:-1] if lines[-1] == "" else lines, start=1):
        yield Row(None, line, number)


def _csv_rows(path: Path, settings: PromptFile, fault: Fault) -> Iterator[Row]:
    """RFC 4180 with a header line; fields in quotes may hold line ends."""
    text = read_text(path, LARGEST_PROMPT_FILE_BYTES)
    if "\0" in text:
        fault(text.count("\n", 0, text.index("\0")) + 1, "the file holds a zero byte")
        return
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = next(_checked(reader, fault), None)
    if header is None:
        return
    columns = _columns(header, settings, partial(fault, 1))
    if columns is None:
        return
    id_at, text_at = (header.index(name) if name is not None else None for name in columns)
    line = reader.line_num + 1
    for cells in _checked(reader, fault):
        start, line = line, reader.line_num + 1
        if len(cells) != len(header):
            if cells:
                fault(start, f"expected {len(header)} fields as in the header; got {len(cells)}")
            continue
        yield Row(None if id_at is None else cells[id_at], cells[text_at or 0], start)


def _checked(reader: Any, fault: Fault) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        fault(reader.line_num, f"not valid CSV: {error}")


def _json_rows(path: Path, settings: PromptFile, fault: Fault) -> Iterator[Row]:
    """One JSON object per line."""
    for number, line in enumerate(read_text(path, LARGEST_PROMPT_FILE_BYTES).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            fault(number, f"not valid JSON: {error}")
            continue
        if not isinstance(entry, dict):
            fault(number, 'expected a JSON object such as {"id": "a", "text": "a red apple"}')
            continue
        columns = _columns(list(entry), settings, partial(fault, number))
        if columns is not None:
            yield from _checked_row(columns, entry, number, fault)


def _parquet_rows(path: Path, settings: PromptFile, fault: Fault) -> Iterator[Row]:
    """A Parquet file; only the columns that are needed are read."""
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
        arrow: Any = importlib.import_module("pyarrow")
    except ImportError:
        raise MissingExtra("pyarrow", "data", f"reading {path}") from None
    try:
        with parquet.ParquetFile(path) as file:
            columns = _columns(list(file.schema_arrow.names), settings, partial(fault, 0))
            if columns is None:
                return
            table = file.read(columns=[name for name in columns if name is not None])
    except (OSError, arrow.ArrowException) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"not a readable Parquet file: {error}"
        fault(0, reason)
        return
    for index, entry in enumerate(table.to_pylist()):
        yield from _checked_row(columns, entry, 0, partial(_row_fault, fault, index))


def _row_fault(fault: Fault, index: int, line: int, message: str) -> None:
    fault(line, f"row {index}: {message}")


def _checked_row(columns: tuple[str | None, str], entry: dict[str, Any], line: int, fault: Fault) -> Iterator[Row]:
    id_column, text_column = columns
    text = entry.get(text_column)
    given = entry.get(id_column) if id_column is not None else None
    name = str(given) if isinstance(given, str | int) and not isinstance(given, bool) else None
    if not isinstance(text, str):
        fault(line, f"`{text_column}` must be text; got {json.dumps(text, default=str)}")
    elif id_column is not None and name is None:
        fault(line, f"`{id_column}` must be text or a whole number; got {json.dumps(given, default=str)}")
    else:
        yield Row(name, text, line)


def _columns(names: Iterable[str], settings: PromptFile, fault: Callable[[str], None]) -> tuple[str | None, str] | None:
    """The columns of ids (None when there is none) and texts; None after a fault."""
    known = list(names)
    text = settings.text or "text"
    name = settings.id if settings.id is not None else "id" if "id" in known else None
    missing = [column for column in (name, text) if column is not None and column not in known]
    for column in missing:
        fault(f"no column `{column}`; {nearest(column, known)}")
    doubled = [column for column in (name, text) if column is not None and known.count(column) > 1]
    for column in doubled:
        fault(f"the column `{column}` stands twice")
    return None if missing or doubled else (name, text)


def _shown_place(rows: Sequence[Row], index: int) -> str:
    return f"line {rows[index].line}" if rows[index].line else f"entry {index}"


def _with_row(path: Path, index: int, message: str) -> str:
    return f"row {index}: {message}" if path.suffix.lower() == ".parquet" else message
