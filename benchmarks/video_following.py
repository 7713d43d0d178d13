"""Does the built-in video model move what prompts say the way they say? 60 prompts in ten languages, none trained on.

    python benchmarks/video_following.py [--model builtin/video] [--steps N] [--extrapolate] [--check]

For each prompt one clip is made from a seed that follows from the prompt's id, and looked at by `moving_sprite.py`: the
direction is right when the object's centroid goes the asked way, the object when the nearest sprite of the corpus is
the asked one. The measure is first tried on clips of the corpus (a perfect model's score, with and without the codec)
and on clips compared with other prompts (luck). Frames have to differ, and half of them by less than at a cut.
`--extrapolate` also makes longer and larger clips by every method. Writes docs/video.md with its pictures and
benchmarks/results/video_following-<date>.json. `--check` makes the exit status 1 when a threshold is missed.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from builtin_image import ROOT, ImageModel, load_model, seed_of, with_steps, write_results
from following_command import following_parser, read, verdict
from moving_sprite import MovingSprites, Seen
from torch import Tensor
from video_extrapolation import extrapolations
from video_page import write_page

from modalities.training.corpora import packages
from modalities.training.corpora.motions import RATE
from modalities.training.corpora.sprite_motion import Clip, SpriteMotion

PROMPTS = ROOT / "benchmarks" / "prompts" / "video_following.csv"
THRESHOLDS = {"direction": 0.80, "object": 0.60}


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt and what it asks for."""

    id: str
    language: str
    concept: str
    direction: str
    background: str
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the clip of one prompt shows. right, down: pixels of 64 a frame. change: of 255, between frames in a row."""

    id: str
    language: str
    text: str
    asked: str
    shown: str
    asked_direction: str
    shown_direction: str
    right: float
    down: float
    least_change: float
    median_change: float
    largest_change: float
    object_hit: bool
    direction_hit: bool


def read_prompts(path: Path = PROMPTS) -> list[Prompt]:
    """The benchmark's prompts, in the order of the file; a background that is not named is white."""
    with path.open(encoding="utf-8", newline="") as file:
        return [Prompt(**{**row, "background": row["background"] or "white"}) for row in csv.DictReader(file)]


def outcomes(prompts: Sequence[Prompt], seen: Seen) -> list[Outcome]:
    """Compare what clips show with what their prompts ask."""
    return [
        Outcome(
            id=prompt.id,
            language=prompt.language,
            text=prompt.text,
            asked=prompt.concept,
            shown=seen.concept[i],
            asked_direction=prompt.direction,
            shown_direction=seen.direction[i],
            right=round(float(seen.slope[i, 0]), 3),
            down=round(float(seen.slope[i, 1]), 3),
            least_change=round(float(seen.change[i].min()), 3),
            median_change=round(float(seen.change[i].median()), 3),
            largest_change=round(float(seen.change[i].max()), 3),
            object_hit=seen.concept[i] == prompt.concept,
            direction_hit=seen.direction[i] == prompt.direction,
        )
        for i, prompt in enumerate(prompts)
    ]


def summary(rows: Sequence[Outcome]) -> dict[str, Any]:
    """Shares of hits over a set of outcomes, and the changes between frames."""
    return {
        "prompts": len(rows),
        "direction": round(sum(row.direction_hit for row in rows) / len(rows), 4),
        "object": round(sum(row.object_hit for row in rows) / len(rows), 4),
        "both": round(sum(row.object_hit and row.direction_hit for row in rows) / len(rows), 4),
        "least_change": min(row.least_change for row in rows),
        "largest_median": max(row.median_change for row in rows),
        "largest_change": max(row.largest_change for row in rows),
    }


def luck(prompts: Sequence[Prompt], seen: Seen) -> dict[str, float]:
    """The share of clips that show what another prompt asks for, over all other prompts."""
    pairs = [(prompt, j) for i, prompt in enumerate(prompts) for j in range(len(prompts)) if j != i]
    return {
        "direction": round(sum(seen.direction[j] == prompt.direction for prompt, j in pairs) / len(pairs), 4),
        "object": round(sum(seen.concept[j] == prompt.concept for prompt, j in pairs) / len(pairs), 4),
    }


def real_clips(prompts: Sequence[Prompt], corpus: SpriteMotion) -> Tensor:
    """What a perfect model would make: clips of the corpus as each prompt asks, `[N, 3, 12, 64, 64]` in 0..1."""
    clips = [
        corpus.frames(Clip(prompt.concept, prompt.direction, prompt.background), seed_of(prompt.id) % 100_000)
        for prompt in prompts
    ]
    return torch.stack([torch.from_numpy(clip) for clip in clips]).permute(0, 4, 1, 2, 3).float() / 255


