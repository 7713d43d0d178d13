"""Does the built-in multi-view model show what prompts ask for, the same thing from all sides, the sides in order?

    python benchmarks/multi_view_following.py [--model builtin/multi-view] [--steps N] [--extrapolate] [--check]

80 prompts in ten languages, none of them a training caption. For each, one turn of 8 views is made from a seed that
follows from the prompt's id, and compared with every object of the corpus in every colour (`nearest_views.py`): the
noun and the colour are right when the nearest has them. Single views are compared on their own too, and the turn with
the nearest object turned by one to seven views. The measure is first tried on objects of the corpus, with and without
the codec (what a perfect model would score), and on turns compared with other prompts (luck). `--extrapolate` also
makes twice the views and four times the pixels by every method. Writes docs/multi_view.md with its pictures and
benchmarks/results/multi_view_following-<date>.json. `--check` makes the exit status 1 when a threshold is missed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from builtin_image import ROOT, ImageModel, load_model, seed_of, with_steps, write_results
from following_command import following_parser, read, verdict
from multi_view_page import write_page
from nearest_views import Seen, ViewIndex, references
from other_sizes import latents_of, ways
from point_cloud_following import Prompt, mean, read_prompts
from torch import Tensor

from modalities.contracts import GenerateOptions
from modalities.training.corpora.shapes import Shape
from modalities.training.corpora.turntable_views import VIEWS, TurntableViews, load

THRESHOLDS = {"noun": 0.60, "colour": 0.75}
EXTRAPOLATED = 8
"""Prompts that are made with more views and pixels: the first whose noun is right."""


def real_turns(prompts: Sequence[Prompt], corpus: TurntableViews) -> Tensor:
    """What a perfect model would make, `[N, 3, 8, 64, 64]` in 0..1: objects of the corpus as each prompt asks."""
    turns = []
    for number, prompt in enumerate(prompts):
        models = corpus.shapes.models.get(prompt.noun, [None])
        shape = Shape(prompt.noun, models[number % len(models)], prompt.colour, None)
        turns.append(corpus.views(shape, np.random.default_rng((99, number))))
    return torch.from_numpy(np.stack(turns)).permute(0, 4, 1, 2, 3) / 2 + 0.5


def through_codec(model: ImageModel, turns: Tensor) -> Tensor:
    """Turns in 0..1 encoded and decoded."""
    with torch.inference_mode():
        return torch.cat([model.decode(model.codec.encode(part * 2 - 1)) for part in turns.split(8)])


def outcomes(prompts: Sequence[Prompt], seen: Seen) -> list[dict[str, Any]]:
    """Compare what turns show with what their prompts ask. sides: the part of the views that show it on their own."""
    return [
        {
            **asdict(prompt),
            "found": seen.noun[i],
            "found_colour": seen.colour[i],
            "noun_hit": seen.noun[i] == prompt.noun,
            "colour_hit": None if prompt.colour is None else seen.colour[i] == prompt.colour,
            "sides": round(sum(noun == prompt.noun for noun in seen.sides[i]) / VIEWS, 4),
            "turned": seen.turned[i],
            "distance": round(seen.distance[i], 5),
        }
        for i, prompt in enumerate(prompts)
    ]


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Shares of hits. in_order: of the objects with distinct sides, those that fit best as they are."""
    told = [row["turned"] == 0 for row in rows if row["turned"] is not None]
    return {
        "prompts": len(rows),
        "noun": mean([row["noun_hit"] for row in rows]),
        "colour": mean([row["colour_hit"] for row in rows if row["colour_hit"] is not None]),
        "both": mean([row["noun_hit"] and row["colour_hit"] is not False for row in rows]),
        "sides": mean([row["sides"] for row in rows]),
        "in_order": mean(told),
        "distinct": len(told),
    }


def luck(prompts: Sequence[Prompt], seen: Seen) -> dict[str, float]:
    """The score of the turns against the prompts of the others."""
    pairs = [(i, other) for i in range(len(prompts)) for j, other in enumerate(prompts) if i != j]
    coloured = [(i, other) for i, other in pairs if other.colour and prompts[i].colour]
    return {
        "noun": mean([seen.noun[i] == other.noun for i, other in pairs]),
        "colour": mean([seen.colour[i] == other.colour for i, other in coloured]),
    }


