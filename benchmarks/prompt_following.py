"""Does the built-in image model show what prompts say? 216 prompts, eight languages and emoji, none seen in training.

    python benchmarks/prompt_following.py [--model builtin/image] [--steps N] [--check]
    python benchmarks/prompt_following.py --model builtin/image-mar --wanted 0.5 --check
    python benchmarks/prompt_following.py --model builtin/image-digit --captions 320 --option top_p=0.8

For each prompt one picture is made from a seed that follows from the prompt's id, and the nearest training sprite is
looked up (`corpora/nearest_sprite.py`). The prompt is followed when that sprite is the prompted concept. The measure is
first tried on composed training scenes (what a perfect model would score, with and without the codec) and on pictures
compared with other prompts (what luck would score). Writes benchmarks/results/prompt_following-<date>.json (the name of
another model than builtin/image comes before the date), and docs/prompt_following.md with its pictures, or of another
model a sheet, docs/pictures/<name>.webp. `--check` makes the exit status 1 when a threshold is missed.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from builtin_image import ROOT, ImageModel, load_model, seed_of, with_steps, write_results
from following_command import following_parser, read, verdict
from following_page import write_page, write_sheet
from torch import Tensor

from modalities.training.corpora import packages
from modalities.training.corpora.compose import Scene, compose, draw_scene
from modalities.training.corpora.concepts import BACKGROUNDS, CONCEPTS, STYLES
from modalities.training.corpora.names import load_names
from modalities.training.corpora.nearest_sprite import Nearest, SpriteIndex
from modalities.training.corpora.scenes import load as load_scenes
from modalities.training.corpora.sprites import load_sprites

PROMPTS = ROOT / "benchmarks" / "prompts" / "following.csv"
HELD_SEED = 911
PAGE = "builtin/image"
"""The model that the page is about; of another there is a sheet of pictures."""
THRESHOLDS = {"concept": 0.70, "language": 0.50, "background": 0.80}


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt and what it asks for. background, style: None when the prompt does not say."""

    id: str
    language: str
    concept: str
    background: str | None
    count: int
    style: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the picture of one prompt shows. A hit is None where the prompt does not ask."""

    id: str
    language: str
    text: str
    asked: str
    shown: str
    asked_background: str | None
    shown_background: str
    asked_count: int
    shown_count: int
    shown_style: str
    distance: float
    margin: float
    concept_hit: bool
    background_hit: bool | None
    count_hit: bool
    style_hit: bool | None


def read_prompts(path: Path = PROMPTS) -> list[Prompt]:
    """The benchmark's prompts, in the order of the file."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Prompt(
                id=row["id"],
                language=row["language"],
                concept=row["concept"],
                background=row["background"] or None,
                count=int(row["count"]),
                style=row["style"] or None,
                text=row["text"],
            )
            for row in csv.DictReader(file)
        ]


def held_captions(number: int, corpora: Path) -> list[Prompt]:
    """Captions worded as in training, of scenes that no training has seen: what options are chosen on."""
    corpus, found = load_scenes(corpora, scenes=number, captions=1, free_captions=1, seed=HELD_SEED), []
    for i in range(number):
        scene, captions = draw_scene(HELD_SEED, i, len(corpus.sprites)), corpus.captions(i)
        found.append(
            Prompt(
                id=f"caption-{i}",
                language="captions",
                concept=CONCEPTS[scene.concept],
                background=None,
                count=scene.count,
                style=None,
                text=captions[i % len(captions)],
            )
        )
    return found


def outcomes(prompts: Sequence[Prompt], found: Nearest) -> list[Outcome]:
    """Compare what pictures show with what their prompts ask."""
    colours = list(BACKGROUNDS)
    rows = []
    for i, prompt in enumerate(prompts):
        shown, style = CONCEPTS[int(found.concept[i])], STYLES[int(found.style[i])]
        background, count = colours[int(found.colour[i])], int(found.count[i])
        rows.append(
            Outcome(
                id=prompt.id,
                language=prompt.language,
                text=prompt.text,
                asked=prompt.concept,
                shown=shown,
                asked_background=prompt.background,
                shown_background=background,
                asked_count=prompt.count,
                shown_count=count,
                shown_style=style,
                distance=round(float(found.distance[i]), 4),
                margin=round(float(found.margin[i]), 4),
                concept_hit=shown == prompt.concept,
                background_hit=None if prompt.background is None else background == prompt.background,
                count_hit=count == prompt.count,
                style_hit=None if prompt.style is None else style == prompt.style,
            )
        )
    return rows


