"""`parhelion train FILE`: from a training file to finished weights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from modalities import catalog
from modalities.codecs.image_autoencoder import ImageAutoencoder, ImageAutoencoderConfig
from modalities.generators.nextdit.config import NextDiTConfig, token_grid
from modalities.training.codec_source import codec_source
from modalities.training.codec_task import HELD_SEED_SHIFT, CodecTask, composed_pictures
from modalities.training.corpora.packages import fetch
from modalities.training.corpora.sprites import load_sprites
from modalities.training.generator_task import GeneratorTask, Objective, Probe, describe_training
from modalities.training.loop import LoopState, Task, Trainer
from modalities.training.model_folder import take_over, write_concepts, write_model
from modalities.training.pool import PoolSource, corpus_of, read_or_make_pool, text_encoder
from modalities.training.settings import CodecTraining, GeneratorTraining, Training, read_training
from modalities.training.sheets import previews
from modalities.weights.described import codec_lead

MACHINE = ("device", "threads", "compile", "resume")
"""Overrides that say where and how to train; all others change the training file."""


def train_from_yaml(path: Path, overrides: Mapping[str, Any] | None = None) -> None:
    """Run the training that a file describes and export its result.

    overrides: `device` ("auto", "cpu", "cuda"), `threads`, `compile`, `resume` (default yes), `folder`, `export`,
    `corpora`, and any key of the file's `loop`, such as `minutes` or `steps`. ValueError for anything else.
    """
    given = {key: value for key, value in dict(overrides or {}).items() if value is not None}
    machine = {key: given.pop(key) for key in MACHINE if key in given}
    training = read_training(path, given)
    device = _device(str(machine.get("device", "auto")))
    if machine.get("threads"):
        torch.set_num_threads(int(machine["threads"]))
    compiled = bool(machine.get("compile", False))
    task = _task(training, device, compiled)
    trainer = Trainer(task, training.loop, Path(training.folder))
    if machine.get("resume", True):
        trainer.resume()
    trainer.run(Path(training.export))


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError("device cuda was asked for, but this machine has none; use cpu or auto")
    return torch.device(name)


def _task(training: Training, device: torch.device, compiled: bool) -> Task:
    if isinstance(training, CodecTraining):
        return codec_task(training, device)
    return generator_task(training, device, compiled)


def codec_task(training: CodecTraining, device: torch.device) -> CodecTask:
    """The task of a codec's training file, with its pictures composed."""
    fetch(Path(training.corpora))
    sprites, data = load_sprites(Path(training.corpora)), training.data
    return CodecTask(
        ImageAutoencoderConfig.from_mapping(training.model),
        composed_pictures(sprites, data.pictures, training.seed, data.jitter),
        composed_pictures(sprites, data.held, training.seed + HELD_SEED_SHIFT, data.jitter),
        seed=training.seed,
        batch=training.loop.batch,
        noise=training.noise,
        spread=training.spread,
        refine=None if training.refine is None else read_codec(Path(training.refine), device),
        device=device,
    )