def cut_change(clips: Tensor) -> float:
    """How much changes at a cut from one real clip to another on the same background, at least in 19 of 20 cuts."""
    change = (clips[:, None, :, -1] - clips[None, :, :, 0]).abs().mean(dim=(2, 3, 4)) * 255
    apart = ~torch.eye(len(clips), dtype=torch.bool)
    return round(float(change[apart].quantile(0.05)), 3)


def through_codec(model: ImageModel, clips: Tensor) -> Tensor:
    """Clips in 0..1 encoded and decoded."""
    with torch.inference_mode():
        return torch.cat([model.decode(model.codec.encode(part * 2 - 1)) for part in clips.split(8)])


def ceilings(model: ImageModel, prompts: Sequence[Prompt], sprites: MovingSprites, corpora: Path) -> dict[str, Any]:
    """What real clips score, as they are and through the codec, and how much changes at a cut."""
    real = real_clips(prompts, SpriteMotion(corpora))
    white = real[torch.tensor([prompt.background == "white" for prompt in prompts])]
    return {
        "real": summary(outcomes(prompts, sprites.see(real))),
        "codec": summary(outcomes(prompts, sprites.see(through_codec(model, real)))),
        "cut": cut_change(white),
    }


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmark and write the page; returns the results."""
    packages.fetch(arguments.corpora, (*packages.PICTURES, *packages.ANIMATED))
    sprites, prompts = MovingSprites(arguments.corpora), read_prompts()
    model = load_model(arguments.model, torch.bfloat16 if arguments.bf16 else torch.float32)
    limits = ceilings(model, prompts, sprites, arguments.corpora)
    print(f"a perfect model would score {limits['real']}, through the codec {limits['codec']}", flush=True)
    options = with_steps(model.defaults, arguments.steps, arguments.guidance)
    began = time.process_time()
    seeds = [seed_of(prompt.id) for prompt in prompts]
    texts = model.encode([prompt.text for prompt in prompts])
    clips = model.decode(model.generate(texts, seeds, tuple(model.description.native_size), options))
    seconds = time.process_time() - began
    seen = sprites.see(clips)
    rows = outcomes(prompts, seen)
    languages = list(dict.fromkeys(prompt.language for prompt in prompts))
    results = {
        "model": arguments.model,
        "weights": model.description.weights_hash(),
        "options": asdict(options),
        "type": "bfloat16" if arguments.bf16 else "float32",
        "rate": RATE,
        "seconds_per_clip": round(seconds / len(prompts), 2),
        "thresholds": THRESHOLDS,
        **limits,
        "luck": luck(prompts, seen),
        "overall": summary(rows),
        "languages": {name: summary([row for row in rows if row.language == name]) for name in languages},
        "outcomes": [asdict(row) for row in rows],
    }
    longer = {}
    if arguments.extrapolate:
        results["extrapolation"], longer = extrapolations(model, sprites, prompts, options)
    path = write_results("video_following", results)
    if not arguments.no_page:
        write_page(results, clips, longer, ROOT / "docs", path)
    return results


def missed(results: dict[str, Any]) -> list[str]:
    """The thresholds that the results do not reach, in words."""
    overall, faults = results["overall"], []
    for name, wanted in THRESHOLDS.items():
        if overall[name] < wanted:
            faults.append(f"{name} {overall[name]:.1%}, wanted {wanted:.0%}")
    if overall["least_change"] <= 0:
        faults.append("two frames of a clip are equal")
    if overall["largest_median"] >= results["cut"]:
        faults.append(f"a clip changes by {overall['largest_median']} from frame to frame; a cut by {results['cut']}")
    return faults


def main() -> int:
    parser = following_parser(__doc__, "builtin/video")
    parser.add_argument("--bf16", action="store_true", help="run the generator in bfloat16")
    parser.add_argument("--extrapolate", action="store_true", help="also longer and larger clips, by every method")
    parser.add_argument("--no-page", action="store_true", help="write only the results, not docs/video.md")
    arguments = read(parser)
    results = measure(arguments)
    for name, row in {**results["languages"], "overall": results["overall"]}.items():
        print(f"{name:8s} direction {row['direction']:6.1%}  object {row['object']:6.1%}  both {row['both']:6.1%}")
    faults = missed(results)
    return verdict(faults, arguments.check)


if __name__ == "__main__":
    sys.exit(main())
