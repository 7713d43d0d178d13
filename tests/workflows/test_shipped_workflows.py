"""Every workflow in `workflows/` is a real one: it runs from its first prompt to its last file, at tiny size."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from orchestrator.building import build_plan
from orchestrator.placement import Placement
from orchestrator.plan import Plan
from orchestrator.run import run
from orchestrator.spec import read_workflow
from tests.reading import media_of, rows_of

FOLDER = Path(__file__).parents[2] / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yaml"))


def made_tiny(file: Path, model: Path, folder: Path) -> Plan:
    """The workflow with the tiny model, two prompts, two steps a sample, and sizes a fraction of what they are."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["models"] = {name: str(model) for name in content["models"]}
    if isinstance(content["prompts"], list):
        content["prompts"] = content["prompts"][:2]
    else:
        content["prompts"]["file"] = str(file.parent / content["prompts"]["file"])
    sizes = [step["size"] for step in content["steps"].values() if "size" in step]
    divisor = min(min(size) for size in sizes) // 16
    for step in content["steps"].values():
        if "size" in step:
            step["size"] = [length // divisor for length in step["size"]]
        if "steps" in step:
            step["steps"] = 2
    tiny = folder / file.name
    tiny.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), encoding="utf-8")
    spec = read_workflow(tiny)
    spec = dataclasses.replace(spec, prompts=spec.prompts[:2], output=str(folder / "run"))
    return build_plan(spec, Placement())


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
@pytest.mark.parametrize("executor", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_shipped_workflow_runs(file: Path, executor: str, tiny_model: Path, tmp_path: Path, request):
    if executor == "ray":
        request.getfixturevalue("ray_session")
    plan = made_tiny(file, tiny_model, tmp_path)
    result = run(plan, Placement(executor=executor), lambda event: None)
    exports = [step for step in plan.steps if step.stage == "export"]
    expected = sum(plan.num_samples(step) * len(list(plan.cells(step))) for step in exports)
    assert (result.made, result.failed) == (expected, 0)
    assert len(media_of(result.folder)) == len(rows_of(result.folder)) == expected
    assert result.page.exists()


def test_every_shipped_workflow_says_how_to_run_it():
    for file in WORKFLOWS:
        text = file.read_text(encoding="utf-8")
        assert re.search(rf"parhelion run workflows/{file.name}", text), f"{file.name}: say how to run it"
