"""Measuring while training: it stops when nothing better comes, and the best weights are exported; the logs tell."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from modalities import catalog
from modalities.catalog import Entry
from modalities.training.command import train_from_yaml
from modalities.training.corpora.compose import compose, draw_scene, to_media
from modalities.training.corpora.concepts import CONCEPTS
from modalities.training.corpora.names import load_names
from modalities.training.corpora.sprite_judge import MIX, SpriteJudge
from modalities.training.corpora.sprites import Sprites
from modalities.training.early_stop import StopOptions
from modalities.training.loop import LoopOptions, LoopState, Trainer
from modalities.training.order import step_generator
from modalities.training.settings import read_training

STOP = {"metric": "prompt-following", "every_steps": 2, "patience": 2}


class OvershootingTask:
    """A number that is driven past 1; the nearer it is to 1, the better it is."""

    def __init__(self) -> None:
        self.module = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.module.weight)
        self.exported: list[float] = []

    def loss(self, step: int) -> Tensor:
        noise = 0.01 * torch.randn((), generator=step_generator(1, step))
        return (self.module.weight - 3 + noise).square().mean()

    def measure(self) -> float:
        return 1 / (1 + abs(float(self.module.weight.detach()) - 1))

    def sheet(self, path: Path) -> None:
        path.write_text("")

    def export(self, folder: Path, state: LoopState) -> None:
        self.exported.append(float(self.module.weight.detach()))


def options(stop: StopOptions | None = None, **changes: object) -> LoopOptions:
    values: dict[str, object] = {"batch": 1, "learning_rate": 0.1, "warmup": 1, "steps": 60, "decay": "constant"}
    values |= {"log_steps": 1, "ema": 0.0, "precision": "float32", "stop": stop}
    return LoopOptions(**{**values, **changes})  # type: ignore[arg-type]


def rows(folder: Path, key: str) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(line["step"], line[key]) for line in lines if key in line]


def test_training_stops_when_nothing_better_comes_and_exports_the_best(tmp_path: Path) -> None:
    task = OvershootingTask()
    state = Trainer(task, options(StopOptions(**STOP)), tmp_path).run(tmp_path / "out")
    found = rows(tmp_path, "prompt-following")
    assert [step for step, _ in found] == list(range(2, state.step + 1, 2))
    best_step, best = max(found, key=lambda row: row[1])
    assert state.step == best_step + 4 < 60
    assert (state.best_step, state.misses) == (best_step, 2)
    assert 1 / (1 + abs(task.exported[-1] - 1)) == pytest.approx(best, abs=1e-4)
    assert task.measure() < best, "the module has its own weights again"
    again = Trainer(OvershootingTask(), options(StopOptions(**STOP)), tmp_path)
    assert again.resume()
    assert again.run(tmp_path / "out").step == state.step, "a training that has stopped has nothing more to do"
    assert again.task.exported == pytest.approx([task.exported[-1]])


def test_measurements_come_every_so_many_minutes_and_at_the_end(tmp_path: Path) -> None:
    stop = StopOptions(metric="prompt-following", every_minutes=0.5)
    assert [stop.is_due(9, seconds) for seconds in (29.0, 30.0)] == [False, True]
    Trainer(OvershootingTask(), options(stop, steps=3), tmp_path).run()
    assert [step for step, _ in rows(tmp_path, "prompt-following")] == [3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "prompt-folowing"}, "unknown metric `prompt-folowing`; did you mean `prompt-following`"),
        ({"every_minutes": 1}, "exactly one of every_minutes and every_steps"),
        ({"patience": 0}, "patience is 0"),
        ({"prompt": 3}, "unknown key `prompt`; did you mean `prompts`"),
        ({"every_steps": None}, "exactly one of every_minutes and every_steps"),
    ],
)
def test_impossible_stops_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_training(recipe(tmp_path, tmp_path, {**STOP, **change}))


def recipe(folder: Path, corpora: Path, stop: dict[str, object], **changes: object) -> Path:
    """A tiny image model."""
    model = {"dim": 32, "layers": 1, "heads": 2, "kv_heads": 1, "multiple_of": 16, "patch": [4, 4]}
    loop = {"batch": 4, "learning_rate": 1e-3, "warmup": 1, "steps": 2, "log_steps": 1, "stop": stop}
    values = {"train": "generator", "name": "tiny", "modality": "image", "corpus": "sprites", "corpora": str(corpora)}
    values |= {"codec": "codec", "model": model, "loop": loop}
    values |= {"folder": str(folder / "run"), "export": str(folder / "model"), "probe": ["fr 3"]}
    values |= {"data": {"scenes": 4, "captions": 1, "free_captions": 0, "workers": 0}}
    values |= {"defaults": {"steps": 2}, **changes}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def test_a_picture_model_is_measured_while_it_trains(tmp_path: Path, corpora: Path, codec_folder: Path) -> None:
    path = recipe(tmp_path, corpora, {**STOP, "prompts": 2}, codec=str(codec_folder))
    train_from_yaml(path, {"device": "cpu"})
    ((step, share),) = rows(tmp_path / "run", "prompt-following")
    note = json.loads((tmp_path / "model" / "model.json").read_text())["training"]
    assert note["best"] == {"followed": share, "step": step}


def test_what_has_nothing_to_be_measured_by_is_refused_before_anything_is_made(
    tmp_path: Path, corpora: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = "tests.modalities.training.tiny_corpora:cloud"
    monkeypatch.setitem(catalog.CORPORA, "tiny-cloud", Entry(target, "for tests"))
    changes = {"modality": "point-cloud", "corpus": "tiny-cloud", "codec": {"kind": "points"}, "data": {}}
    with pytest.raises(ValueError, match="corpus `tiny-cloud` has no judge"):
        train_from_yaml(recipe(tmp_path, corpora, dict(STOP), **changes), {"device": "cpu"})
    assert not (tmp_path / "run").exists()
    codec = {"train": "codec", "folder": "a", "export": "b", "loop": {"steps": 1, "stop": STOP}}
    path = tmp_path / "codec.yaml"
    path.write_text(yaml.safe_dump(codec), encoding="utf-8")
    with pytest.raises(ValueError, match="accumulate and stop are for generators"):
        read_training(path)
    with pytest.raises(ValueError, match="nothing to measure prompt-following with"):
        Trainer(WithoutMeasure(), options(StopOptions(**STOP)), tmp_path)


class WithoutMeasure(OvershootingTask):
    """The same, but nobody can say how good it is."""

    measure = None  # type: ignore[assignment]


def test_the_judge_knows_the_scenes_that_its_questions_ask_for(sprites: Sprites, corpora: Path) -> None:
    names = load_names(corpora)
    judge = SpriteJudge(sprites, names)
    questions = judge.questions(6)
    assert questions == judge.questions(6)
    assert [q.prompt for q in judge.questions(3)] == [q.prompt for q in questions[:3]]
    assert sorted(q.concept for q in questions[:3]) == [0, 1, 2]
    assert all(q.prompt for q in questions)
    scenes = [replace(draw_scene(1, i, 3, MIX), concept=q.concept) for i, q in enumerate(questions)]
    media = torch.from_numpy(to_media(np.stack([compose(s, sprites, 1, i, 1.0) for i, s in enumerate(scenes)])))
    assert judge.shown(media).tolist() == [question.concept for question in questions]
    whole = SpriteJudge(np.repeat(sprites[:1, :, ::32, ::32], len(CONCEPTS), axis=0), names).questions(len(CONCEPTS))
    assert len({question.concept for question in whole}) == len(CONCEPTS)


def test_tensorboard_reads_what_is_written(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    class Drawing(OvershootingTask):
        """With a sheet that is a picture."""

        def sheet(self, path: Path) -> None:
            from PIL import Image

            Image.new("RGB", (6, 4), (255, 0, 0)).save(path)

    for steps in (2, 4):
        trainer = Trainer(Drawing(), options(steps=steps, tensorboard=True), tmp_path)
        trainer.resume()
        trainer.run()
    found = reader.EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert [(event.step, round(event.value, 4)) for event in found.Scalars("loss")] == [
        (step, round(loss, 4)) for step, loss in rows(tmp_path, "loss")
    ]
    assert {"learning_rate", "samples_per_second"} <= set(found.Tags()["scalars"])
    assert [(image.step, image.width, image.height) for image in found.Images("sheet")] == [(2, 6, 4), (4, 6, 4)]


def test_tensorboard_is_named_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"tensorboard is not installed; pip install 'parhelion\[tensorboard\]'"):
        options(tensorboard=True)
