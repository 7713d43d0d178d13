"""Every modality through the whole pipeline: matrix and repetitions, formats, folders of files, disks that are full."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.building import build_plan
from orchestrator.errors import ExecutorError, WorkflowError
from orchestrator.media_files import facts_of, is_intact
from orchestrator.placement import Placement
from orchestrator.run import run
from orchestrator.spec import read_workflow
from tests.reading import letters_of, media_of, rows_of
from tests.tiny_model import make_tiny_model

TEXT = """\
name: made
seed: 7
prompts: [a red apple, 三只猫]
models: {{it: {model}}}
repetitions: {repetitions}
matrix: {{{matrix}}}
steps:
  text:  {{stage: encode}}
  first: {{stage: generate, from: text, sampler: euler, steps: 2, {first}}}
  last:  {{stage: extrapolate, from: first, sampler: euler, steps: 2, {last}}}
  media: {{stage: decode, from: last}}
  files: {{stage: export, from: media, format: {format}}}
output: {output}
"""
WAYS = {
    "image": ("size: [16, 16]", "size: [24, 16], strength: 0.5", "png", [24, 16]),
    "video": ("frames: 4", "size: [8, 16, 24], strength: 0.5", "gif", [8, 16, 24]),
    "multi-view": ("views: 4", "views: 6, strength: 0.5", "{name: animated-webp, quality: 100}", [6, 16, 16]),
    "audio": ("duration: 0.26", "duration: 0.5, strength: 0.5", "{name: flac, loudness: -23}", [8192]),
    "music": ("duration: 0.26", "duration: 0.5, strength: 1", "wav", [8192]),
    "point-cloud": ("points: 32", "points: 80, strength: 0.5", "ply", [80]),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    own = {name: make_tiny_model(folder / name, modality=name) for name in WAYS if name != "music"}
    return {**own, "music": own["audio"]}


@pytest.fixture
def make(models: dict[str, Path], tmp_path: Path):
    """A function that plans a workflow of one modality into the folder `run`."""

    def made(modality: str, matrix: str = "guidance: [1, 3]", repetitions: int = 2, **ways: str):
        first, last, format_, _ = WAYS[modality]
        model = f"{{source: {models[modality]}, modality: music}}" if modality == "music" else models[modality]
        given = {"first": first + ', guidance: "${matrix.guidance}"', "last": last, "format": format_, **ways}
        text = TEXT.format(model=model, matrix=matrix, repetitions=repetitions, output=tmp_path / "run", **given)
        file = tmp_path / "run.yaml"
        file.write_text(text, encoding="utf-8")
        return build_plan(read_workflow(file), Placement())

    return made


def quietly(plan):
    return run(plan, Placement(), lambda event: None)


@pytest.mark.parametrize("modality", WAYS)
def test_matrix_and_repetitions_work_in_every_modality(make, modality: str):
    plan = make(modality)
    result = quietly(plan)
    rows = rows_of(result.folder)
    assert (result.made, result.failed, len(rows)) == (8, 0, 8)
    assert {(row["prompt_id"], row["repetition"], row["cell"]["guidance"]) for row in rows} == {
        (prompt, repetition, guidance)
        for prompt in ("p00000", "p00001")
        for repetition in (0, 1)
        for guidance in (1, 3)
    }
    assert len({row["sha256"] for row in rows}) == 8
    assert all(row["size"] == WAYS[modality][3] for row in rows)
    again = quietly(dataclasses.replace(plan, output=f"{plan.output}-again"))
    assert media_of(again.folder) == media_of(result.folder)


def test_a_folder_of_files_is_one_sample(make):
    plan = make("video", format="frames", repetitions=1, matrix="guidance: [2]")
    result = quietly(plan)
    first, second = rows_of(result.folder)
    assert (first["files"], first["file"]) == (8, "media/p00000-guidance=2")
    folder = result.folder / first["file"]
    assert first["bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    assert {name: first[name] for name in ("bytes", "sha256", "files")} == facts_of(folder)
    assert facts_of(result.folder / second["file"])["sha256"] != first["sha256"]
    whole = media_of(result.folder)
    (folder / "0003.png").unlink()
    assert not is_intact(folder, first)
    stray = result.folder / "media" / ".p00001.77.part"
    stray.mkdir()
    (stray / "0000.png").write_bytes(b"half")
    again = quietly(plan)
    assert (again.made, again.resumed) == (1, 1)
    assert media_of(again.folder) == whole
    assert not list(again.folder.rglob(".*.part"))


def test_a_folder_may_not_hold_the_files_of_others(make):
    text = (
        "frames, path: '{prompt_id}'}\n  more:  {stage: export, from: media, format: gif, path: '{prompt_id}/x{suffix}'"
    )
    with pytest.raises(WorkflowError, match=r"media/p00000 would be sample .* and a folder of others"):
        make("video", format=text, matrix="guidance: [2]", repetitions=1)


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 112 KiB, where the tests may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=112k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("file systems can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(("format_", "last"), [("gif", "size: [4, 48, 48], strength: 0.5"), ("frames", "frames: 6")])
def test_a_disk_that_is_full_in_the_middle_of_a_video(make, small_disk: Path, format_: str, last: str):
    plan = make("video", matrix="guidance: [1, 2, 3, 4]", repetitions=1, format=f"{format_}, batch_size: 1", last=last)
    whole = quietly(plan)
    plan = dataclasses.replace(plan, output=str(small_disk / "run"))
    with pytest.raises(ExecutorError, match=r"the disk is full: .* run the same command again"):
        quietly(plan)
    there, good = media_of(small_disk / "run"), media_of(whole.folder)
    assert 0 < len(there) < len(good)
    assert all(good[name] == data for name, data in there.items())
    assert not list(small_disk.rglob(".*.part"))
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    again = quietly(plan)
    assert again.resumed > 0
    assert media_of(again.folder) == good


def test_a_file_that_is_too_large_fails_alone(make, tmp_path: Path):
    """With RLIMIT_FSIZE, which the system turns into an error in the middle of the file."""
    length = 'duration: "${matrix.seconds}"'
    make("audio", matrix="guidance: [2], seconds: [0.5, 8]", repetitions=1, last=length, format="wav")
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000));"
        "from orchestrator.__main__ import main; sys.exit(main(['run', sys.argv[1], '--quiet']))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run.yaml")], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    folder = tmp_path / "run"
    assert [row["cell"]["seconds"] for row in rows_of(folder)] == [0.5, 0.5]
    assert len(media_of(folder)) == 2
    letters = letters_of(folder)
    assert [letter["cell"]["seconds"] for letter in letters] == [8, 8]
    assert all("the file cannot be written" in letter["error"] for letter in letters)


def test_latents_and_media_that_are_not_finite_are_named(make, models: dict[str, Path], tmp_path: Path):
    import torch
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    broken.mkdir()
    for path in models["point-cloud"].iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    values = json.loads((broken / "model.json").read_text())
    values["codec"] = {"kind": "points", "config": {"colour_scale": 1e39, "colour_mean": 1e39}}
    (broken / "model.json").write_text(json.dumps(values))
    models = {**models, "point-cloud": broken}
    plan = make("point-cloud", repetitions=1, matrix="guidance: [2]")
    text = Path(tmp_path / "run.yaml").read_text().replace(str(plan.models["it"]["source"]), str(broken))
    (tmp_path / "media.yaml").write_text(text.replace(str(tmp_path / "run"), str(tmp_path / "media")))
    result = quietly(build_plan(read_workflow(tmp_path / "media.yaml"), Placement()))
    assert result.failed == 2
    assert "values of the decoded media are not finite numbers" in letters_of(result.folder)[0]["error"]
    tensors = load_file(broken / "generator.safetensors")
    name = next(key for key in tensors if key.endswith("final_layer.linear.weight"))
    save_file({**tensors, name: torch.full_like(tensors[name], float("nan"))}, broken / "generator.safetensors")
    (tmp_path / "latents.yaml").write_text(text.replace(str(tmp_path / "run"), str(tmp_path / "latents")))
    result = quietly(build_plan(read_workflow(tmp_path / "latents.yaml"), Placement()))
    assert "latent values are not finite numbers" in letters_of(result.folder)[0]["error"]
