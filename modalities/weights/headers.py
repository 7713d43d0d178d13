"""What a safetensors file says of itself, read without torch: names, shapes, and whether the file is whole."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

PICKLE_ENDINGS = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".pickle")
PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
SCALE = ".scale"
LARGEST_HEADER = 100_000_000
BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}

_HASHES: dict[tuple[Path, int, int], str] = {}


class DescriptionError(ValueError):
    """A model folder, or a file in it, is missing, unreadable, unsafe, or not what it claims to be."""


def refuse_pickle(path: Path) -> None:
    """DescriptionError when a file is a pickle, by its ending or by its first bytes: loading one runs its code."""
    start = b""
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(9)
    # The length of a safetensors header (640 bytes, for one) may begin as a pickle does; its JSON is no pickle's.
    is_pickled = start.startswith(PICKLE_STARTS) and start[8:] != b"{"
    if path.suffix.lower() in PICKLE_ENDINGS or is_pickled:
        raise DescriptionError(
            f"{path}: a pickled checkpoint can run any code when it is read, so it is refused; "
            f"convert it to safetensors: parhelion convert {path} FOLDER"
        )


def read_header(path: Path) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor in a safetensors file; DescriptionError when it is not whole.

    An int8 tensor and its scales (`storage.py`) are one tensor, under the name of the first.
    """
    refuse_pickle(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else LARGEST_HEADER + 1
            if length > min(size - 8, LARGEST_HEADER):
                raise DescriptionError(f"{path}: not a safetensors file, or cut short ({size} bytes)")
            header = json.loads(file.read(length))
    except FileNotFoundError:
        raise DescriptionError(f"{path}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, DescriptionError):
            raise
        raise DescriptionError(f"{path}: not a safetensors file ({error})") from None
    return _shapes(path, header, size - 8 - length)


def _shapes(path: Path, header: Any, data_bytes: int) -> dict[str, tuple[int, ...]]:
    try:
        entries = {name: value for name, value in header.items() if name != "__metadata__"}
        ends = [int(value["data_offsets"][1]) for value in entries.values()]
        shapes = {name: tuple(int(n) for n in value["shape"]) for name, value in entries.items()}
        sizes = {name: value["data_offsets"][1] - value["data_offsets"][0] for name, value in entries.items()}
        types = {name: BYTES.get(value["dtype"], 1) for name, value in entries.items()}
    except (AttributeError, KeyError, TypeError, ValueError, IndexError):
        raise DescriptionError(f"{path}: the safetensors header is damaged") from None
    if max(ends, default=0) != data_bytes:
        raise DescriptionError(f"{path}: cut short or damaged; it holds {data_bytes} bytes of {max(ends, default=0)}")
    wrong = [name for name, shape in shapes.items() if prod(shape) * types[name] != sizes[name]]
    if wrong:
        raise DescriptionError(f"{path}: the shape of {wrong[0]} does not match its bytes")
    return _without_scales(path, shapes, {name: str(value["dtype"]) for name, value in entries.items()})


def _without_scales(
    path: Path, shapes: dict[str, tuple[int, ...]], types: Mapping[str, str]
) -> dict[str, tuple[int, ...]]:
    whole = [name for name in shapes if types[name] == "I8"]
    for name in whole:
        scale = shapes.get(f"{name}{SCALE}")
        if len(shapes[name]) < 2 or scale != shapes[name][:1] or types[f"{name}{SCALE}"] not in ("F32", "F16", "BF16"):
            raise DescriptionError(f"{path}: {name} is int8, but {name}{SCALE} is not one float for each of its rows")
    scales = {f"{name}{SCALE}" for name in whole}
    return {name: shape for name, shape in shapes.items() if name not in scales}


def read_headers(files: Sequence[Path]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a checkpoint in one or more files; DescriptionError when two files hold one name."""
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        found = read_header(file)
        twice = sorted(set(found) & set(shapes))
        if twice:
            raise DescriptionError(f"{file}: {twice[0]} is also in another file of this checkpoint")
        shapes |= found
    return shapes


def tensor_files(folder: Path, stem: str) -> tuple[Path, ...]:
    """The files of checkpoint `stem` in a folder: `stem.safetensors`, or the shards that its index names."""
    single, index = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    if single.is_file():
        return (single,)
    if index.is_file():
        names = sorted(set(read_json(index).get("weight_map", {}).values()))
        if not names or any(Path(name).name != name for name in names):
            raise DescriptionError(f"{index}: weight_map should name files of this folder")
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise DescriptionError(f"{index}: names {', '.join(missing)}, which the folder does not hold")
        return tuple(folder / name for name in names)
    pickles = sorted(path for path in folder.glob("*") if path.suffix.lower() in PICKLE_ENDINGS)
    if pickles:
        refuse_pickle(pickles[0])
    raise DescriptionError(f"{folder}: no {stem}.safetensors and no index of its shards")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON mapping in a file; DescriptionError otherwise."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DescriptionError(f"{path}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DescriptionError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise DescriptionError(f"{path}: expected a JSON mapping")
    return value


def shape_faults(found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]) -> str:
    """What is missing, unexpected or of the wrong shape in a checkpoint, a few names of each; empty when nothing is."""
    missing = [name for name in wanted if name not in found]
    unexpected = [name for name in found if name not in wanted]
    wrong = [
        f"{name} is {list(found[name])} instead of {list(wanted[name])}"
        for name in wanted
        if name in found and found[name] != wanted[name]
    ]
    parts = [("missing", missing), ("unexpected", unexpected), ("wrong shape", wrong)]
    return "; ".join(
        f"{len(names)} {what}: {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}"
        for what, names in parts
        if names
    )


def file_hash(path: Path) -> str:
    """SHA-256 of a file as hex digits; remembered in this process for as long as its size and time stay the same."""
    facts = path.stat()
    key = (path.resolve(), facts.st_size, facts.st_mtime_ns)
    if key not in _HASHES:
        with path.open("rb") as file:
            _HASHES[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _HASHES[key]
