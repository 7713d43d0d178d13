"""One encoding for models of several media: shared when their text encoders are equal, refused when they are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from planning import write_model

from orchestrator.__main__ import main
from orchestrator.building import build_plan
from orchestrator.errors import WorkflowError
from orchestrator.executors.schedule import Place, Schedule, TaskGraph
from orchestrator.placement import Placement
from orchestrator.spec import read_workflow

TEXT = """\
name: media
prompts: [a red apple, a grand piano]
models: {picture: ./image, film: ./video, sound: ./audio, cloud: ./point-cloud}
steps:
  text:    {stage: encode}
  picture: {stage: generate, from: text, model: picture}
  film:    {stage: generate, from: text, model: film, frames: 6}
  sound:   {stage: generate, from: text, model: sound, duration: 1}
  cloud:   {stage: generate, from: text, model: cloud, points: 99}
  pixels:  {stage: decode, from: picture}
  clip:    {stage: decode, from: film}
  wave:    {stage: decode, from: sound}
  points:  {stage: decode, from: cloud}
  png:     {stage: export, from: pixels, format: png}
  mp4:     {stage: export, from: clip, format: mp4}
  wav:     {stage: export, from: wave, format: wav}
  ply:     {stage: export, from: points, format: ply}
"""


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A workflow file beside four models."""
    for modality in ("image", "video", "audio", "point-cloud"):
        write_model(tmp_path / modality, modality=modality)
    file = tmp_path / "media.yaml"
    file.write_text(TEXT, encoding="utf-8")
    return file


def test_one_encoding_feeds_four_models_through_one_pool(media: Path):
    plan = build_plan(read_workflow(media), Placement(), hash_weights=False)
    text = plan.step("text")
    assert text.options["readers"] == ["picture", "film", "sound", "cloud"]
    assert [pool for pool in plan.pools if pool.startswith("text:")] == ["text:builtin"]
    sizes = {name: plan.step(name).options["size"] for name in ("picture", "film", "sound", "cloud")}
    assert sizes == {"picture": [64, 64], "film": [6, 64, 64], "sound": [15_872], "cloud": [99]}
    assert {name: plan.step(name).options["modality"] for name in ("png", "mp4", "wav", "ply")} == {
        "png": "image",
        "mp4": "video",
        "wav": "audio",
        "ply": "point-cloud",
    }


def test_the_packages_that_write_the_files_are_part_of_the_fingerprint(media: Path):
    plan = build_plan(read_workflow(media), Placement(), hash_weights=False)
    assert {"av", "soundfile"} <= set(plan.identity["packages"])
    assert not [name for name in plan.identity["packages"] if name.startswith("open3d")]


def test_the_four_branches_can_run_side_by_side(media: Path):
    plan = build_plan(read_workflow(media), Placement(), hash_weights=False)
    schedule: Schedule[list[object]] = Schedule(TaskGraph(plan, lambda task: [True] * 2), limit=40)
    pools = [f"model:{name}" for name in plan.models]
    assert schedule.has_ready("text:builtin")
    assert not any(schedule.has_ready(pool) for pool in pools)
    work, _ = schedule.next("text:builtin")
    schedule.complete(work.task, [Place([], 0), Place([], 1)])
    assert all(schedule.has_ready(pool) for pool in pools)


def test_a_model_with_another_text_encoder_needs_its_own_encoding(media: Path, tmp_path: Path):
    write_model(tmp_path / "audio", modality="audio", text_encoder={"kind": "huggingface", "source": "google/gemma-2b"})
    with pytest.raises(WorkflowError) as caught:
        read_workflow(media)
    message = str(caught.value)
    assert (
        "steps.sound.from: step `sound` needs the text encoder of model `sound` (huggingface:google-gemma-2b" in message
    )
    assert "but `text` encodes with that of `picture` (builtin); give it an encode step of its own" in message
    assert len(caught.value.problems) == 1
    own = TEXT.replace(
        "sound:   {stage: generate, from: text",
        "words: {stage: encode, model: sound}\n  sound:   {stage: generate, from: words",
    )
    media.write_text(own, encoding="utf-8")
    plan = build_plan(read_workflow(media), Placement(), hash_weights=False)
    assert sum(pool.startswith("text:") for pool in plan.pools) == 2
    assert plan.step("text").options["readers"] == ["picture", "film", "cloud"]


def test_the_plan_says_what_each_medium_costs(media: Path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(media.parent / "cache"))
    assert main(["plan", str(media)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "workflow media: 2 prompts, seed 0, 8 files" in lines[0]
    rows = {line.split()[0]: " ".join(line.split()) for line in lines if line}
    assert "generate 2 8 6 frames of 64 × 64" in rows["film"]
    assert "generate 2 8 0.99 s" in rows["sound"]
    assert "generate 2 8 99 points" in rows["cloud"]


def test_prompts_are_checked_for_each_model(media: Path, tmp_path: Path, capsys):
    for folder, thing in (("image", "red apple"), ("audio", "piano")):
        concepts = {"threshold": 0.68, "concepts": [{"emoji": "🎵", "names": {"en": [thing]}}]}
        (tmp_path / folder / "concepts.json").write_text(json.dumps(concepts), encoding="utf-8")
    assert main(["plan", "--check-prompts", "--json", str(media)]) == 0
    outside = json.loads(capsys.readouterr().out)["prompts_outside"]
    assert [(each["prompt_id"], each["model"]) for each in outside] == [("p00001", "picture"), ("p00000", "sound")]
