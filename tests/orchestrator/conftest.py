"""Fixtures for tests of planning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from planning import GOOD, write_model

from orchestrator.building import build_plan
from orchestrator.placement import Placement
from orchestrator.plan import Plan
from orchestrator.spec import WorkflowSpec, read_workflow


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that holds the model `tiny`; the cache of rates is its own."""
    write_model(tmp_path / "tiny")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def read(folder: Path) -> Callable[[str], WorkflowSpec]:
    """A function that writes a workflow's text into the folder and reads it."""

    def read_text(text: str = GOOD) -> WorkflowSpec:
        file = folder / "w.yaml"
        file.write_text(text, encoding="utf-8")
        return read_workflow(file)

    return read_text


@pytest.fixture
def planned(read: Callable[[str], WorkflowSpec]) -> Callable[..., Plan]:
    """A function from a workflow's text to its plan."""

    def plan_text(text: str = GOOD, where: Placement | None = None, hash_weights: bool = False) -> Plan:
        return build_plan(read(text), where or Placement(), hash_weights=hash_weights)

    return plan_text
