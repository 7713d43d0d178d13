"""`parhelion train FILE`: from a training file to finished weights."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modalities.catalog import samplers_of
from modalities.codecs.image_autoencoder import ImageAutoencoder, ImageAutoencoderConfig
from modalities.contracts import Codec, GenerateOptions
from modalities.generators.options import generate_options
from modalities.training.codec_source import codec_source
from modalities.training.codec_task import HELD_SEED_SHIFT, CodecTask, composed_pictures
from modalities.training.corpora.packages import fetch
from modalities.training.corpora.sprites import load_sprites
from modalities.training.corpus import load_corpus
from modalities.training.family import Probe, load_family
from modalities.training.flow_family import objective_of
from modalities.training.following import PromptFollowing, checked_judged
from modalities.training.generator_task import GeneratorTask, describe_training
from modalities.training.loop import LoopState, Task, Trainer
from modalities.training.model_folder import take_over, training_of, write_concepts, write_model
from modalities.training.pool import Pool, PoolSource, corpus_of, read_or_make_pool, text_encoder
from modalities.training.ranks import Ranks, check_cut
from modalities.training.settings import CodecTraining, GeneratorTraining, Training, read_training
from modalities.training.sheets import decoded, previews
from modalities.training.tokenizer_settings import TokenizerTraining
from modalities.training.tokenizer_task import TokenizerTask, corpus_pictures
from modalities.weights.described import codec_lead
from modalities.weights.description import describe, modality_defaults
from modalities.weights.loading import load_codec

MACHINE = ("device", "threads", "compile", "resume")
"""Overrides that say where and how to train; all others change the training file."""


def train_from_yaml(path: Path, overrides: Mapping[str, Any] | None = None, ranks: Ranks | None = None) -> None:
    """Run the training that a file describes and export its result.

    overrides: `device` ("auto", "cpu", "cuda"), `threads`, `compile`, `resume` (default yes), `folder`, `export`,
    `corpora`, and any key of the file's `loop`, such as `minutes` or `steps`. ValueError for anything else.
    ranks: this process's place among several that do the same; they see one file system.
    """
    training, machine = read_with_overrides(path, overrides)
    device = _device(str(machine.get("device", "auto")))
    if machine.get("threads"):
        torch.set_num_threads(int(machine["threads"]))
    compiled = bool(machine.get("compile", False))
    task = _task(training, device, compiled)
    trainer = Trainer(task, training.loop, Path(training.folder), ranks)
    if machine.get("resume", True):
        trainer.resume()
    trainer.run(Path(training.export))


def make_ready(path: Path, overrides: Mapping[str, Any] | None, workers: int) -> Training:
    """Check that so many workers can do a training, and make the pool that all of them read; returns the training.

    ValueError where they cannot; overrides as for `train_from_yaml`.
    """
    training, _ = read_with_overrides(path, overrides)
    if isinstance(training, GeneratorTraining):
        check_cut(training.loop.batch, workers, training.loop.accumulate)
        _pool(training)
    elif workers > 1:
        raise ValueError(f"{path}: a loss that is of its batch as a whole needs one worker; only generators take more")
    return training


def read_with_overrides(path: Path, overrides: Mapping[str, Any] | None) -> tuple[Training, dict[str, Any]]:
    """The training, and the overrides that say where and how to train; ValueError for a fault in either."""
    given = {key: value for key, value in dict(overrides or {}).items() if value is not None}
    machine = {key: given.pop(key) for key in MACHINE if key in given}
    return read_training(path, given), machine


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError("device cuda was asked for, but this machine has none; use cpu or auto")
    return torch.device(name)


def _task(training: Training, device: torch.device, compiled: bool) -> Task:
    if isinstance(training, CodecTraining):
        return codec_task(training, device)
    if isinstance(training, TokenizerTraining):
        return tokenizer_task(training, device, compiled)
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


def tokenizer_task(training: TokenizerTraining, device: torch.device, compiled: bool) -> TokenizerTask:
    """The task of a tokenizer's training file, with its pictures made."""
    pictures = corpus_pictures(load_corpus(training.corpus, Path(training.corpora), training.data))
    inner = load_codec(describe(training.of), device, torch.float32)
    return TokenizerTask(training, pictures, inner, device, compiled)


