"""A folder of diffusers' `LuminaPipeline`, named in a workflow as the image model, runs from prompts to files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from orchestrator.placement import Placement
from orchestrator.plan import Plan
from orchestrator.run import run
from tests.reading import rows_of

pytest.importorskip("diffusers")

WORKFLOW = """
name: {name}
prompts: ["a red cat", "two blue dog", "红 猫"]
models: {{image: "{model}"}}
steps:
  text:   {{stage: encode, negative_prompt: "bad blurry"}}
  small:  {{stage: generate, from: text, size: [64, 48], sampler: euler, steps: 2,
           schedule: diffusers-flow-match, guidance: {{scale: 4, channels: 3}}}}
  large:  {{stage: extrapolate, from: small, size: [64, 96], sampler: euler, steps: 2, method: time-aware,
           strength: 0.6}}
  pixels: {{stage: decode, from: large}}
  files:  {{stage: export, from: pixels, format: png}}
output: {output}
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_prompts_become_files(make_plan: Callable[..., Plan], tmp_path: Path):
    from tests.lumina_folder import make_lumina_folder

    folder = make_lumina_folder(tmp_path / "lumina")
    results = [run(make_plan(name=name, text=WORKFLOW, model=folder), Placement(), print) for name in ("one", "two")]
    assert [(result.made, result.failed) for result in results] == [(3, 0)] * 2
    first, second = (
        {row["id"]: pixels(result.folder / row["file"]) for row in rows_of(result.folder)} for result in results
    )
    assert {size for size, _ in first.values()} == {(96, 64)}
    assert len({data for _, data in first.values()}) == 3
    assert list(first.values()) == list(second.values())


def pixels(file: Path) -> tuple[tuple[int, int], bytes]:
    with Image.open(file) as image:
        return image.size, image.tobytes()
