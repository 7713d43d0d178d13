"""Fixtures that many tests share: a tiny model, plans of tiny workflows, and one Ray for the whole session."""

from __future__ import annotations

import os
import textwrap
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import modalities  # noqa: F401  # its import hook, before a test imports transformers and that torchaudio
from orchestrator.plan import Plan

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

WORKFLOW = """
name: {name}
seed: 7
prompts: [{prompts}]
models: {{image: {{source: {model}}}}}
repetitions: {repetitions}
matrix: {{guidance: [1, 3]}}
steps:
  text:   {{stage: encode, batch_size: 4}}
  small:  {{stage: generate, from: text, size: [16, 16], sampler: euler, steps: 2, guidance: "${{matrix.guidance}}",
           batch_size: {batch}}}
  large:  {{stage: extrapolate, from: small, size: [24, 16], sampler: euler, steps: 2, method: time-aware,
           strength: 0.6, batch_size: {batch}}}
  pixels: {{stage: decode, from: large, batch_size: {batch}}}
  files:  {{stage: export, from: pixels, format: png, batch_size: 3}}
output: {output}
"""
PROMPTS = ("a red apple", "ein Stern", "三只猫", "قطة", "🍌", "une pomme verte", "Красная рыба", "two bells")

MakePlan = Callable[..., Plan]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny image model with random weights."""
    from tests.tiny_model import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def make_plan(tiny_model: Path, tmp_path: Path) -> MakePlan:
    """A function that plans a tiny workflow of every stage into the folder `name`, with the given number of prompts."""
    from orchestrator.building import build_plan
    from orchestrator.placement import Placement
    from orchestrator.spec import read_workflow

    def make(
        name: str = "run",
        prompts: int = 4,
        batch: int = 3,
        repetitions: int = 1,
        placement: Placement | None = None,
        text: str = WORKFLOW,
        model: Path | None = None,
    ) -> Plan:
        listed = ", ".join(f'"{PROMPTS[n % len(PROMPTS)]} {n}"' for n in range(prompts))
        filled = textwrap.dedent(text).format(
            name=name,
            prompts=listed,
            model=model or tiny_model,
            repetitions=repetitions,
            batch=batch,
            output=tmp_path / name,
        )
        file = tmp_path / f"{name}.yaml"
        file.write_text(filled, encoding="utf-8")
        return build_plan(read_workflow(file), placement or Placement())

    return make


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One local Ray for all tests that need one; executors use the connection that is there."""
    import ray

    from orchestrator.executors.ray.connection import UNHURRIED

    os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)  # for the workers: the hook below lives in the tests
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(
            address="local",
            num_cpus=8,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=256 * 2**20,
            _system_config=UNHURRIED,
            runtime_env={"worker_process_setup_hook": "tests.orchestrator.fragile.install"},
        )
    yield
    ray.shutdown()