def share(hits: Sequence[bool | None]) -> float | None:
    """The part of the asked things that were hit; None when nothing was asked."""
    asked = [hit for hit in hits if hit is not None]
    return round(sum(asked) / len(asked), 4) if asked else None


def summary(rows: Sequence[Outcome]) -> dict[str, Any]:
    """Shares of hits over a set of outcomes. several: count hits where two or three were asked."""
    return {
        "prompts": len(rows),
        "concept": share([row.concept_hit for row in rows]),
        "background": share([row.background_hit for row in rows]),
        "count": share([row.count_hit for row in rows]),
        "several": share([row.count_hit if row.asked_count > 1 else None for row in rows]),
        "style": share([row.style_hit for row in rows]),
        "all": share([row.concept_hit and row.count_hit and row.background_hit is not False for row in rows]),
    }


def ideal_pictures(prompts: Sequence[Prompt], sprites: np.ndarray[Any, Any]) -> Tensor:
    """What a perfect model would draw: training scenes composed as each prompt asks, `[N, 3, 64, 64]` in 0..1."""
    pictures = []
    for i, prompt in enumerate(prompts):
        scene = Scene(
            concept=CONCEPTS.index(prompt.concept),
            style=prompt.style or STYLES[i % len(STYLES)],
            background=prompt.background or "white",
            count=prompt.count,
        )
        pictures.append(compose(scene, sprites, seed=seed_of(prompt.id), index=i))
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def luck(prompts: Sequence[Prompt], found: Nearest) -> float:
    """The share of pictures that show the concept of another prompt, over all other prompts."""
    asked = torch.tensor([CONCEPTS.index(prompt.concept) for prompt in prompts])
    same = (asked[:, None] == found.concept[None, :]).float()
    return round(float((same.sum() - same.diagonal().sum()) / (len(prompts) * (len(prompts) - 1))), 4)


def through_codec(model: ImageModel, pictures: Tensor) -> Tensor:
    """Pictures in 0..1 encoded and decoded."""
    with torch.inference_mode():
        return model.decode(torch.cat([model.codec.encode(part * 2 - 1) for part in pictures.split(16)]))


