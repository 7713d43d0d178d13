"""A run that is killed without warning and started again ends with the bytes of one that was left alone."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.catalog import STAGES
from orchestrator.placement import Placement
from orchestrator.plan import Plan
from orchestrator.plan_json import plan_to_json
from orchestrator.run import run
from tests.orchestrator import fragile
from tests.reading import media_of


@pytest.fixture(autouse=True)
def _known_stage() -> Iterator[None]:
    fragile.install()
    yield
    del STAGES["fragile"]


def kill_after(plan: Plan, samples: int, executor: str, folder: Path) -> None:
    """Run a plan in another process and kill it when so many samples are finished."""
    document = folder / "plan-to-kill.json"
    document.write_text(plan_to_json(plan), encoding="utf-8")
    process = subprocess.Popen([sys.executable, "-m", "tests.orchestrator.run_plan", str(document), executor])
    journal = Path(plan.output) / "journal.jsonl"
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline and process.poll() is None:
        if journal.exists() and journal.read_bytes().count(b"\n") >= samples:
            break
        time.sleep(0.005)
    assert process.poll() is None, "the run ended before it could be killed"
    assert journal.exists(), "the run had not begun when the time was up"
    process.kill()
    process.wait()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("executor", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_killed_run_ends_as_an_undisturbed_one(make_plan, tmp_path: Path, executor: str):
    plan = fragile.with_fragile(make_plan(prompts=12), "nothing has this word", "answer", seconds=0.25)
    whole = run(dataclasses.replace(plan, output=plan.output + "-whole"), Placement(), lambda event: None)
    for samples in (4, 10) if executor == "local" else (4,):
        kill_after(plan, samples, executor, tmp_path)
        assert not (Path(plan.output) / "manifest.jsonl").exists()
    finished = run(plan, Placement(), lambda event: None)
    assert finished.resumed >= samples
    assert finished.made + finished.resumed == 24
    assert media_of(finished.folder) == media_of(whole.folder)
    assert (finished.folder / "manifest.jsonl").read_bytes() == (whole.folder / "manifest.jsonl").read_bytes()
    assert not list(finished.folder.rglob("*.part"))
    assert not (finished.folder / "journal.jsonl").exists()


def test_a_comment_added_between_two_halves_changes_no_file(make_plan, tmp_path: Path):
    plan = make_plan(prompts=2)
    first = run(plan, Placement(), lambda event: None)
    before = media_of(first.folder)
    next(iter((first.folder / "media").rglob("*.png"))).unlink()
    commented = dataclasses.replace(plan, workflow_text="# a remark\n" + plan.workflow_text)
    second = run(commented, Placement(), lambda event: None)
    assert second.made == 1
    assert media_of(second.folder) == before
