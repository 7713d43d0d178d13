"""What int8 storage of the weights changes: matrices, and pictures made from equal noise.

    python benchmarks/weight_storage.py [--model builtin/image] [--prompts 8] [--threads 1]

The reference are the weights as they are shipped (float16 for builtin/image), computed in float32; beside them the same
weights after `modalities.weights.storage` wrote them as int8 and read them back. Each picture is made twice from one
seed, by the midpoint sampler in 10 steps with the model's guidance; PSNR is 10 log10(1 / mean squared difference) of
pictures in 0..1, before they are rounded to bytes.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace

import torch
from builtin_image import ROOT, ImageModel, load_model, seed_of, with_steps, write_results
from torch import Tensor, nn

from modalities.weights.storage import restored, stored

PROMPTS = ROOT / "benchmarks" / "prompts" / "following.csv"
STEPS = 10


def pictures(model: ImageModel, prompts: list[dict[str, str]]) -> Tensor:
    """Pictures `[N, 3, H, W]` in 0..1 of the prompts, each from the seed of its id."""
    options = with_steps(replace(model.defaults, sampler="midpoint", sampler_options={}), STEPS, None)
    seeds = [seed_of(row["id"]) for row in prompts]
    size = model.description.native_size
    return model.decode(model.generate(model.encode([row["text"] for row in prompts]), seeds, size, options))


def change_storage(network: nn.Module) -> float:
    """Put every weight of a network through int8; answers the change of its matrices, rms over rms."""
    before = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    after = {name: tensor.float() for name, tensor in restored(stored(before, "int8"), "int8").items()}
    network.load_state_dict(after)
    matrices = [name for name, tensor in before.items() if tensor.ndim > 1]
    changed = sum(float((after[name] - before[name]).square().sum()) for name in matrices)
    whole = sum(float(before[name].square().sum()) for name in matrices)
    return float((changed / whole) ** 0.5)


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="builtin/image")
    parser.add_argument("--prompts", type=int, default=8, help="so many, spread over benchmarks/prompts/following.csv")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with PROMPTS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = rows[:: max(1, len(rows) // arguments.prompts)][: arguments.prompts]
    model = load_model(arguments.model, torch.float32)
    network = getattr(model.generator, "model", None)
    if not isinstance(network, nn.Module):
        raise SystemExit(f"{arguments.model}: its generator has no network to store")
    reference = pictures(model, chosen)
    matrices = change_storage(network)
    error = (pictures(model, chosen) - reference).square().flatten(1).mean(dim=1)
    ratios = (-10 * error.log10()).tolist()
    results = {
        "model": arguments.model,
        "storage": "int8",
        "sampler": "midpoint",
        "steps": STEPS,
        "guidance": model.defaults.guidance.scale,
        "matrices_rms": round(matrices, 5),
        "psnr": {row["id"]: round(ratio, 2) for row, ratio in zip(chosen, ratios, strict=True)},
        "psnr_mean": round(sum(ratios) / len(ratios), 2),
        "psnr_worst": round(min(ratios), 2),
    }
    print({key: results[key] for key in ("matrices_rms", "psnr_mean", "psnr_worst")})
    print(f"wrote {write_results('weight_storage', results)}")


if __name__ == "__main__":
    main()