def generator_task(training: GeneratorTraining, device: torch.device, compiled: bool) -> GeneratorTask:
    """The task of a generator's training file, with its pool read or, the first time, computed."""
    if training.objective is not None:
        objective_of(training.objective, device, compiled)  # refused now, not after the pool has been computed
    codec = codec_source(training.codec_or_default)
    decoder, encoder, modality = codec.load(device), text_encoder(training.text_encoder), training.kind
    pool, source = _pool(training)
    shape = seen_shape(training, tuple(pool.latents.shape[1:]))
    family = load_family(training, shape, encoder.width, device, compiled)
    lead = codec_lead(str(codec.spec["kind"]), len(modality.axes))

    def export(folder: Path, module: nn.Module, state: LoopState) -> None:
        description = {
            "name": training.name,
            "modality": training.modality,
            "generator": {"family": training.family, "config": family.config},
            "text_encoder": training.text_encoder,
            "native_size": [(n - f) * s + f for n, s, f in zip(shape[1:], decoder.stride, lead, strict=True)],
            "defaults": training.defaults,
            "training": {**facts, **describe_training(task, state)},
        }
        write_model(folder, module, codec, description, training.storage)
        write_concepts(folder, corpus_of(source), training.threshold)

    task = GeneratorTask(
        family=family,
        pool=pool,
        size=shape[1:],
        options=sheet_options(training),
        preview=partial(previews, codec=decoder, axes=modality.axes),
        probe=Probe(conditioning=encoder.encode(training.probe or ["🍎"]), negative=encoder.encode([""])),
        export_with=export,
        seed=training.seed,
        batch=training.loop.batch,
        drop=training.caption_drop,
        text_tokens=training.text_tokens,
        points=training.train_points,
        columns=1 if len(modality.axes) == 3 else 4 if modality.axes == ("sample",) else 12,
        following=_following(training, source, decoder),
    )
    _try_options(task)
    facts: dict[str, Any] = {"corpus": training.corpus, "data": dict(source.data), "text_encoder": encoder.fingerprint}
    if training.start_from is not None:
        tensors = take_over(task.module, training.start_from)
        facts["start_from"] = {"model": training.start_from, "tensors": tensors}
        facts["start_from"]["training"] = training_of(training.start_from)
    return task


def sheet_options(training: GeneratorTraining) -> GenerateOptions:
    """How a workflow would sample the finished model that says no more than the training file does."""
    known = samplers_of(training.family)
    own = {} if GenerateOptions().sampler in known else {"sampler": next(iter(known))}
    options = generate_options(modality_defaults(training.modality) | own | training.defaults)
    if options.sampler not in known:
        near = difflib.get_close_matches(options.sampler, known, 1)
        hint = f"did you mean `{near[0]}`? " if near else ""
        raise ValueError(f"defaults: unknown sampler `{options.sampler}`; {hint}known: {', '.join(known)}")
    return options


def _try_options(task: GeneratorTask) -> None:
    """Sample one prompt of the probe, so that `defaults` no generator takes are refused now and not after hours."""
    one = Probe(conditioning=task.probe.conditioning.rows(slice(0, 1)), negative=task.probe.negative)
    try:
        task.sample(one)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"defaults: a sample cannot be made so: {error.args[0]}") from error


def _pool(training: GeneratorTraining) -> tuple[Pool, PoolSource]:
    """The pool of a training, made unless it is there; a corpus that cannot do what is asked is refused before."""
    source, workers = pool_source(training)
    if training.loop.stop is not None:
        checked_judged(corpus_of(source), training.corpus)
    folder = Path(training.pool or f"{training.folder}/pool")
    return read_or_make_pool(folder, source, text_encoder(training.text_encoder).fingerprint, workers), source


def _following(training: GeneratorTraining, source: PoolSource, codec: Codec) -> PromptFollowing | None:
    """How prompt-following is measured, where the file asks for it."""
    stop = training.loop.stop
    if stop is None:
        return None
    judge = checked_judged(corpus_of(source), training.corpus).judge()
    return PromptFollowing(judge, text_encoder(training.text_encoder), stop.prompts, partial(decoded, codec=codec))


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


def seen_shape(training: GeneratorTraining, latents: tuple[int, ...]) -> tuple[int, ...]:
    """Shape `[C, *axes]` of what a step sees of a sample, from that of its latents: all, or some of the points."""
    if not training.train_points:
        return latents
    if training.train_points > latents[1]:
        raise ValueError(f"train_points is {training.train_points}, but the corpus has clouds of {latents[1]} points")
    return (latents[0], training.train_points)


def read_codec(folder: Path, device: torch.device | str) -> ImageAutoencoder:
    """The autoencoder that a codec's training exported; ValueError when it is not there yet."""
    codec = codec_source(str(folder)).load(device)
    if not isinstance(codec, ImageAutoencoder):
        raise ValueError(f"{folder}: not the built-in image autoencoder, which alone can be refined")
    return codec
