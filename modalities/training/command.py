"""`parhelion train FILE`: from a training file to finished weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from modalities import catalog
from modalities.codecs import image_autoencoder
from modalities.codecs.image_autoencoder import ImageAutoencoder, ImageAutoencoderConfig
from modalities.contracts import TextEncoder
from modalities.generators.nextdit.config import NextDiTConfig
from modalities.training.codec_task import HELD_SEED_SHIFT, CodecTask, composed_pictures
from modalities.training.corpora.concepts import CONCEPTS
from modalities.training.corpora.names import load_names
from modalities.training.corpora.packages import fetch
from modalities.training.corpora.sprites import load_sprites
from modalities.training.generator_task import GeneratorTask, Objective, Probe, describe_training
from modalities.training.loop import LoopState, Task, Trainer
from modalities.training.model_folder import write_concepts, write_model
from modalities.training.pool import Pool, encode_captions, read_pool, scene_captions, scene_latents, write_pool
from modalities.training.settings import CodecTraining, GeneratorTraining, Training, read_training
from modalities.weights.headers import read_json

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
    fetch(Path(training.corpora))
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
    codec = read_codec(Path(training.codec), device)
    encoder = _text_encoder(training)
    config = NextDiTConfig.from_mapping({"cap_feat_dim": encoder.width, **training.model})
    names = load_names(Path(training.corpora))

    def export(folder: Path, module: nn.Module, state: LoopState) -> None:
        description = {
            "name": training.name,
            "modality": "image",
            "generator": {"family": "nextdit", "config": config.to_mapping()},
            "text_encoder": training.text_encoder,
            "native_size": [n * s for n, s in zip(task.pool.latents.shape[2:], codec.stride, strict=True)],
            "defaults": training.defaults,
            "training": {**describe_training(task, state), "text_encoder": encoder.fingerprint},
        }
        write_model(folder, module, Path(training.codec), description)
        write_concepts(folder, CONCEPTS, names, training.threshold)

    task = GeneratorTask(
        config=config,
        pool=read_or_make_pool(training, codec, device),
        codec=codec,
        probe=Probe(conditioning=encoder.encode(training.probe or ["🍎"]), negative=encoder.encode([""])),
        objective=_objective(training.objective),
        export_with=export,
        seed=training.seed,
        batch=training.loop.batch,
        times=training.times,
        drop=training.caption_drop,
        text_tokens=training.text_tokens,
        compile=compiled,
        device=device,
    )
    return task


def read_codec(folder: Path, device: torch.device | str) -> ImageAutoencoder:
    """The autoencoder that a codec's training exported; ValueError when it is not there yet."""
    if not (folder / "codec.json").is_file():
        raise ValueError(f"{folder}: no codec.json; train the codec first (workflows/train/image_codec.yaml)")
    spec = read_json(folder / "codec.json")
    values = {"kind": spec["kind"], "config": spec["config"], "file": str(folder / "codec.safetensors")}
    return image_autoencoder.load(values, device, torch.float32)


def read_or_make_pool(training: GeneratorTraining, codec: ImageAutoencoder, device: torch.device) -> Pool:
    """The pool of a training, from its folder when the same settings made it, computed and written otherwise."""
    data, folder = training.data, Path(training.folder) / "pool"
    note = {key: value for key, value in asdict(data).items() if key != "workers"}
    pool = read_pool(folder, note)
    if pool is not None:
        return pool
    sprites = load_sprites(Path(training.corpora))
    names = load_names(Path(training.corpora))
    captions, rows = scene_captions(names, len(sprites), data.scenes, data.seed, data.captions, data.free_captions)
    latents = scene_latents(codec, sprites, data.scenes, data.seed, data.jitter, device)
    tokens, starts = encode_captions(captions, training.text_encoder, data.workers)
    pool = Pool(latents, rows, tokens, starts)
    write_pool(folder, pool, captions, note)
    return pool


def _objective(name: str) -> Objective:
    try:
        return cast(Objective, catalog.resolve("objective", name))
    except KeyError as error:
        raise ValueError(error.args[0]) from None


def _text_encoder(training: GeneratorTraining) -> TextEncoder:
    try:
        load = catalog.resolve("text encoder", str(training.text_encoder.get("kind", "builtin")))
    except KeyError as error:
        raise ValueError(error.args[0]) from None
    return cast(TextEncoder, load(training.text_encoder, "cpu", torch.float32))  # type: ignore[operator]
