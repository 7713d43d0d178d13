"""Sounds as WAV, FLAC and Ogg Vorbis, with what made them written inside, and read back.

Media are `[1, samples]` float32 in -1..1. A sound keeps the loudness that the model gave it, since soft and loud are
among what it was asked for; with `loudness` (LUFS; -23 is the level of EBU R 128) it is brought to that. Either is done
by one factor for all its samples, and never so that its true peak passes `peak` (dBFS). Equal sounds with equal facts
give equal files.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orchestrator.exporters.image import as_json
from orchestrator.exporters.loudness import levelled

PEAK = -1.0
AS_MADE = "as-made"
"""The loudness that leaves a sound as the model made it, if only its peak allows."""
SERIAL = 0x50415248
"""Serial number of the stream in an Ogg file, where the library would draw one at random."""


def write_wav(media: Tensor, path: Path, facts: Mapping[str, Any]) -> None:
    """PCM of 16 bits, or `samples: float32`. Options: loudness, peak, samples."""
    sound, rate = prepared(media, facts)
    if (facts.get("options") or {}).get("samples") == "float32":
        kind, width, data = 3, 4, sound.to(torch.float32).numpy().tobytes()
    else:
        kind, width, data = 1, 2, as_int16(sound).numpy().tobytes()
    form = struct.pack("<HHIIHH", kind, 1, rate, rate * width, width, 8 * width)
    texts = _chunk(b"INAM", _text(facts.get("prompt"))) + _chunk(b"ICMT", _text(as_json(facts)))
    body = b"WAVE" + _chunk(b"fmt ", form)
    if kind == 3:
        body += _chunk(b"fact", struct.pack("<I", len(sound)))
    body += _chunk(b"LIST", b"INFO" + texts) + _chunk(b"data", data)
    path.write_bytes(_chunk(b"RIFF", body))


def write_flac(media: Tensor, path: Path, facts: Mapping[str, Any]) -> None:
    """FLAC of 16 bits: the samples of the WAV, in about half the bytes. Options: loudness, peak."""
    sound, rate = prepared(media, facts)
    path.write_bytes(_encoded(as_int16(sound), rate, facts, "FLAC", "PCM_16"))


def write_ogg(media: Tensor, path: Path, facts: Mapping[str, Any]) -> None:
    """Ogg Vorbis, about 60 kbit/s. Options: loudness, peak."""
    sound, rate = prepared(media, facts)
    path.write_bytes(with_serial(_encoded(sound.to(torch.float32), rate, facts, "OGG", "VORBIS"), SERIAL))


def read_facts(path: Path) -> dict[str, Any]:
    """What one of the writers above wrote inside a file. ValueError when the file holds nothing of the kind."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            facts = json.loads(file.comment)
    except (soundfile.LibsndfileError, json.JSONDecodeError):
        raise ValueError(f"{path}: no sound with facts written by parhelion") from None
    if not isinstance(facts, dict):
        raise ValueError(f"{path}: no sound with facts written by parhelion")
    return facts


def prepared(media: Tensor, facts: Mapping[str, Any]) -> tuple[Tensor, int]:
    """Samples `[N]` in float64 at the loudness that the options ask for, if any, and below their peak; and their rate.

    ValueError for media that are no sound, hold a number that is not finite, or are silent.
    """
    samples, rate = sound_of(media, facts)
    options = facts.get("options") or {}
    peak = options.get("peak")
    loudness = options.get("loudness")
    wanted = None if loudness in (None, AS_MADE) else float(loudness)
    return levelled(samples, rate, wanted, PEAK if peak is None else float(peak)), rate


def sound_of(media: Tensor, facts: Mapping[str, Any]) -> tuple[Tensor, int]:
    """Samples `[N]` in float64 and their rate; ValueError when media are no sound that can be heard."""
    if not media.is_floating_point() or media.dim() != 2 or media.shape[0] != 1 or media.shape[1] == 0:
        wanted = "[1, samples] in float32 with at least one sample"
        raise ValueError(f"a sound is {wanted}; got {list(media.shape)} in {media.dtype}")
    wrong = int((~media.isfinite()).sum())
    if wrong:
        raise ValueError(f"the sound cannot be written: {wrong} of {media.shape[1]} samples are not finite numbers")
    rate = round(float(facts.get("rate") or 0))
    if not 0 < rate <= 768_000:
        raise ValueError(f"a sound cannot have {rate} samples a second; expected 1 to 768000")
    return media[0].double(), rate


def as_int16(samples: Tensor) -> Tensor:
    """Samples of -1..1 as whole numbers of -32767..32767."""
    return (samples * 32767).round().clamp(-32767, 32767).to(torch.int16)


def with_serial(data: bytes, serial: int) -> bytes:
    """An Ogg file with another serial number in every page, and the checksums that belong to it (RFC 3533)."""
    pages, position = [], 0
    while position < len(data):
        segments = data[position + 26]
        size = 27 + segments + sum(data[position + 27 : position + 27 + segments])
        page = bytearray(data[position : position + size])
        page[14:18] = struct.pack("<I", serial)
        page[22:26] = bytes(4)
        page[22:26] = struct.pack("<I", _checksum(page))
        pages.append(bytes(page))
        position += size
    return b"".join(pages)


def _encoded(samples: Tensor, rate: int, facts: Mapping[str, Any], kind: str, subtype: str) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", rate, 1, subtype, format=kind) as file:
        file.title = str(facts.get("prompt") or "")
        file.comment = as_json(facts)
        file.write(samples.numpy())
    return buffer.getvalue()


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def _text(value: object) -> bytes:
    return str(value or "").encode() + b"\0"


def _checksum(page: bytes | bytearray) -> int:
    """The CRC of Ogg pages: polynomial 0x04c11db7, not reflected, nothing added."""
    value = 0
    for byte in page:
        value = (value << 8) & 0xFFFFFFFF ^ _CRC[(value >> 24) ^ byte]
    return value


def _crc_table() -> tuple[int, ...]:
    table = []
    for number in range(256):
        value = number << 24
        for _ in range(8):
            value = (value << 1) ^ 0x04C11DB7 if value & 0x80000000 else value << 1
        table.append(value & 0xFFFFFFFF)
    return tuple(table)


_CRC = _crc_table()
