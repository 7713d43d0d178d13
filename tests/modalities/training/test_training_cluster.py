"""Training on Ray: two workers have the curve of one, and one goes on where two stopped; what cannot be is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import CliRunner

from modalities.training.command import train_from_yaml
from modalities.weights.checkpoint import read_tensors
from orchestrator.commandline.application import app
from orchestrator.errors import ExecutorError
from orchestrator.executors.ray.training import ClusterTraining, train_on_ray

# Ray Train sets up Ray Data too, which uses options of its own that it calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
Recipe = Callable[..., Path]


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray Train looks after its workers more often than every two seconds."""
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")


@pytest.fixture
def recipe(corpora: Path, codec_folder: Path) -> Recipe:
    """A function that writes the recipe of a tiny image model; all runs of a test share a pool."""

    def write(folder: Path, **loop: Any) -> Path:
        return write_recipe(folder, corpora, codec_folder, loop)

    return write


def write_recipe(folder: Path, corpora: Path, codec: Path, loop: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    model = {"dim": 32, "layers": 1, "heads": 2, "kv_heads": 1, "multiple_of": 16, "patch": [4, 4]}
    told = {"batch": 8, "learning_rate": 1e-3, "warmup": 1, "steps": 4, "log_steps": 1, "decay": "constant"}
    values = {"train": "generator", "name": "tiny", "modality": "image", "corpus": "sprites", "corpora": str(corpora)}
    values |= {"codec": str(codec), "model": model}
    values |= {
        "folder": str(folder / "run"),
        "export": str(folder / "model"),
        "probe": ["fr 3"],
        "defaults": {"steps": 2},
    }
    values |= {"pool": str(folder.parent / "pool"), "storage": "float16"}
    values |= {"data": {"scenes": 10, "captions": 1, "free_captions": 0, "workers": 0}}
    values |= {"loop": {**told, "precision": "float32", **loop}}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def curve(folder: Path) -> list[tuple[int, float]]:
    rows = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"]) for row in rows]


def on_ray(path: Path, workers: int, sharded: bool = False, **overrides: Any) -> None:
    told = {"device": "cpu", "threads": 1, **overrides}
    train_on_ray(ClusterTraining(recipe=path, overrides=told, workers=workers, is_sharded=sharded))


def check_same(found: Path, expected: Path) -> None:
    # Losses are means of some thousand float32 numbers, summed in another order; Adam's steps keep that small.
    assert [step for step, _ in curve(found)] == [1, 2, 3, 4]
    assert [loss for _, loss in curve(found)] == pytest.approx([loss for _, loss in curve(expected)], rel=1e-4)
    one, other = (read_tensors(folder / "model" / "generator.safetensors") for folder in (expected, found))
    for name, value in one.items():
        torch.testing.assert_close(other[name].float(), value.float(), rtol=1e-2, atol=1e-3)


@pytest.mark.slow  # 45 s: Ray Train starts its own actors and each loads torch
def test_two_workers_have_the_curve_of_one_which_goes_on_alone(
    tmp_path: Path, recipe: Recipe, ray_session: None
) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    train_from_yaml(recipe(alone), {"device": "cpu"})
    path = recipe(together, accumulate=2)
    on_ray(path, 2, steps=3)
    train_from_yaml(path, {"device": "cpu"})
    check_same(together, alone)
    assert not list((together / "run").glob(".seen-by-all*"))


@pytest.mark.slow
def test_two_workers_that_share_the_weights_have_the_same_curve(
    tmp_path: Path, recipe: Recipe, ray_session: None
) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    train_from_yaml(recipe(alone), {"device": "cpu"})
    on_ray(recipe(together), 2, sharded=True)
    check_same(together, alone)


@pytest.mark.slow
def test_two_workers_measure_stop_and_scale_float16(tmp_path: Path, recipe: Recipe, ray_session: None) -> None:
    stop = {"metric": "prompt-following", "prompts": 2, "every_steps": 1, "patience": 1}
    for sharded in (False, True):
        folder = tmp_path / str(sharded)
        on_ray(recipe(folder, stop=stop, precision="float16", steps=9), 2, sharded)
        rows = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
        assert sum("prompt-following" in row for row in rows) >= 2
        assert (folder / "model" / "model.json").exists()


def test_what_a_cluster_cannot_do_is_said_before_anything_is_made(
    tmp_path: Path, recipe: Recipe, ray_session: None
) -> None:
    folder = tmp_path / "a"
    with pytest.raises(ExecutorError, match="9 workers need a CPU each, and the cluster has 8"):
        on_ray(recipe(folder, batch=9), 9)
    with pytest.raises(ExecutorError, match="2 workers need a GPU each, and the cluster has 0"):
        on_ray(recipe(folder), 2, device="cuda")
    with pytest.raises(ValueError, match="batch 8 cannot be cut into 3 workers x 1 micro-batches"):
        on_ray(recipe(folder), 3)
    with pytest.raises(ValueError, match="device is `cuda:1`; on a cluster it is auto, cpu or cuda"):
        on_ray(recipe(folder), 2, device="cuda:1")
    codec = {"train": "codec", "folder": str(folder / "run"), "export": "b", "loop": {"steps": 1}}
    (folder / "codec.yaml").write_text(yaml.safe_dump(codec), encoding="utf-8")
    with pytest.raises(ValueError, match="needs one worker; only generators take more"):
        on_ray(folder / "codec.yaml", 2)
    assert not (folder / "run").exists()
    assert not (tmp_path / "pool").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--executor", "local", "--workers", "2"], "several workers, a cluster or --sharded need ray"),
        (["--sharded"], "several workers, a cluster or --sharded need ray"),
        (["--executor", "rya"], "unknown executor `rya`"),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["train", str(tmp_path / "absent.yaml"), *arguments])
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())
