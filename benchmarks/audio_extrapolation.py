"""Longer sounds than the model was trained on: every extrapolation method at 4 and 8 seconds, measured.

From noise by every method; with proportional attention; and from the native latents, stretched and re-noised.
Measured for each way, over prompts whose native sound is right:

    pitch       the median pitch is within a semitone of the note
    steady      share of the loud frames whose own pitch is
    family      the family heard in the first two seconds is right (the classifier knows how notes begin)
    sounding    share of the time that is loud (within 24 dB of the loudest frame)
    last        seconds from the first loud frame to the last
    strokes     times the sound starts anew; a note has 1
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from builtin_image import ImageModel, seed_of
from family_classifier import FAMILY, FamilyClassifier
from heard import FRAME, HOP, RATE, pitch_track
from torch import Tensor
from torch.nn import functional as F

from modalities import catalog
from modalities.contracts import Extrapolation, GenerateOptions

NATIVE = 32_256
LENGTHS = (64_000, 128_000)
KEPT = 6
PICTURED = ("none", "position-interpolation", "ntk-aware", "time-aware")
RISE = 4.0
"""A stroke: the level of a frame of 32 ms is so many times that of the one 64 ms before, and near the loudest."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to a longer sound. strength: 1 is from noise."""

    name: str
    extrapolation: Extrapolation
    strength: float = 1.0


def ways() -> list[Way]:
    """Every way that is compared, in the order of the table."""
    found = [Way(method, Extrapolation(method=method)) for method in catalog.EXTRAPOLATIONS]
    found.append(
        Way("time-aware, proportional attention", Extrapolation(method="time-aware", proportional_attention=True))
    )
    found += [
        Way(f"{method}, strength {strength:g}", Extrapolation(method=method), strength)
        for method, strength in (("none", 0.7), ("position-interpolation", 0.7), ("time-aware", 0.7))
    ]
    return found


def extrapolations(
    model: ImageModel,
    prompts: Sequence[Any],
    rows: Sequence[Any],
    native: Tensor,
    options: GenerateOptions,
    judge: FamilyClassifier,
    keep: Callable[[str, Tensor], None],
) -> dict[str, Any]:
    """Make longer sounds of prompts, spread over the list, whose native sound is right, and measure them.

    keep: gets a name and the sound of the first prompt, for some ways at each length.
    """
    right = [i for i, row in enumerate(rows) if row.pitch_hit and row.family_hit]
    chosen = [right[(k * len(right)) // KEPT] for k in range(min(KEPT, len(right)))]
    asked = [prompts[i] for i in chosen]
    found: dict[str, Any] = {"prompts": [prompt.id for prompt in asked], "lengths": {}, "pictures": []}
    texts = model.encode([prompt.text for prompt in asked])
    seeds = [seed_of(prompt.id) for prompt in asked]
    for length in LENGTHS:
        table = []
        for way in ways():
            began = time.process_time()
            start = None if way.strength == 1 else stretched(native[chosen], length // 256)
            chosen_options = replace(options, extrapolation=way.extrapolation, strength=way.strength)
            latents = model.generate(texts, seeds, (length,), chosen_options, start)
            with torch.inference_mode():
                sounds = model.codec.decode(latents.float())[:, 0]
            seconds = (time.process_time() - began) / len(asked)
            measured = [measure(s, p.note, FAMILY[p.instrument], judge) for s, p in zip(sounds, asked, strict=True)]
            mean = {key: round(sum(row[key] for row in measured) / len(measured), 3) for key in measured[0]}
            table.append({"way": way.name, **mean, "seconds": round(seconds, 2)})
            if way.name in PICTURED:
                found["pictures"].append(f"{length // RATE}s-{way.name}")
                keep(found["pictures"][-1], sounds[0])
            print(f"{length / RATE:g} s {way.name:36s} {table[-1]}", flush=True)
        found["lengths"][str(length)] = table
    return found


def stretched(latents: Tensor, frames: int) -> Tensor:
    """Latents `[N, C, T]` drawn out to `frames` frames."""
    return F.interpolate(latents.float(), size=frames, mode="linear", align_corners=False)


def measure(sound: Tensor, note: int, family: str, judge: FamilyClassifier) -> dict[str, float]:
    """What is heard in one longer sound `[N]`."""
    pitches, loud = pitch_track(sound)
    heard = pitches[loud & pitches.isfinite()]
    right = (heard - note).abs() <= 1
    places = loud.nonzero().flatten()
    last = int(places[-1]) * HOP + FRAME if len(places) else 0
    first = int(places[0]) * HOP if len(places) else 0
    return {
        "pitch": float(abs(float(heard.median()) - note) <= 1) if len(heard) else 0.0,
        "steady": float(right.float().mean()) if len(heard) else 0.0,
        "family": float(judge.families(sound[None, :NATIVE])[0] == family),
        "sounding": float(loud.float().mean()),
        "last": (last - first) / RATE,
        "strokes": float(strokes(sound)),
    }


def strokes(sound: Tensor) -> int:
    """How often the sound starts anew."""
    level = sound[: len(sound) // 512 * 512].view(-1, 512).square().mean(dim=1).sqrt()
    level = F.pad(level, (2, 0), value=1e-5)
    rises = (level[2:] > RISE * level[:-2].clamp_min(1e-5)) & (level[2:] > 0.25 * level.max())
    starts = rises & ~F.pad(rises, (3, 0))[:-3] & ~F.pad(rises, (2, 0))[:-2] & ~F.pad(rises, (1, 0))[:-1]
    return int(starts.sum())
