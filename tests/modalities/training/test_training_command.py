"""From training file to model folder: a tiny codec and generator, through the command and back through the loaders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from modalities.catalog import OBJECTIVES
from modalities.contracts import Conditioning, GenerateOptions, Guidance
from modalities.generators.nextdit.config import NextDiTConfig
from modalities.training.command import read_codec, train_from_yaml
from modalities.training.family import Probe
from modalities.training.flow_family import FlowFamily, objective_of
from modalities.training.generator_task import GeneratorTask
from modalities.training.objectives import TIMES, rectified_flow
from modalities.training.pool import Pool
from modalities.training.settings import CodecTraining, GeneratorTraining, read_training
from modalities.weights.description import describe
from modalities.weights.loading import load_codec, load_generator, load_text_encoder

SHIPPED = Path(__file__).parents[3] / "workflows" / "train"
TINY_DIT = {"in_channels": 4, "learn_sigma": False, "dim": 32, "layers": 1, "heads": 2, "kv_heads": 1}
TINY_DIT |= {"multiple_of": 16, "patch": [2, 2], "trained_tokens": [8, 8]}
LOOP = {"batch": 4, "learning_rate": 1e-3, "warmup": 1, "steps": 2, "log_steps": 1}


def write(path: Path, values: dict[str, object]) -> Path:
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    return path


def codec_file(folder: Path, corpora: Path) -> Path:
    model = {"width": [8, 8], "encoder_blocks": [1, 1], "decoder_blocks": [1, 1]}
    values = {"train": "codec", "folder": str(folder / "codec"), "export": str(folder / "codec" / "out"), "seed": 1}
    values |= {"corpora": str(corpora), "model": model, "data": {"pictures": 8, "held": 32}, "loop": LOOP}
    return write(folder / "codec.yaml", values)


def generator_file(folder: Path, corpora: Path) -> Path:
    values = {"train": "generator", "name": "tiny", "modality": "image", "corpus": "sprites"}
    values |= {"folder": str(folder / "image"), "export": str(folder / "model")}
    values |= {"codec": str(folder / "codec" / "out"), "corpora": str(corpora), "model": TINY_DIT, "loop": LOOP}
    values |= {"data": {"scenes": 8, "captions": 2, "seed": 1, "workers": 0}, "probe": ["fr 3", "🐈"]}
    values["defaults"] = {"steps": 2}
    return write(folder / "image.yaml", values)


def test_two_commands_make_a_model_that_the_loaders_take(tmp_path: Path, corpora: Path) -> None:
    train_from_yaml(codec_file(tmp_path, corpora), {"device": "cpu"})
    generator = generator_file(tmp_path, corpora)
    train_from_yaml(generator, {"device": "cpu", "threads": torch.get_num_threads()})
    described = describe(tmp_path / "model")
    assert described.native_size == (64, 64)
    assert described.stride == (4, 4)
    encoder = load_text_encoder(described, "cpu", torch.float32)
    codec = load_codec(described, "cpu", torch.float32)
    model = load_generator(described, "cpu", torch.float32)
    conditioning, negative = encoder.encode(["two cats"]), encoder.encode([""])
    options = GenerateOptions(steps=2, schedule="uniform", guidance=Guidance(scale=2.0))
    latents = model.generate(conditioning, negative, (64, 32), [5], options)
    assert codec.decode(latents).shape == (1, 3, 64, 32)
    note = json.loads((tmp_path / "model" / "model.json").read_text())["training"]
    assert note["samples"] == 8
    assert note["codec"]["samples"] == 8
    known = json.loads((tmp_path / "model" / "concepts.json").read_text(encoding="utf-8"))
    assert len(known["concepts"]) == 128
    assert known["concepts"][0]["names"]["fr"] == ["fr 0"]
    train_from_yaml(generator, {"device": "cpu", "steps": 3})
    lines = (tmp_path / "image" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3], "the second command goes on where the first ended"


def tiny_task(seed: int = 0, drop: float = 0.1, objective: str = "rectified-flow") -> GeneratorTask:
    source = torch.Generator().manual_seed(3)
    pool = Pool(
        latents=torch.randn(10, 4, 16, 16, generator=source).half(),
        captions=torch.randint(1, 5, (10, 2), generator=source),
        tokens=torch.randn(15, 6, generator=source).half(),
        starts=torch.tensor([0, 2, 5, 6, 9, 15]),
    )
    config = NextDiTConfig.from_mapping({**TINY_DIT, "cap_feat_dim": 6})
    one = pool.conditioning(torch.tensor([1]), 4)
    function, directions = objective_of(objective, torch.device("cpu"), compiled=False)
    return GeneratorTask(
        family=FlowFamily(config, (16, 16), function, directions=directions, seed=seed),
        pool=pool,
        size=(16, 16),
        options=GenerateOptions(steps=2),
        preview=lambda latents: latents[:, :3],
        probe=Probe(conditioning=one, negative=one),
        export_with=lambda *_: None,
        seed=seed,
        batch=4,
        drop=drop,
        text_tokens=4,
    )


def test_a_step_s_loss_follows_from_seed_and_step() -> None:
    first, second = tiny_task(), tiny_task()
    with torch.no_grad():
        assert float(first.loss(3)) == float(second.loss(3))
        assert len({float(first.loss(step)) for step in range(4)}) == 4
        assert float(tiny_task(seed=1).loss(3)) != float(first.loss(3))


def test_dropped_captions_become_the_empty_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.Tensor] = []
    found = Pool.conditioning

    def watched(self: Pool, rows: torch.Tensor, length: int) -> Conditioning:
        asked.append(rows)
        return found(self, rows, length)

    task = tiny_task(drop=1.0)
    monkeypatch.setattr(Pool, "conditioning", watched)
    with torch.no_grad():
        task.loss(0)
        task.drop = 0.0
        task.loss(0)
    assert (asked[0] == 0).all()
    assert (asked[1] > 0).all()


def test_a_pool_pads_and_cuts_conditionings() -> None:
    pool = tiny_task().pool
    found = pool.conditioning(torch.tensor([0, 4]), 4)
    assert found.mask.tolist() == [[True, True, False, False], [True] * 4]
    assert torch.equal(found.tokens[0, :2], pool.tokens[:2].float())
    assert not found.tokens[0, 2:].any()
    assert torch.equal(found.tokens[1], pool.tokens[9:13].float())


def test_rectified_flow_is_zero_for_the_true_velocity_and_two_for_a_still_one() -> None:
    source = torch.Generator().manual_seed(0)
    data, noise = torch.randn(64, 2, 8, 8, generator=source), torch.randn(64, 2, 8, 8, generator=source)
    times = TIMES["logit-normal"](64, source)

    def true(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return (data - x) / (1 - t.view(-1, 1, 1, 1))

    assert float(rectified_flow(true, data, times, noise)) == pytest.approx(0, abs=1e-6)
    still = rectified_flow(lambda x, t: torch.zeros_like(x), data, times, noise)
    assert float(still) == pytest.approx(2.0, rel=0.05)


def test_times_have_their_distributions() -> None:
    source = torch.Generator().manual_seed(0)
    flat, middle = TIMES["uniform"](4000, source), TIMES["logit-normal"](4000, source)
    assert float(flat.var()) == pytest.approx(1 / 12, rel=0.05)
    assert float(torch.logit(middle).std()) == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("image_codec", CodecTraining), ("image_codec_refine", CodecTraining), ("image", GeneratorTraining)],
)
def test_the_shipped_training_files_are_valid(name: str, kind: type) -> None:
    training = read_training(SHIPPED / f"{name}.yaml")
    assert isinstance(training, kind)
    assert training.loop.minutes is not None
    changed = read_training(SHIPPED / f"{name}.yaml", {"steps": 7, "folder": "elsewhere"})
    assert changed.loop.steps == 7
    assert changed.loop.minutes is None
    assert changed.folder == "elsewhere"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": "painter"}, "`train` should be one of codec, generator"),
        ({"sed": 3}, "unknown key `sed`; did you mean `seed`"),
        ({"seed": "seven"}, "seed: expected a whole number, not 'seven'"),
        ({"seed": True}, "seed: expected a whole number, not True"),
        ({"data": {"pictures": 8, "hold": 1}}, "data: unknown key `hold`; did you mean `held`"),
        ({"data": 3}, "data: expected a mapping"),
        ({"loop": {**LOOP, "minutes": 3}}, "loop: give exactly one of minutes and steps"),
        ({"loop": {**LOOP, "betas": [0.9]}}, "betas: expected a list of 2"),
        ({"folder": None}, "folder: expected text, not None"),
    ],
)
def test_a_faulty_training_file_is_refused_with_the_key(
    tmp_path: Path, corpora: Path, change: dict[str, object], message: str
) -> None:
    values = yaml.safe_load(codec_file(tmp_path, corpora).read_text()) | change
    with pytest.raises(ValueError, match=message):
        read_training(write(tmp_path / "faulty.yaml", values))


def test_a_missing_key_file_or_device_is_named(tmp_path: Path, corpora: Path) -> None:
    values = yaml.safe_load(codec_file(tmp_path, corpora).read_text())
    del values["export"]
    with pytest.raises(ValueError, match="missing export"):
        read_training(write(tmp_path / "faulty.yaml", values))
    with pytest.raises(ValueError, match="No such file"):
        read_training(tmp_path / "nowhere.yaml")
    with pytest.raises(ValueError, match="train the codec first"):
        train_from_yaml(generator_file(tmp_path, corpora), {"device": "cpu"})
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="use cpu or auto"):
            train_from_yaml(codec_file(tmp_path, corpora), {"device": "cuda"})


def test_refining_a_codec_changes_its_decoder_alone(tmp_path: Path, corpora: Path) -> None:
    first = codec_file(tmp_path, corpora)
    train_from_yaml(first, {"device": "cpu"})
    values = yaml.safe_load(first.read_text()) | {"folder": str(tmp_path / "more")}
    values |= {"export": str(tmp_path / "more" / "out"), "refine": str(tmp_path / "codec" / "out"), "seed": 2}
    train_from_yaml(write(tmp_path / "refine.yaml", values), {"device": "cpu"})
    before = read_codec(tmp_path / "codec" / "out", "cpu").state_dict()
    after = read_codec(tmp_path / "more" / "out", "cpu").state_dict()
    for name, value in before.items():
        assert torch.equal(value, after[name]) == (not name.startswith("decoder.")), name


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_every_objective_trains_a_generator(name: str) -> None:
    task = tiny_task(objective=name)
    task.loss(3).backward()
    gradients = [parameter.grad for parameter in task.module.parameters() if parameter.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    if name == "rectified-flow":
        with torch.no_grad():
            assert float(task.loss(3)) == float(tiny_task().loss(3)), "other objectives draw after all that it draws"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"family": "nextdot"}, "unknown generator family `nextdot`; did you mean `nextdit`"),
        ({"family": "flagdit"}, "unknown generator family `flagdit`; .*known: .*nextdit"),
        ({"objective": "lcs"}, "unknown objective `lcs`; did you mean `lcss`"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    tmp_path: Path, corpora: Path, change: dict[str, object], message: str
) -> None:
    values = yaml.safe_load(generator_file(tmp_path, corpora).read_text()) | change
    with pytest.raises(ValueError, match=message):
        read_training(write(tmp_path / "faulty.yaml", values))


def test_an_objective_that_a_network_cannot_be_trained_with_is_refused() -> None:
    with pytest.raises(ValueError, match="`sliced` differentiates the network twice, which a compiled network cannot"):
        objective_of("sliced", torch.device("cpu"), compiled=True)
    with pytest.raises(ValueError, match=r"attention of cuda cannot; .* choose rectified-flow, .*lcss"):
        objective_of("sliced", torch.device("cuda"), compiled=False)
