"""A tiny image model trained with every objective on the same budget: errors of its velocity, and what it draws.

    python benchmarks/objectives_on_images.py [--budget 600] [--objectives rectified-flow lcss ...]

Each objective goes through `parhelion train` on `workflows/train/image_tiny.yaml`, for as many steps as the budget of
network evaluations gives. The part `generators` of the score-matching results is written anew, with
docs/score_matching.md and docs/pictures/objectives.png.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from builtin_image import CORPORA, ROOT
from dated_parts import write_part
from image_samplers import sliced, tokens
from score_matching_page import write_page
from torch import Tensor

from modalities.catalog import OBJECTIVES
from modalities.contracts import Codec, Conditioning, GenerateOptions, Guidance
from modalities.generators.nextdit.generate import NextDiTGenerator
from modalities.training.command import train_from_yaml
from modalities.training.corpus import load_corpus
from modalities.training.sheets import save_sheet
from modalities.weights.description import describe
from modalities.weights.loading import load_codec, load_generator, load_text_encoder

FILE = ROOT / "workflows" / "train" / "image_tiny.yaml"
FOLDER = ROOT / ".training" / "objectives"
EVALUATIONS = {"sliced": 2, "finite-difference-sliced": 2, "lcss": 2, "rectified-flow-lcss": 3}
"""Of a step; the others have one. Sliced score matching evaluates once and differentiates twice."""
HELD, SHOWN, TIMES = 64, 12, 20


def train(name: str, budget: int) -> dict[str, Any]:
    """Train with one objective; steps and CPU seconds."""
    values = yaml.safe_load(FILE.read_text(encoding="utf-8")) | {"objective": name, "corpora": str(CORPORA)}
    values |= {"folder": str(FOLDER / name), "export": str(FOLDER / name / "export"), "pool": str(FOLDER / "pool")}
    values["codec"] = str(built_in_codec())
    path = FOLDER / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    steps = budget // EVALUATIONS.get(name, 1)
    began = time.process_time()
    train_from_yaml(path, {"device": "cpu", "threads": 1, "compile": False, "resume": False, "steps": steps})
    return {"steps": steps, "cpu_seconds": time.process_time() - began}


def built_in_codec() -> Path:
    """A folder with the codec of the built-in image model, as a training of codecs leaves it."""
    folder, found = FOLDER / "codec", dict(describe("builtin/image").codec)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(found.pop("file"), folder / "codec.safetensors")
    (folder / "codec.json").write_text(json.dumps(found), encoding="utf-8")
    return folder


def held_out() -> tuple[Tensor, Conditioning, Codec]:
    """Latents `[HELD, 4, 16, 16]` of scenes with another seed, their captions' conditionings, and the codec."""
    values = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    data = {key: value for key, value in values["data"].items() if key != "workers"}
    corpus = load_corpus("sprites", CORPORA, {**data, "scenes": HELD, "seed": 1042})
    built_in = describe("builtin/image")
    codec = load_codec(built_in, "cpu", torch.float32)
    text = load_text_encoder(built_in, "cpu", torch.float32)
    with torch.inference_mode():
        latents = codec.encode(corpus.media(0, HELD)).clone()
    return latents, Conditioning.stack([text.encode(corpus.captions(i)[:1]) for i in range(HELD)]), codec


def judge(name: str, held: Tensor, conditioning: Conditioning) -> tuple[dict[str, float], Tensor]:
    """Errors of the exported model's velocity at held-out latents, and latents that it draws of their captions."""
    generator = cast(NextDiTGenerator, load_generator(describe(str(FOLDER / name / "export")), "cpu", torch.float32))
    source, model = torch.Generator().manual_seed(77), generator.model
    noise = torch.randn(held.shape, generator=source)
    errors = []
    with torch.inference_mode():
        text, positions = model.prepare(conditioning.tokens, conditioning.mask), model.positions(held.shape[2:], "cpu")
        for number in range(TIMES):
            t = torch.full((len(held),), (number + 0.5) / TIMES)
            x = t.view(-1, 1, 1, 1) * held + (1 - t.view(-1, 1, 1, 1)) * noise
            errors.append(float((model(x, t, text, positions) - (held - noise)).square().mean()))
        options = GenerateOptions(sampler="midpoint", steps=20, schedule="uniform", guidance=Guidance(scale=1.0))
        drawn = generator.generate(conditioning, None, (64, 64), list(range(len(held))), options)
    fifth = TIMES // 5
    parts = {"near_noise": errors[:fifth], "middle": errors[fifth:-fifth], "near_data": errors[-fifth:]}
    found = {key: sum(part) / len(part) for key, part in parts.items()} | {"error": sum(errors) / len(errors)}
    return found | {"distance": sliced(tokens(drawn), tokens(held))}, drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=int, default=600, help="evaluations of the network on a batch")
    parser.add_argument("--objectives", nargs="+", choices=sorted(OBJECTIVES), default=list(OBJECTIVES))
    given = parser.parse_args()
    torch.set_num_threads(1)
    held, conditioning, codec = held_out()
    rows: dict[str, dict[str, float]] = {}
    pictures = []
    for name in given.objectives:
        trained = train(name, given.budget)
        errors, drawn = judge(name, held, conditioning)
        rows[name] = {**trained, **errors}
        with torch.inference_mode():
            pictures.append(codec.decode(drawn[:SHOWN]))
        print(name, {key: round(value, 4) for key, value in rows[name].items()}, flush=True)
    save_sheet(ROOT / "docs" / "pictures" / "objectives.png", torch.cat(pictures), SHOWN)
    values = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    part = {"rows": rows, "budget": given.budget, "batch": values["loop"]["batch"], "scenes": values["data"]["scenes"]}
    first = load_generator(describe(str(FOLDER / given.objectives[0] / "export")), "cpu", torch.float32)
    count = sum(parameter.numel() for parameter in cast(NextDiTGenerator, first).model.parameters())
    part |= {"drawn": HELD, "parameters": count}
    path = write_part("score_matching", "generators", part)
    write_page(json.loads(path.read_text(encoding="utf-8")), ROOT / "docs", path)


if __name__ == "__main__":
    main()