def extrapolations(
    model: ImageModel, index: ViewIndex, prompts: Sequence[Prompt], options: GenerateOptions
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Scores by size and method, and the turns by `size method`.

    With twice the views, a turn in steps half as wide and two turns in steps as wide as trained are told apart: every
    second view is compared with the corpus, and the first half is.
    """
    views, height, width = model.description.native_size
    native = latents_of(model, prompts, (views, height, width), options)
    results: dict[str, Any] = {"prompts": [prompt.id for prompt in prompts]}
    made: dict[str, Tensor] = {}
    for name, size in (("more", (2 * views, height, width)), ("larger", (views, 2 * height, 2 * width))):
        results[name] = {}
        for way, settings in ways(options).items():
            started = time.process_time()
            turns = model.decode(latents_of(model, prompts, size, settings, native))
            seconds = (time.process_time() - started) / len(prompts)
            row = {**_more(turns, prompts, index), "seconds": round(seconds, 2)}
            results[name][way] = row
            made[f"{name} {way}"] = turns
            print(name, way, row, flush=True)
    made["native"] = model.decode(native)
    return results, made


def _more(turns: Tensor, prompts: Sequence[Prompt], index: ViewIndex) -> dict[str, float]:
    found: dict[str, float] = {}
    halves = {"": turns} if turns.shape[2] == VIEWS else {"finer_": turns[:, :, ::2], "twice_": turns[:, :, :VIEWS]}
    for name, part in halves.items():
        row = summary(outcomes(prompts, index.see(part)))
        found |= {f"{name}{key}": row[key] for key in ("noun", "colour", "in_order")}
        found[f"{name}distance"] = round(float(np.mean(index.see(part).distance)), 5)
    step = (turns[:, :, 1:] - turns[:, :, :-1]).abs().mean()
    return {**found, "step": round(float(step) * 255, 2)}


def main() -> int:
    """Measure, write the results and the page, and say whether the thresholds hold."""
    parser = following_parser(__doc__, "builtin/multi-view")
    parser.add_argument("--extrapolate", action="store_true", help="also more views and larger ones, by every method")
    parser.add_argument("--no-page", action="store_true", help="write only the results, not docs/multi_view.md")
    arguments = read(parser)
    model, corpus, prompts = load_model(arguments.model, torch.float32), load(arguments.corpora), read_prompts()
    options = with_steps(model.defaults, arguments.steps, arguments.guidance)
    index = ViewIndex.of(corpus, list(references(corpus)), seed=7)
    started = time.process_time()
    texts, seeds = model.encode([prompt.text for prompt in prompts]), [seed_of(prompt.id) for prompt in prompts]
    turns = model.decode(model.generate(texts, seeds, tuple(model.description.native_size), options))
    seconds = (time.process_time() - started) / len(prompts)
    real, seen = real_turns(prompts, corpus), index.see(turns)
    rows = outcomes(prompts, seen)
    languages = sorted({prompt.language for prompt in prompts})
    results: dict[str, Any] = {
        "model": arguments.model,
        "weights": model.description.weights_hash(),
        "options": asdict(options),
        "seconds_per_turn": round(seconds, 2),
        "references": len(index.shapes),
        "thresholds": THRESHOLDS,
        "real": summary(outcomes(prompts, index.see(real))),
        "codec": summary(outcomes(prompts, index.see(through_codec(model, real)))),
        "luck": luck(prompts, seen),
        "overall": summary(rows),
        "languages": {name: summary([row for row in rows if row["language"] == name]) for name in languages},
        "outcomes": rows,
    }
    print({key: results[key] for key in ("overall", "real", "codec", "luck", "seconds_per_turn")}, flush=True)
    made: dict[str, Tensor] = {}
    if arguments.extrapolate:
        right = [prompt for prompt, row in zip(prompts, rows, strict=True) if row["noun_hit"]][:EXTRAPOLATED]
        results["extrapolation"], made = extrapolations(model, index, right, options)
    path = write_results("multi_view_following", results)
    if not arguments.no_page:
        write_page(results, turns, made, ROOT / "docs", path)
    overall = results["overall"]
    missed = [f"{k}: {overall[k]:.1%}, wanted {least:.0%}" for k, least in THRESHOLDS.items() if overall[k] < least]
    return verdict(missed, arguments.check)


if __name__ == "__main__":
    sys.exit(main())