def text_alone(model: ImageModel, prompts: Sequence[Prompt], corpora: Path) -> list[bool]:
    """Whether the text encoder by itself places each prompt nearest to the right thing.

    Compared by the cosine of pooled conditionings with "a <thing> on a <colour> background" for every thing and colour.
    Not a ceiling: a model trained on captions in a language may use what lies farther than the English words.
    """
    names = load_names(corpora).names["en"]
    captions = [f"a {name[0]} on a {colour} background" for name in names for colour in BACKGROUNDS]

    def pooled(texts: Sequence[str]) -> Tensor:
        parts = [part.tokens.mean(dim=1) for part in model.encode(texts)]
        return torch.nn.functional.normalize(torch.cat(parts).float(), dim=1)

    nearest = (pooled([prompt.text for prompt in prompts]) @ pooled(captions).T).argmax(dim=1)
    found = [CONCEPTS[int(i) // len(BACKGROUNDS)] for i in nearest]
    return [prompt.concept == concept for prompt, concept in zip(prompts, found, strict=True)]


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmark and write the page; returns the results."""
    packages.fetch(arguments.corpora)
    sprites = load_sprites(arguments.corpora)
    index = SpriteIndex(sprites)
    prompts = held_captions(arguments.captions, arguments.corpora) if arguments.captions else read_prompts()
    model = load_model(arguments.model, torch.bfloat16 if arguments.bf16 else torch.float32)
    ideal = ideal_pictures(prompts, sprites)
    composed = summary(outcomes(prompts, index.nearest(ideal)))
    coded = summary(outcomes(prompts, index.nearest(through_codec(model, ideal))))
    print(
        f"a perfect model would score {composed['concept']:.1%}, through the codec {coded['concept']:.1%}", flush=True
    )

    understood = text_alone(model, prompts, arguments.corpora)
    options = with_steps(model.defaults, arguments.steps, arguments.guidance)
    given = {name: float(value) for name, _, value in (each.partition("=") for each in arguments.option)}
    options = replace(options, sampler_options={**options.sampler_options, **given})
    began = time.process_time()
    size = tuple(model.description.native_size)
    seeds = [seed_of(prompt.id) for prompt in prompts]
    latents = model.generate(model.encode([prompt.text for prompt in prompts]), seeds, size, options)
    pictures = model.decode(latents)
    seconds = time.process_time() - began
    found = index.nearest(pictures)
    rows = outcomes(prompts, found)
    languages = list(dict.fromkeys(prompt.language for prompt in prompts))
    results = {
        "model": arguments.model,
        "weights": model.description.weights_hash(),
        "options": asdict(options),
        "type": "bfloat16" if arguments.bf16 else "float32",
        "seconds": round(seconds, 1),
        "seconds_a_sample": round(seconds / len(prompts), 3),
        "thresholds": thresholds(arguments.wanted),
        "overall": summary(rows),
        "languages": {name: summary([row for row in rows if row.language == name]) for name in languages},
        "text_alone": {
            name: share([hit for hit, prompt in zip(understood, prompts, strict=True) if prompt.language == name])
            for name in languages
        }
        | {"overall": share(understood)},
        "composed": composed,
        "codec": coded,
        "luck": luck(prompts, found),
        "outcomes": [asdict(row) for row in rows],
    }
    name = Path(arguments.model).name
    if arguments.captions:
        return results
    path = write_results("prompt_following" if arguments.model == PAGE else f"prompt_following-{name}", results)
    if arguments.no_page:
        return results
    if arguments.model == PAGE:
        write_page(results, pictures, sprites, ROOT / "docs", path)
    else:
        write_sheet(results, pictures, ROOT / "docs" / "pictures" / f"{name}.webp")
    return results


def thresholds(wanted: float | None) -> dict[str, float]:
    """What is asked of the built-in flow model; or, where a share of concepts is given, that alone."""
    return THRESHOLDS if wanted is None else {"concept": wanted, "language": 0.0, "background": 0.0}


def missed(results: dict[str, Any]) -> list[str]:
    """The thresholds that the results do not reach, in words."""
    overall, asked, faults = results["overall"], results.get("thresholds", THRESHOLDS), []
    if overall["concept"] < asked["concept"]:
        faults.append(f"concept {overall['concept']:.1%} overall, wanted {asked['concept']:.0%}")
    for name, row in results["languages"].items():
        if row["concept"] < asked["language"]:
            faults.append(f"concept {row['concept']:.1%} in {name}, wanted {asked['language']:.0%}")
    if overall["background"] is not None and overall["background"] < asked["background"]:
        faults.append(f"background {overall['background']:.1%}, wanted {asked['background']:.0%}")
    return faults


def main() -> int:
    parser = following_parser(__doc__, PAGE)
    parser.add_argument("--bf16", action="store_true", help="run the generator in bfloat16")
    parser.add_argument("--no-page", action="store_true", help="write only the results, no page and no sheet")
    parser.add_argument("--wanted", type=float, help="share of concepts to reach, instead of all thresholds")
    parser.add_argument("--option", nargs="*", default=[], help="of the sampler, such as top_p=0.8")
    parser.add_argument(
        "--captions", type=int, help="so many held-out captions in place of the prompts; writes nothing"
    )
    arguments = read(parser)
    results = measure(arguments)
    for name, row in {**results["languages"], "overall": results["overall"]}.items():
        background = "-" if row["background"] is None else f"{row['background']:.1%}"
        print(f"{name:8s} concept {row['concept']:6.1%}  background {background:>6s}  count {row['count']:6.1%}")
    print(f"{results['seconds_a_sample']} s of processor time a sample")
    faults = missed(results)
    return verdict(faults, arguments.check)


if __name__ == "__main__":
    sys.exit(main())
