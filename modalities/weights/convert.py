"""Published pickled checkpoints turned into a folder of safetensors: `parhelion convert`.

Files are read by an interpreter that cannot run code (`convert_pickle.py`), told apart by the names in them
(`convert_layouts.py`), checked tensor by tensor against the layout they claim to be, and written whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modalities.contracts import CheckpointError
from modalities.weights import convert_audio, convert_digit, convert_mar
from modalities.weights.checkpoint import write_model_json
from modalities.weights.convert_archive import opened
from modalities.weights.convert_layouts import recognise
from modalities.weights.convert_writing import Found, replacing, write_chosen
from modalities.weights.description import describe
from modalities.weights.headers import PICKLE_ENDINGS, DescriptionError

KINDS = ("auto", "lumina-music", "lumina-audio", "lumina-image", "mar", "bigvgan", "digit", "vqgan", "tensors")
NO_WEIGHTS = ("model_args", "optim", "resume_step", "scheduler", "training_args", "rng_state", "CLAP_weights")
"""Beginnings of the names of files that lie beside weights and hold none that are needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to convert and how.

    kind: one of KINDS; auto tells it from the names of the tensors. text_encoder: folder or hub id of the T5 that the
    audio and music models read prompts with; empty for the one they were released with. ema: take averaged weights
    where a file holds both. skip_objects: pass over objects that are no tensors, without building them, instead of
    refusing the file. force: replace a folder that an earlier conversion wrote.
    """

    source: Path
    target: Path
    kind: str = "auto"
    text_encoder: str = ""
    ema: bool = True
    skip_objects: bool = False
    force: bool = False


def convert(request: Request) -> list[str]:
    """Write the folder; answers lines that say what was done. CheckpointError names the file and what is wrong."""
    if request.kind not in KINDS:
        raise ValueError(f"unknown kind `{request.kind}`; known: {', '.join(KINDS)}")
    if (files := convert_mar.released(request.source)) is not None and request.kind in ("auto", "mar"):
        with replacing(request.target, force=request.force) as folder:
            values, lines = convert_mar.write_released(*files, folder, ema=request.ema)
            return [f"{request.target}: mar", _checked(folder, request.target, values), *lines]
    with _open_all(request) as found, replacing(request.target, force=request.force) as folder:
        kind = _kind(request, found)
        match kind:
            case "lumina-music" | "lumina-audio":
                lines = _audio_line(request, kind, found, folder)
            case "lumina-image":
                lines = _image(found, folder)
            case "digit":
                lines = _digit(request, found, folder)
            case "vqgan":
                lines = _vqgan(_of_kind(found, "vqgan"), folder)
            case "mar":
                lines = _mar(request, found, folder)
            case "bigvgan":
                lines = _one(_of_kind(found, "bigvgan"), folder / "vocoder.safetensors")
            case _:
                lines = _one([each for each in found if each.part.tensors], folder / "tensors.safetensors")
        notes = [f"{each.checkpoint.path.name}: {note}" for each in found for note in each.part.notes]
    return [f"{request.target}: {kind}", *lines, *notes]


@contextmanager
def _open_all(request: Request) -> Iterator[list[Found]]:
    """Every checkpoint of the source, open; a refusal while one is read names its file."""
    with ExitStack() as stack:
        found = []
        for path in _files(request.source):
            checkpoint = stack.enter_context(opened(path, skip_objects=request.skip_objects))
            found.append(Found(checkpoint, recognise(checkpoint.value, ema=request.ema)))
        yield found


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise CheckpointError(f"{source}: no such file or folder")
    pickles = sorted(path for path in source.rglob("*") if path.is_file() and path.suffix.lower() in PICKLE_ENDINGS)
    files = [path for path in pickles if not path.name.startswith(NO_WEIGHTS)]
    if not files:
        raise CheckpointError(f"{source}: holds no file that ends in {', '.join(PICKLE_ENDINGS)}")
    return files


def _of_kind(found: list[Found], kind: str) -> list[Found]:
    return [each for each in found if each.part.kind == kind]


def _kind(request: Request, found: list[Found]) -> str:
    """What the files are together; CheckpointError when that differs from what was asked for, or cannot be told."""
    names = ", ".join(f"{each.checkpoint.path.name} ({each.part.kind})" for each in found)
    if request.kind == "tensors":
        return "tensors"
    if lines := _of_kind(found, "lumina-audio-line"):
        told = convert_audio.kind_of(lines[0].part)
        if told is None and request.kind not in ("lumina-music", "lumina-audio"):
            raise CheckpointError(
                f"{lines[0].checkpoint.path}: holds no text encoder, so it may be the music or the audio model; say "
                "--kind lumina-music or --kind lumina-audio"
            )
        kind = told or request.kind
    elif _of_kind(found, "next-dit"):
        kind = "lumina-image"
    elif _of_kind(found, "mar"):
        kind = "mar"
    elif any(convert_digit.is_stage(each.part) for each in found):
        kind = "digit"
    elif _of_kind(found, "vqgan"):
        kind = "vqgan"
    elif _of_kind(found, "bigvgan"):
        kind = "bigvgan"
    elif request.kind == "auto" and [each.part.kind for each in found] == ["tensors"]:
        kind = "tensors"
    else:
        raise CheckpointError(f"{request.source}: found {names}, none of which can be converted by itself")
    if request.kind not in ("auto", kind):
        raise CheckpointError(f"{request.source}: is {kind}, not {request.kind}; found {names}")
    return kind


def _audio_line(request: Request, kind: str, found: list[Found], folder: Path) -> list[str]:
    """Generator, codec and vocoder in our format; checked by describing the folder as planning will."""
    main = _of_kind(found, "lumina-audio-line")
    if len(main) > 1:
        raise CheckpointError(f"{request.source}: holds {len(main)} generation models; name the file of one")
    parts = convert_audio.Parts(
        main=main[0],
        codec=next(iter(_of_kind(found, "vae1d")), None),
        vocoder=next(iter(_of_kind(found, "bigvgan")), None),
    )
    values = convert_audio.write(parts, folder, kind, request.text_encoder)
    vocoder = "with its vocoder" if values["codec"].get("vocoder") else "no vocoder found: Griffin-Lim takes its place"
    return [
        _checked(folder, request.target, values),
        f"codec: {values['codec']['kind']}, {vocoder}",
        f"text encoder: {values['text_encoder']['kind']}",
    ]


def _checked(folder: Path, target: Path, values: Mapping[str, Any]) -> str:
    """Write `model.json`, describe the folder as planning will, and say what the generator is."""
    write_model_json(folder, values)
    try:
        described = describe(folder)
    except DescriptionError as error:
        raise CheckpointError(str(error).replace(str(folder), str(target))) from None
    size = " x ".join(str(n) for n in described.native_size)
    return f"generator: {described.family}, {described.parameters:,} parameters, {described.modality}, {size}"


def _digit(request: Request, found: list[Found], folder: Path) -> list[str]:
    """Both stages, VQGAN and tokenizer in our format."""
    stages = {kind: _of_kind(found, kind) for kind in ("digit-semantic", "digit-decoder")}
    for (kind, files), what in zip(stages.items(), ("first stage", "second stage"), strict=True):
        if len(files) != 1:
            names = ", ".join(each.checkpoint.path.name for each in files) or "none"
            raise CheckpointError(
                f"{request.source}: a DiGIT needs one {what} ({kind}), found {names}; convert a folder that holds one "
                "checkpoint of each stage"
            )
    parts = convert_digit.Parts(
        semantic=stages["digit-semantic"][0],
        decoder=stages["digit-decoder"][0],
        codec=next(iter(_of_kind(found, "vqgan")), None),
        clusters=convert_digit.cluster_files(request.source),
    )
    values, lines = convert_digit.write(parts, folder)
    return [_checked(folder, request.target, values), f"codec: {values['codec']['kind']}", *lines]


def _vqgan(found: list[Found], folder: Path) -> list[str]:
    """The VQGAN alone, after its tensors have been seen to fit."""
    if len(found) == 1:
        convert_digit.vqgan_config(found[0], found[0].part.tensors)
    return _one(found, folder / "codec.safetensors")


def _mar(request: Request, found: list[Found], folder: Path) -> list[str]:
    """Network, autoencoder and class names in our format."""
    networks = _of_kind(found, "mar")
    if len(networks) > 1:
        names = ", ".join(each.checkpoint.path.name for each in networks)
        raise CheckpointError(f"{request.source}: holds {len(networks)} networks ({names}); name the folder of one")
    codec = next(iter(_of_kind(found, "kl-vae")), None)
    values, lines = convert_mar.write(convert_mar.Parts(network=networks[0], codec=codec), folder)
    return [_checked(folder, request.target, values), *lines]


def _image(found: list[Found], folder: Path) -> list[str]:
    """Original Lumina image weights: one safetensors file for each, under its own name."""
    lines = []
    for each in _of_kind(found, "next-dit"):
        stem = each.checkpoint.path.stem
        name = stem if stem.startswith("consolidated") else "consolidated"
        lines += _one([each], folder / f"{name}.safetensors")
    examples = {
        "text_encoder": {"kind": "huggingface", "source": "google/gemma-2b", "preset": "lumina-next"},
        "codec": {"kind": "diffusers-vae", "source": "stabilityai/sdxl-vae"},
    }
    averaged = not any(folder.glob("consolidated.*"))
    try:
        described = describe(folder, {**examples, "ema": averaged})
    except DescriptionError as error:
        raise CheckpointError(str(error)) from None
    return [
        *lines,
        f"generator: nextdit, {described.parameters:,} parameters",
        "name `text_encoder` and `codec` beside the source in a workflow; see docs/checkpoints.md",
    ]


def _one(found: list[Found], file: Path) -> list[str]:
    if len(found) != 1:
        names = ", ".join(each.checkpoint.path.name for each in found)
        raise CheckpointError(f"expected one file, found {len(found)} ({names}); name one of them")
    write_chosen(file, found[0].chosen(found[0].part.tensors))
    return [f"{file.name}: {len(found[0].part.tensors)} tensors of {found[0].checkpoint.path.name}"]
