"""The run folder: what it holds, who may use it, and that running again finishes exactly what is missing."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import RunRefused
from orchestrator.executors.base import Event
from orchestrator.exporters.image import read_facts
from orchestrator.folder import differences, locked
from orchestrator.placement import Placement
from orchestrator.plan import Plan
from orchestrator.plan_json import plan_from_json
from orchestrator.run import RunResult, run
from tests.reading import media_of, rows_of


def quietly(plan: Plan, **more: bool) -> RunResult:
    return run(plan, Placement(), lambda event: None, **more)


def test_a_folder_tells_the_whole_run(make_plan):
    plan = make_plan(prompts=2)
    result = quietly(plan)
    names = {path.name for path in result.folder.iterdir() if not path.name.startswith(".")}
    assert names == {
        "plan.json",
        "workflow.yaml",
        "fingerprint.json",
        "media",
        "manifest.jsonl",
        "report.json",
        "index.html",
    }
    assert plan_from_json((result.folder / "plan.json").read_text(encoding="utf-8")).fingerprint == plan.fingerprint
    assert (result.folder / "workflow.yaml").read_text(encoding="utf-8") == plan.workflow_text
    report = json.loads((result.folder / "report.json").read_text(encoding="utf-8"))
    assert report["status"] == "finished"
    assert report["steps"]["large"]["samples"] == 4
    assert report["machine"]["cores"] >= 1
    assert "torch" in report["packages"]


def test_a_row_and_the_file_itself_say_how_a_sample_was_made(make_plan):
    plan = make_plan(prompts=1)
    folder = quietly(plan).folder
    row = rows_of(folder)[1]
    assert row["prompt"] == "a red apple 0"
    assert row["cell"] == {"guidance": 3}
    assert row["size"] == [24, 16]
    assert row["after"][0]["size"] == [16, 16]
    assert row["after"][0]["guidance"]["scale"] == 3
    assert row["after"][0]["seed"] != row["seed"]
    assert row["model_hash"] == plan.models["image"]["weights_hash"]
    facts = read_facts(folder / row["file"])
    assert facts.pop("workflow") == plan.workflow_text
    assert facts == {name: value for name, value in row.items() if name not in ("file", "bytes", "sha256")}
    text = json.dumps(rows_of(folder))
    assert not any(word in text for word in ("seconds", "worker", "host", str(folder.parent)))


def test_running_again_does_nothing_again(make_plan):
    plan = make_plan(prompts=3)
    first = quietly(plan)
    stamps = {path: path.stat().st_mtime_ns for path in (first.folder / "media").iterdir()}
    before = (first.folder / "manifest.jsonl").read_bytes()
    events: list[Event] = []
    second = run(plan, Placement(), events.append)
    assert (second.made, second.resumed) == (0, 6)
    assert {path: path.stat().st_mtime_ns for path in (first.folder / "media").iterdir()} == stamps
    assert (first.folder / "manifest.jsonl").read_bytes() == before
    assert events == []


def test_lost_and_damaged_files_are_made_again_and_nothing_else(make_plan):
    plan = make_plan(prompts=5)
    folder = quietly(plan).folder
    media, manifest = media_of(folder), (folder / "manifest.jsonl").read_bytes()
    names = sorted(media)
    (folder / names[0]).unlink()
    (folder / names[7]).write_bytes(media[names[7]][:40])
    stray = folder / "media" / ".p00001.png.999.part"
    stray.write_bytes(b"half")
    again = quietly(plan)
    assert (again.made, again.resumed) == (2, 8)
    assert media_of(folder) == media
    assert (folder / "manifest.jsonl").read_bytes() == manifest
    assert not stray.exists()


def test_a_journal_that_was_cut_short_is_read_up_to_the_cut(make_plan):
    plan = make_plan(prompts=4)
    folder = quietly(plan).folder
    media, manifest = media_of(folder), (folder / "manifest.jsonl").read_bytes()
    lines = manifest.splitlines(keepends=True)
    (folder / "manifest.jsonl").unlink()
    (folder / "journal.jsonl").write_bytes(lines[5] + lines[0] + b"\xff garbage\n" + lines[2][:50])
    again = quietly(plan)
    assert (again.made, again.resumed) == (6, 2)
    assert media_of(folder) == media
    assert (folder / "manifest.jsonl").read_bytes() == manifest


def test_an_interrupted_run_is_left_ready_to_go_on(make_plan):
    plan = make_plan(prompts=6)
    whole = quietly(dataclasses.replace(plan, output=plan.output + "-whole"))

    def interrupt(event: Event) -> None:
        if event.kind == "batch" and event.step == "files":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(plan, Placement(), interrupt)
    folder = Path(plan.output)
    assert json.loads((folder / "report.json").read_text())["status"] == "interrupted"
    again = quietly(plan)
    assert again.made + again.resumed == 12
    assert media_of(folder) == media_of(whole.folder)
    assert (folder / "manifest.jsonl").read_bytes() == (whole.folder / "manifest.jsonl").read_bytes()


def test_a_changed_plan_is_refused_with_the_difference_named(make_plan):
    plan = make_plan("run", prompts=2)
    folder = quietly(plan).folder
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    changed = dataclasses.replace(make_plan("other", prompts=2, batch=4), output=plan.output)
    with pytest.raises(RunRefused, match=r"steps\.small\.batch_size: 3 -> 4"):
        quietly(changed)
    more = dataclasses.replace(make_plan("more", prompts=3), output=plan.output)
    with pytest.raises(RunRefused, match=r"prompts\.count: 2 -> 3"):
        quietly(more)
    weights = {"image": {**plan.models["image"]}}
    identity = {**plan.identity, "models": {"image": {**plan.identity["models"]["image"], "weights_hash": "f" * 64}}}
    with pytest.raises(RunRefused, match=r"models\.image\.weights_hash"):
        quietly(dataclasses.replace(plan, models=weights, identity=identity))
    newer = {**plan.identity, "packages": {**plan.identity["packages"], "torch": "9.9"}}
    with pytest.raises(RunRefused, match=r"packages\.torch: .* -> \"9.9\""):
        quietly(dataclasses.replace(plan, identity=newer))
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_fresh_run_takes_the_next_free_name(make_plan):
    plan = make_plan(prompts=1)
    assert quietly(plan, fresh=True).folder.name == "run"
    assert quietly(plan, fresh=True).folder.name == "run-2"
    assert quietly(plan, fresh=True).folder.name == "run-3"


def test_a_folder_of_other_files_is_left_alone(make_plan, tmp_path: Path):
    plan = make_plan(prompts=1)
    folder = Path(plan.output)
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(RunRefused, match="holds no run"):
        quietly(plan)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(RunRefused, match="is a file"):
        quietly(dataclasses.replace(plan, output=str(file)))


def test_a_folder_serves_one_run_at_a_time(tmp_path: Path):
    code = (
        "import sys, time; from pathlib import Path; from orchestrator.folder import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(RunRefused, match=f"in use by another run .process {holder.pid}"), locked(tmp_path / "run"):
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with locked(tmp_path / "run") as token:
        assert token in (tmp_path / "run" / ".lock").read_text()


def test_a_plan_that_keeps_nothing_is_refused(make_plan):
    plan = make_plan(prompts=1)
    with pytest.raises(RunRefused, match="exports"):
        quietly(dataclasses.replace(plan, steps=plan.steps[:-1]))


def test_differences_are_told_by_path():
    before = {"a": {"b": 1, "c": [1, 2]}, "gone": "x", "list": [1]}
    after = {"a": {"b": 2, "c": [1, 3]}, "new": None, "list": [1, 2]}
    assert differences(before, after) == [
        "a.b: 1 -> 2",
        "a.c[1]: 2 -> 3",
        'gone: removed, was "x"',
        "list: [1] -> [1, 2]",
        "new: added, null",
    ]
