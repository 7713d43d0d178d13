"""Steps as a graph: who feeds whom. Works on what the file says, so that its faults are found beside all others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.catalog import STAGES
from orchestrator.errors import nearest
from orchestrator.places import Document


@dataclass(frozen=True, slots=True)
class Shape:
    """A step as far as the graph knows it. sources: the steps named in `from`."""

    name: str
    stage: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """order: step names, every step after those that feed it. reads: step -> kind -> the step that writes it."""

    order: tuple[str, ...]
    reads: Mapping[str, Mapping[str, str]]
    shapes: Mapping[str, Shape]

    def above(self, name: str) -> list[str]:
        """The steps that feed a step through what it reads, itself included, in order."""
        found = {name}
        for earlier in reversed(self.order):
            if earlier in found:
                found |= set(self.reads[earlier].values())
        return [step for step in self.order if step in found]


def kinds(stage: str, fact: str) -> list[str]:
    """The kinds of values that a stage `reads`, may read (`optional`) or `writes`."""
    return str(STAGES[stage].facts.get(fact, "")).split()


def shapes_of(steps: Any) -> dict[str, Shape]:
    """Shapes of the steps whose stage and `from` can be understood."""
    found = {}
    for name, step in steps.items() if isinstance(steps, dict) else ():
        if isinstance(step, dict) and step.get("stage") in STAGES:
            given = step.get("from", [])
            sources = [given] if isinstance(given, str) else given if isinstance(given, list) else []
            found[name] = Shape(name, step["stage"], tuple(source for source in sources if isinstance(source, str)))
    return found


def read_graph(document: Document, steps: Any) -> Graph | None:
    """The graph of a workflow's steps; None after a fault that hides the rest, all reported to the document."""
    shapes = shapes_of(steps)
    if not shapes:
        return None
    _report_unknown_sources(document, shapes, steps)
    cycle = _find_cycle(shapes)
    if cycle:
        document.report(("steps", cycle[0], "from"), f"the steps form a cycle: {' -> '.join([*cycle, cycle[0]])}")
    is_whole = all(shape.sources for shape in shapes.values() if kinds(shape.stage, "reads"))
    has_unknown = any(source not in shapes for shape in shapes.values() for source in shape.sources)
    if cycle or has_unknown or not is_whole or len(shapes) < len(steps):
        return None
    before = len(document.problems)
    order = _sorted(shapes)
    reads = {name: _reads(document, shapes, name) for name in order}
    graph = Graph(tuple(order), reads, shapes)
    if len(document.problems) > before:
        return None
    return graph


def report_unread(document: Document, graph: Graph) -> None:
    """Report steps that lead to no file."""
    exports = [name for name in graph.order if graph.shapes[name].stage == "export"]
    if not exports:
        document.report(("steps",), "no step writes files; add a step with stage: export", at_key=True)
        return
    used = {name for export in exports for name in graph.above(export)}
    for name in graph.order:
        if name not in used:
            made = " and ".join(kinds(graph.shapes[name].stage, "writes"))
            document.report(
                ("steps", name), f"no export depends on the {made} of step `{name}`; use or remove it", at_key=True
            )


def _report_unknown_sources(document: Document, shapes: Mapping[str, Shape], steps: Mapping[str, Any]) -> None:
    for shape in shapes.values():
        is_list = isinstance(steps[shape.name].get("from"), list)
        for index, source in enumerate(shape.sources):
            if source not in steps:
                path: tuple[str | int, ...] = ("steps", shape.name, "from", *([index] if is_list else []))
                document.report(path, f"unknown step `{source}`; {nearest(source, set(steps) - {shape.name})}")


def _find_cycle(shapes: Mapping[str, Shape]) -> list[str]:
    """Steps that feed each other in a ring, from the first in the file; empty without one."""
    state: dict[str, int] = {}

    def visit(name: str, trail: list[str]) -> list[str]:
        state[name] = 1
        for source in shapes[name].sources:
            if source not in shapes:
                continue
            if state.get(source) == 1:
                ring = [*trail, name][[*trail, name].index(source) :][::-1]
                first = min(ring, key=list(shapes).index)
                return ring[ring.index(first) :] + ring[: ring.index(first)]
            if source not in state and (found := visit(source, [*trail, name])):
                return found
        state[name] = 2
        return []

    for name in shapes:
        if name not in state and (found := visit(name, [])):
            return found
    return []


def _sorted(shapes: Mapping[str, Shape]) -> list[str]:
    """Step names so that sources come first; otherwise in the order of the file."""
    order: list[str] = []

    def place(name: str) -> None:
        for source in shapes[name].sources:
            if source not in order:
                place(source)
        if name not in order:
            order.append(name)

    for name in shapes:
        place(name)
    return order


def _reads(document: Document, shapes: Mapping[str, Shape], name: str) -> dict[str, str]:
    shape = shapes[name]
    found = {}
    missing = []
    for fact in ("reads", "optional"):
        for kind in kinds(shape.stage, fact):
            writers = _nearest_writers(shapes, shape.sources, kind)
            if len(writers) > 1:
                names = " and ".join(f"`{writer}`" for writer in writers)
                document.report(("steps", name, "from"), f"{kind} could come from {names}; name only one of them")
            elif writers:
                found[kind] = writers[0]
            elif fact == "reads":
                missing.append(kind)
    if missing:
        makers = sorted({stage for kind in missing for stage in STAGES if kind in kinds(stage, "writes")})
        document.report(
            ("steps", name, "from"),
            f"step `{name}` ({shape.stage}) reads {' and '.join(missing)}, which no step before it writes; "
            f"let `from` lead to a step with stage: {' or '.join(makers)}",
        )
    return found


def _nearest_writers(shapes: Mapping[str, Shape], sources: Sequence[str], kind: str) -> list[str]:
    """The writers of a kind that are the fewest `from` away."""
    level: Iterable[str] = sources
    seen: set[str] = set()
    while level := [name for name in dict.fromkeys(level) if name not in seen]:
        writers = [name for name in level if kind in kinds(shapes[name].stage, "writes")]
        if writers:
            return writers
        seen |= set(level)
        level = [source for name in level for source in shapes[name].sources]
    return []
