"""Plans as JSON and back, so that what a run folder holds can be worked on later."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.plan import Plan, Pool, Prompt, Step

FORMAT = "parhelion-plan/1"


def plan_to_json(plan: Plan) -> str:
    """A plan as JSON; `plan_from_json` reads it back. Equal plans give equal text."""
    values: dict[str, Any] = {name: getattr(plan, name) for name in Plan.__dataclass_fields__}
    values["prompts"] = [[prompt.id, prompt.text] for prompt in plan.prompts]
    values["steps"] = [_fields(step) for step in plan.steps]
    values["pools"] = [_fields(pool) for pool in plan.pools.values()]
    return json.dumps({"format": FORMAT, **values}, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def plan_from_json(text: str) -> Plan:
    """Read what `plan_to_json` wrote. ValueError when the text is something else."""
    values = json.loads(text)
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
        raise ValueError(f"not a plan in the format {FORMAT}")
    try:
        values["prompts"] = tuple(Prompt(name, prompt) for name, prompt in values["prompts"])
        values["steps"] = tuple(Step(**{**step, "axes": tuple(step["axes"])}) for step in values["steps"])
        values["pools"] = {pool["name"]: Pool(**pool) for pool in values["pools"]}
        values["matrix"] = {axis: tuple(map(_hashable, found)) for axis, found in values["matrix"].items()}
        return Plan(**values)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a damaged plan: {error!r}") from error


def _fields(entry: Any) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in type(entry).__dataclass_fields__}


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
