"""On a running cluster with a second node: the same bytes, also when that node goes away in the middle."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.placement import Placement
from orchestrator.plan_json import plan_to_json
from orchestrator.run import run
from tests.reading import media_of

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("what", ["keep", "lose"])
def test_a_cluster_of_two_nodes_makes_the_bytes_of_one_process(make_plan, tmp_path: Path, what: str):
    plan = make_plan(prompts=8, batch=2)
    pools = {
        name: dataclasses.replace(pool, workers=2 if name.startswith("model") else 1)
        for name, pool in plan.pools.items()
    }
    plan = dataclasses.replace(plan, pools=pools)
    local = run(dataclasses.replace(plan, output=plan.output + "-local"), Placement(), lambda event: None)
    document = tmp_path / "plan-for-cluster.json"
    document.write_text(plan_to_json(plan), encoding="utf-8")
    command = [sys.executable, "-m", "tests.orchestrator.run_on_cluster", str(document), what]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    answer = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment)
    assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr[-3000:]
    assert f"made 16 failed 0 lost {int(what == 'lose')}" in answer.stdout
    assert media_of(Path(plan.output)) == media_of(local.folder)
    assert (Path(plan.output) / "manifest.jsonl").read_bytes() == (local.folder / "manifest.jsonl").read_bytes()
