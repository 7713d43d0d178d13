"""YAML files read so that every key and value keeps its line and column, and nothing in a file can do harm.

The YAML here is the 1.2 core schema: `1e-6` is a number; `on`, `yes`, `no` and dates are text. Tags, merge keys,
duplicate keys, keys that are not text and second documents are refused; anchors work within a budget, so that a file of
a few lines cannot grow to gigabytes. All faults of a file are found in one reading.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from orchestrator.errors import Problem, WorkflowError

LARGEST_FILE_BYTES = 16 * 2**20
LARGEST_DEPTH = 32
LARGEST_NODES_FROM_ALIASES = 10_000

_NULL = {"", "~", "null", "Null", "NULL"}
_TRUE, _FALSE = {"true", "True", "TRUE"}, {"false", "False", "FALSE"}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass(slots=True)
class Node:
    """A value and its place. value: a scalar, a list of nodes, or a dict of nodes; keys: where each key stands."""

    value: Any
    line: int
    column: int
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    size: int = 1

    def plain(self) -> Any:
        """The value without places: dicts, lists, text, numbers, booleans, None."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file that was read: its name for messages, its text, its nodes, and the problems found so far.

    settled: places (line, column) whose fault is known, so that what follows from it is not reported as well.
    """

    file: str
    text: str
    root: Node
    problems: list[Problem]
    settled: set[tuple[int, int]]

    def report(self, path: Sequence[str | int], message: str, *, at_key: bool = False, settles: bool = False) -> None:
        """Add a problem at a path. What the path names beyond the document is placed at its nearest parent.

        settles: later problems at this place are only consequences.
        """
        node, key_place = self.root, None
        named: list[str | int] = []
        for part in path:
            child = _child(node, part)
            if child is None:
                continue
            key_place = node.keys.get(part) if isinstance(part, str) else None
            node = child
            named.append(part)
        line, column = key_place if at_key and key_place else (node.line, node.column)
        if (line, column) not in self.settled:
            self.problems.append(Problem(self.file, line, column, dotted(named), message))
        if settles:
            self.settled.add((line, column))

    def over(self, notes: Sequence[str], check: Callable[[Document, int], None]) -> None:
        """Run `check(document, index)` once for each note. What is wrong every time is reported once, without note."""
        found: list[list[Problem]] = []
        for index in range(len(notes)):
            trial = replace(self, problems=[])
            check(trial, index)
            found.append(trial.problems)
        always = set[Problem]().union(*found).intersection(*found) if found else set()
        self.problems.extend(sorted(always))
        for note, problems in zip(notes, found, strict=True):
            self.problems.extend(replace(each, message=each.message + note) for each in problems if each not in always)

    def raise_problems(self) -> None:
        """Raise WorkflowError when there are any."""
        if self.problems:
            raise WorkflowError(list(dict.fromkeys(self.problems)))


def dotted(path: Sequence[str | int]) -> str:
    """A path as messages show it: `steps.small.size[1]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def read_text(path: Path, largest: int = LARGEST_FILE_BYTES) -> str:
    """The text of a UTF-8 file (a byte-order mark is dropped). WorkflowError when missing, too large or not UTF-8."""
    name = str(path)
    try:
        if path.stat().st_size > largest:
            raise WorkflowError([Problem(name, 0, 0, "", f"the file is larger than {largest // 2**20} MiB")])
        data = path.read_bytes()
    except FileNotFoundError:
        raise WorkflowError([Problem(name, 0, 0, "", "no such file")]) from None
    except IsADirectoryError:
        raise WorkflowError([Problem(name, 0, 0, "", "this is a folder; expected a file")]) from None
    except OSError as error:
        raise WorkflowError([Problem(name, 0, 0, "", f"cannot be read: {error.strerror}")]) from None
    return decode_utf8(data, name)


def decode_utf8(data: bytes, name: str) -> str:
    """Bytes to text; WorkflowError with line, column and offset of the first byte that is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        line_start = data.rfind(b"\n", 0, start) + 1
        line = data.count(b"\n", 0, start) + 1
        column = len(data[line_start:start].decode("utf-8", "replace")) + 1
        message = f"byte 0x{data[start]:02x} at offset {start} is not UTF-8; save the file as UTF-8"
        raise WorkflowError([Problem(name, line, column, "", message)]) from None


def read_document(path: Path) -> Document:
    """Read a YAML file whose top level is a mapping. WorkflowError when it cannot be read or parsed at all.

    Lesser faults (a tag, a duplicate key) are kept in `Document.problems`, to be reported with those found later.
    """
    return parse_document(read_text(path), str(path))


def parse_document(text: str, file: str) -> Document:
    """Parse YAML text; see `read_document`."""
    builder = _Builder(file)
    try:
        root = builder.document(yaml.parse(text, Loader=_loader()))
    except yaml.YAMLError as error:
        raise WorkflowError([_syntax_problem(file, text, error)]) from None
    except RecursionError:
        raise WorkflowError([Problem(file, 1, 1, "", f"nested deeper than {LARGEST_DEPTH} levels")]) from None
    if root is None or not isinstance(root.value, dict):
        kind = "nothing" if root is None or root.value is None else "a list" if isinstance(root.value, list) else "text"
        message = f"expected a mapping with keys such as `name`, `prompts`, `models` and `steps` at the top; got {kind}"
        raise WorkflowError([*builder.problems, Problem(file, 1, 1, "", message)])
    return Document(file, text, root, builder.problems, {(each.line, each.column) for each in builder.problems})


def scalar(text: str) -> Any:
    """A plain scalar by the YAML 1.2 core schema."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INT.fullmatch(text):
        if len(text) > 400:
            return text
        return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return math.nan if text[-1] in "nN" else -math.inf if text[0] == "-" else math.inf
    return text


class _Builder:
    """Events of a YAML parser to nodes. Aliases share their node; what they would expand to is counted."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.anchors: dict[str, Node] = {}
        self.expanded = 0

    def document(self, events: Iterator[Any]) -> Node | None:
        root = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents == 2:
                    self.refuse(event, "a second YAML document starts here; expected one document")
            elif isinstance(event, yaml.NodeEvent):
                node = self.node(event, events, 0)
                root = node if root is None else root
        return root

    def refuse(self, event: Any, message: str) -> None:
        mark = event.start_mark
        self.problems.append(Problem(self.file, mark.line + 1, mark.column + 1, "", message))

    def node(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        mark = event.start_mark
        node = Node(None, mark.line + 1, mark.column + 1)
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, node)
        if event.tag is not None:
            self.refuse(event, f"tag `{event.tag}` is not allowed; write plain YAML")
        if depth > LARGEST_DEPTH:
            raise RecursionError
        if isinstance(event, yaml.ScalarEvent):
            node.value = scalar(event.value) if event.implicit[0] else event.value
        elif isinstance(event, yaml.SequenceStartEvent):
            self.sequence(node, events, depth)
        else:
            self.mapping(node, events, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def alias(self, event: Any, node: Node) -> Node:
        target = self.anchors.get(event.anchor)
        if target is None:
            self.refuse(event, f"alias `*{event.anchor}` names no anchor before it")
            return node
        self.expanded += target.size
        if self.expanded > LARGEST_NODES_FROM_ALIASES:
            self.refuse(event, f"aliases expand to more than {LARGEST_NODES_FROM_ALIASES} values; write them out")
            raise WorkflowError(self.problems)
        return Node(target.value, node.line, node.column, target.keys, target.size)

    def sequence(self, node: Node, events: Iterator[Any], depth: int) -> None:
        node.value = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                return
            child = self.node(event, events, depth + 1)
            node.value.append(child)
            node.size += child.size

    def mapping(self, node: Node, events: Iterator[Any], depth: int) -> None:
        node.value = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                return
            key = self.node(event, events, depth + 1)
            child = self.node(next(events), events, depth + 1)
            node.size += child.size
            if not isinstance(key.value, str):
                self.refuse(event, f"a key must be text; got {_shown(key.value)}; put it in quotes if it is a name")
            elif key.value == "<<":
                self.refuse(event, "merge keys `<<` are not allowed; write the keys out")
            elif key.value in node.value:
                line, column = node.keys[key.value]
                self.refuse(event, f"key `{key.value}` stands twice; first at {line}:{column}")
            else:
                node.value[key.value] = child
                node.keys[key.value] = (key.line, key.column)


def _loader() -> Any:
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _child(node: Node, part: str | int) -> Node | None:
    if isinstance(part, str) and isinstance(node.value, dict):
        return node.value.get(part)
    if isinstance(part, int) and isinstance(node.value, list) and part < len(node.value):
        child: Node = node.value[part]
        return child
    return None


def _shown(value: Any) -> str:
    return "a list" if isinstance(value, list) else "a mapping" if isinstance(value, dict) else f"`{value}`"


def _syntax_problem(file: str, text: str, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        reason = getattr(error, "problem", None) or getattr(error, "context", None) or "cannot be parsed"
        return Problem(file, mark.line + 1, mark.column + 1, "", f"not valid YAML: {reason}")
    found = re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]", text)
    at = found.start() if found else 0
    line = text.count("\n", 0, at) + 1
    column = at - text.rfind("\n", 0, at)
    what = f"control character U+{ord(text[at]):04X}" if found else str(error)
    return Problem(file, line, column, "", f"not valid YAML: {what} is not allowed")