def generator_task(training: GeneratorTraining, device: torch.device, compiled: bool) -> GeneratorTask:
    """The task of a generator's training file, with its pool read or, the first time, computed."""
    objective, directions = _objective(training.objective, device, compiled)
    codec = codec_source(training.codec_or_default)
    decoder, encoder, modality = codec.load(device), text_encoder(training.text_encoder), training.kind
    source, workers = pool_source(training)
    pool = read_or_make_pool(Path(training.folder) / "pool", source, encoder.fingerprint, workers)
    config = model_config(training, tuple(pool.latents.shape[1:]), encoder.width)

    lead = codec_lead(str(codec.spec["kind"]), len(modality.axes))

    def export(folder: Path, module: nn.Module, state: LoopState) -> None:
        description = {
            "name": training.name,
            "modality": training.modality,
            "generator": {"family": "nextdit", "config": config.to_mapping()},
            "text_encoder": training.text_encoder,
            "native_size": [(n - f) * s + f for n, s, f in zip(task.axes, decoder.stride, lead, strict=True)],
            "defaults": training.defaults,
            "training": {**facts, **describe_training(task, state)},
        }
        write_model(folder, module, codec, description, training.storage)
        write_concepts(folder, corpus_of(source), training.threshold)

    task = GeneratorTask(
        config=config,
        pool=pool,
        preview=partial(previews, codec=decoder, axes=modality.axes),
        probe=Probe(conditioning=encoder.encode(training.probe or ["🍎"]), negative=encoder.encode([""])),
        objective=objective,
        directions=directions,
        export_with=export,
        seed=training.seed,
        batch=training.loop.batch,
        times=training.times,
        drop=training.caption_drop,
        text_tokens=training.text_tokens,
        coupling=training.coupling,
        points=training.train_points,
        columns=1 if len(modality.axes) == 3 else 4 if modality.axes == ("sample",) else 12,
        compile=compiled,
        device=device,
    )
    facts: dict[str, Any] = {"corpus": training.corpus, "data": dict(source.data), "text_encoder": encoder.fingerprint}
    if training.start_from is not None:
        facts["start_from"] = {"model": training.start_from, "tensors": take_over(task.module, training.start_from)}
    return task


def pool_source(training: GeneratorTraining) -> tuple[PoolSource, int]:
    """What the pool of a training is made from, and by how many processes."""
    data = dict(training.data)
    workers = int(data.pop("workers", 2))
    source = PoolSource(
        modality=training.modality,
        corpus=training.corpus,
        corpora=training.corpora,
        data=data,
        codec=training.codec_or_default,
        text_encoder=training.text_encoder,
    )
    return source, workers


def model_config(training: GeneratorTraining, latents: tuple[int, ...], width: int) -> NextDiTConfig:
    """The model's configuration; what the file leaves out follows from the latents `[C, *axes]` and the text's width.

    ValueError when the file says otherwise than the latents are.
    """
    channels, axes = latents[0], latents[1:]
    if training.train_points:
        if training.train_points > axes[0]:
            raise ValueError(f"train_points is {training.train_points}, but the corpus has clouds of {axes[0]} points")
        axes = (training.train_points,)
    patch = tuple(int(n) for n in training.model.get("patch", training.kind.generator["patch"]))
    try:
        tokens = token_grid(axes, patch)
        known = {"in_channels": channels, "trained_tokens": tokens, "patch": patch, "learn_sigma": False}
        known = {**training.kind.generator, **known}
        config = NextDiTConfig.from_mapping({**known, "cap_feat_dim": width, **training.model})
    except (TypeError, ValueError) as error:
        raise ValueError(f"model: {error}") from None
    if config.in_channels != channels or config.trained_tokens != tokens:
        raise ValueError(
            f"model: in_channels {config.in_channels} and trained_tokens {list(config.trained_tokens)} do not fit "
            f"latents of {channels} channels and {list(axes)} cells; expected {channels} and {list(tokens)}"
        )
    return config


def read_codec(folder: Path, device: torch.device | str) -> ImageAutoencoder:
    """The autoencoder that a codec's training exported; ValueError when it is not there yet."""
    codec = codec_source(str(folder)).load(device)
    if not isinstance(codec, ImageAutoencoder):
        raise ValueError(f"{folder}: not the built-in image autoencoder, which alone can be refined")
    return codec


def _objective(name: str, device: torch.device, compiled: bool) -> tuple[Objective, bool]:
    """The function behind a name, and whether it takes directions; ValueError when it cannot train this network."""
    try:
        found = cast(Objective, catalog.resolve("objective", name))
    except KeyError as error:
        raise ValueError(error.args[0]) from None
    entry = catalog.OBJECTIVES.get(name)
    facts = entry.facts if entry else {}
    if facts.get("twice") and (compiled or device.type != "cpu"):
        what = "a compiled network" if compiled else f"the fused attention of {device.type}"
        others = [other for other, entry in catalog.OBJECTIVES.items() if not entry.facts.get("twice")]
        raise ValueError(
            f"objective `{name}` differentiates the network twice, which {what} cannot; train on the CPU without "
            f"compile, or choose {', '.join(others)}"
        )
    return found, bool(facts.get("directions"))
