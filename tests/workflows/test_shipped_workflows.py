"""Every workflow in `workflows/` is a real one: it runs from its first prompt to its last file, at tiny size."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.building import build_plan
from orchestrator.placement import Placement
from orchestrator.plan import Plan
from orchestrator.run import run
from orchestrator.spec import read_workflow
from tests.reading import media_of, rows_of
from tests.tiny_digit import make_tiny_digit
from tests.tiny_mar import make_tiny_mar
from tests.tiny_model import SHAPES, make_tiny_model

FOLDER = Path(__file__).parents[2] / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yaml"))
ALSO = {"music": "audio"}
"""Modalities that are made with the models of others."""


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of a tiny model for every modality, and for a family that samples in a way of its own."""
    folder = tmp_path_factory.mktemp("models")
    made = {modality: make_tiny_model(folder / modality, modality=modality) for modality in SHAPES}
    families = {"image-mar": make_tiny_mar, "image-digit": make_tiny_digit}
    return made | {name: make(folder / name) for name, make in families.items()}


def made_tiny(file: Path, models: dict[str, Path], folder: Path) -> Plan:
    """The workflow with tiny models, two prompts, two steps a sample, and sizes a fraction of what they are."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["models"] = {name: _tiny_model(model, models) for name, model in content["models"].items()}
    if isinstance(content["prompts"], list):
        content["prompts"] = content["prompts"][:2]
    else:
        content["prompts"]["file"] = str(file.parent / content["prompts"]["file"])
    for name, values in content.get("matrix", {}).items():
        word = "points" if name == "density" else "duration" if name == "seconds" else name
        content["matrix"][name] = [_smaller(word, value) for value in values]
    for step in content["steps"].values():
        for key, value in step.items():
            step[key] = 2 if key == "steps" else _smaller(key, value)
        if isinstance(step.get("format"), dict) and "frames" in step["format"]:
            step["format"]["frames"] = 2
    tiny = folder / file.name
    tiny.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), encoding="utf-8")
    spec = read_workflow(tiny)
    spec = dataclasses.replace(spec, prompts=spec.prompts[:2], output=str(folder / "run"))
    return build_plan(spec, Placement())


def _tiny_model(model: Any, models: dict[str, Path]) -> dict[str, str]:
    source = model if isinstance(model, str) else model["source"]
    modality = source.rpartition("/")[2].removeprefix("lumina-")
    if modality in ALSO:
        return {"source": str(models[ALSO[modality]]), "modality": modality}
    found = {"source": str(models.get(modality, models["image"]))}
    return found | ({"modality": model["modality"]} if isinstance(model, dict) and "modality" in model else {})


def _smaller(key: str, value: Any) -> Any:
    """A size or an amount of a step, much smaller; everything else as it is."""
    if key == "size":
        pixels = min(value[-2:]) if len(value) > 1 else 0
        return [4 if n < 32 else 16 * n // pixels if n >= pixels else 16 for n in value]
    if isinstance(value, str) or key not in ("duration", "frames", "views", "points"):
        return value
    return {"duration": value / 16, "frames": value // 3, "views": value // 2, "points": 192 + value // 16}[key]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
@pytest.mark.parametrize("executor", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_shipped_workflow_runs(file: Path, executor: str, tiny_models: dict[str, Path], tmp_path: Path, request):
    if executor == "ray":
        request.getfixturevalue("ray_session")
    plan = made_tiny(file, tiny_models, tmp_path)
    result = run(plan, Placement(executor=executor), lambda event: None)
    exports = [step for step in plan.steps if step.stage == "export"]
    expected = sum(plan.num_samples(step) * len(list(plan.cells(step))) for step in exports)
    assert (result.made, result.failed) == (expected, 0)
    rows = rows_of(result.folder)
    assert len(rows) == expected
    assert len(media_of(result.folder)) == sum(row.get("files", 1) for row in rows)
    assert result.page.exists()


def test_every_shipped_workflow_says_how_to_run_it():
    for file in WORKFLOWS:
        text = file.read_text(encoding="utf-8")
        assert re.search(rf"parhelion run workflows/{file.name}", text), f"{file.name}: say how to run it"


@pytest.mark.slow
def test_four_media_are_the_same_bytes_on_both_executors(tiny_models: dict[str, Path], tmp_path: Path, ray_session):
    plan = made_tiny(FOLDER / "four_media.yaml", tiny_models, tmp_path)
    plans = {name: dataclasses.replace(plan, output=str(tmp_path / name)) for name in ("local", "ray")}
    folders = [run(each, Placement(executor=name), lambda event: None).folder for name, each in plans.items()]
    assert media_of(folders[0]) == media_of(folders[1])
    assert (folders[0] / "manifest.jsonl").read_bytes() == (folders[1] / "manifest.jsonl").read_bytes()
