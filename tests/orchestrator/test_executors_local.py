"""The local executor: a sample that fails harms nobody else; errors that no sample is to blame for end the run."""

from __future__ import annotations

import dataclasses
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from orchestrator.catalog import STAGES
from orchestrator.errors import ExecutorError, ModelError
from orchestrator.executors.base import Event
from orchestrator.placement import Placement
from orchestrator.plan import Plan
from orchestrator.run import run
from tests.orchestrator import fragile
from tests.reading import letters_of, media_of, rows_of


@pytest.fixture(autouse=True)
def _known_stage() -> Iterator[None]:
    fragile.install()
    yield
    del STAGES["fragile"]


def into(plan: Plan, name: str) -> Plan:
    return dataclasses.replace(plan, output=str(Path(plan.output).with_name(name)))


def test_a_run_makes_every_sample_with_its_row(make_plan):
    plan = make_plan(prompts=5, repetitions=2)
    events: list[Event] = []
    result = run(plan, Placement(), events.append)
    rows = rows_of(result.folder)
    assert (result.made, result.failed, result.resumed, len(rows)) == (20, 0, 0, 20)
    assert len({row["id"] for row in rows}) == 20
    assert len({row["seed"] for row in rows}) == 10, "cells of the matrix share their noise, repetitions do not"
    assert sorted(media_of(result.folder)) == sorted(row["file"] for row in rows)
    expected = {event.step: event.samples for event in events if event.kind == "expected"}
    assert expected == {"text": 5, "small": 20, "large": 20, "pixels": 20, "files": 20}
    made = {name: sum(e.samples for e in events if e.kind == "batch" and e.step == name) for name in expected}
    assert made == expected
    assert {event.step for event in events if event.kind == "ready"} == set(plan.pools)


def test_workers_and_their_number_change_no_byte(make_plan):
    plan = make_plan(prompts=7, batch=3)
    results = []
    for workers in (1, 3):
        pools = {name: dataclasses.replace(pool, workers=workers) for name, pool in plan.pools.items()}
        given = dataclasses.replace(into(plan, f"w{workers}"), pools=pools)
        results.append(run(given, Placement(), lambda event: None).folder)
    assert media_of(results[0]) == media_of(results[1])
    assert (results[0] / "manifest.jsonl").read_bytes() == (results[1] / "manifest.jsonl").read_bytes()


@pytest.mark.parametrize("then", ["raise", "answer"])
def test_a_sample_that_fails_is_alone_in_the_dead_letters(make_plan, then: str):
    plan = make_plan(prompts=7)
    good = run(into(fragile.with_fragile(plan, "nothing has this word", then), "good"), Placement(), lambda event: None)
    result = run(fragile.with_fragile(plan, "三只猫", then), Placement(), lambda event: None)
    assert (result.made, result.failed) == (12, 2)
    letters = letters_of(result.folder)
    assert [letter["prompt"] for letter in letters] == ["三只猫 2"] * 2
    assert [letter["cell"] for letter in letters] == [{"guidance": 1}, {"guidance": 3}]
    assert {letter["failed_step"] for letter in letters} == {"look"}
    assert all(letter["attempts"] == (2 if then == "raise" else 1) for letter in letters)
    assert all(letter["parameters"]["word"] == "三只猫" and isinstance(letter["seed"], int) for letter in letters)
    expected = "ArithmeticError: cannot look at a 三只猫" if then == "raise" else "a 三只猫 again"
    assert {letter["error"] for letter in letters} == {expected}
    kept = {name: data for name, data in media_of(good.folder).items() if "p00002" not in name}
    assert media_of(result.folder) == kept
    assert "三只猫" in result.page.read_text(encoding="utf-8")


def test_dead_letters_are_tried_again_by_the_next_run(make_plan, tmp_path: Path):
    plan = make_plan(prompts=4)
    blocked = Path(plan.output) / "media" / "p00001-guidance=1.png"
    first = run(plan, Placement(), lambda event: None)
    shutil.rmtree(first.folder)
    blocked.mkdir(parents=True)
    for name in (".lock", "fingerprint.json"):
        assert not (first.folder / name).exists()
    (first.folder / ".lock").touch()
    second = run(plan, Placement(), lambda event: None)
    assert (second.made, second.failed) == (7, 1)
    assert "cannot be written" in letters_of(second.folder)[0]["error"]
    blocked.rmdir()
    third = run(plan, Placement(), lambda event: None)
    assert (third.made, third.resumed, third.failed) == (1, 7, 0)
    assert letters_of(third.folder) == []


def test_latents_that_are_not_finite_are_named(make_plan, tmp_path: Path, tiny_model: Path):
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    tensors = load_file(broken / "generator.safetensors")
    tensors["pad_token"].fill_(float("nan"))
    tensors["final_layer.linear.weight"].fill_(float("nan"))
    save_file(tensors, broken / "generator.safetensors")
    plan = make_plan(prompts=2, model=broken)
    result = run(plan, Placement(), lambda event: None)
    assert (result.made, result.failed) == (0, 4)
    letter = letters_of(result.folder)[0]
    assert letter["failed_step"] == "small"
    assert letter["step"] == "files"
    assert "64 of 64 latent values are not finite" in letter["error"]


def test_an_error_that_no_sample_is_to_blame_for_ends_the_run(make_plan):
    plan = fragile.with_fragile(make_plan(prompts=6), "Stern", "give_up")
    before = threading.active_count()
    with pytest.raises(ExecutorError, match="nothing works any more"):
        run(plan, Placement(), lambda event: None)
    assert threading.active_count() == before, "threads are left behind"
    folder = Path(plan.output)
    assert '"failed"' in (folder / "report.json").read_text()
    assert not (folder / "manifest.jsonl").exists()


def test_weights_that_change_after_planning_are_refused(make_plan, tmp_path: Path, tiny_model: Path):
    from safetensors.torch import load_file, save_file

    moving = tmp_path / "moving"
    shutil.copytree(tiny_model, moving)
    plan = make_plan(prompts=1, model=moving)
    tensors = load_file(moving / "codec.safetensors")
    save_file({name: tensor * 2 for name, tensor in tensors.items()}, moving / "codec.safetensors")
    with pytest.raises(ModelError, match="differ from those that the plan was made with"):
        run(plan, Placement(), lambda event: None)


def test_threads_of_torch_are_put_back(make_plan):
    before = torch.get_num_threads()
    run(make_plan(prompts=1), Placement(threads=1), lambda event: None)
    assert torch.get_num_threads() == before
