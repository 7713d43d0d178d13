"""Seconds per step of our Next-DiT against diffusers' LuminaPipeline: same weights, text, noise, steps and guidance.

Both make latents from prepared text features, from the call to the result: the pipeline with `output_type="latent"`,
ours with the pipeline's own choices (time grid, guidance on three channels, scaling). The two take turns, and the
fastest turn of each counts, so that other work on the machine disturbs both alike. The outputs must agree within 1e-4.

    python benchmarks/next_dit_vs_diffusers.py [--threads 1] [--steps 6] [--repeats 7] [--clock wall] [--device cpu]

`--clock cpu` counts the processor time of this process instead of the clock on the wall: on a CPU with one thread the
two are equal when the machine is idle, and on a busy machine it leaves out the time that others had the core.

Writes benchmarks/results/next_dit_vs_diffusers-<date>-<device>.{json,md}. Exit status 1 when outputs differ, when any
configuration is slower than diffusers, or when the 4 M configuration is less than 1.5 times faster.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import platform
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from modalities.contracts import Conditioning, Extrapolation, GenerateOptions, Guidance
from modalities.generators.nextdit import cost
from modalities.generators.nextdit.generate import NextDiTGenerator
from modalities.generators.nextdit.layouts import config_from_shapes
from modalities.generators.nextdit.model import NextDiT
from modalities.generators.nextdit.weights import to_original

RESULTS = Path(__file__).parent / "results"
TEXT_TOKENS, REAL_TOKENS, TEXT_WIDTH = 16, 13, 704
GOAL, GOAL_NAME, TOLERANCE = 1.5, "4M", 1e-4
CONFIGURATIONS: dict[str, dict[str, int]] = {
    "0.2M": {"hidden_size": 64, "num_layers": 2, "num_attention_heads": 4, "num_kv_heads": 2},
    "4M": {"hidden_size": 192, "num_layers": 6, "num_attention_heads": 6, "num_kv_heads": 2},
    "10M": {"hidden_size": 256, "num_layers": 8, "num_attention_heads": 8, "num_kv_heads": 4},
    "41M": {"hidden_size": 512, "num_layers": 8, "num_attention_heads": 8, "num_kv_heads": 8},
}


def reference(values: dict[str, int], latents: int, device: str, dtype: torch.dtype) -> Any:
    """A LuminaPipeline around a transformer whose every parameter is random; the copies of its queries agree."""
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, LuminaNextDiT2DModel, LuminaPipeline

    transformer = LuminaNextDiT2DModel(
        sample_size=latents, in_channels=4, multiple_of=64, cross_attention_dim=TEXT_WIDTH, **values
    ).eval()
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in transformer.named_parameters():
            spread = parameter.shape[-1] ** -0.5 if parameter.ndim == 2 else 0.1
            parameter.copy_(spread * torch.randn(parameter.shape, generator=source))
            if "norm" in name and name.endswith("weight") and parameter.ndim == 1:
                parameter.add_(1)
        for layer in transformer.layers:
            layer.attn2.to_q.load_state_dict(layer.attn1.to_q.state_dict())
            layer.attn2.norm_q.load_state_dict(layer.attn1.norm_q.state_dict())
    pipeline = LuminaPipeline(
        transformer=transformer.to(device, dtype),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=AutoencoderKL(),
        text_encoder=None,
        tokenizer=None,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def same_weights(transformer: Any) -> NextDiTGenerator:
    """Our generator with the weights of a diffusers transformer."""
    tensors = transformer.state_dict()
    trained = (transformer.config.sample_size // 2,) * 2
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    config = config_from_shapes(shapes, {"trained_tokens": trained, "multiple_of": 64})
    with torch.device("meta"):
        model = NextDiT(config)
    model.load_state_dict(to_original(tensors, "diffusers"), assign=True)
    return NextDiTGenerator(model.eval(), (8, 8))


def contestants(
    values: dict[str, int], latents: int, steps: int, device: str, dtype: torch.dtype
) -> tuple[Callable[[], torch.Tensor], Callable[[], torch.Tensor], int]:
    """Two functions that make the same latents, diffusers' first, and the number of our parameters."""
    pipeline = reference(values, latents, device, dtype)
    generator = same_weights(pipeline.transformer)
    source = torch.Generator().manual_seed(1)
    tokens = torch.randn(2, TEXT_TOKENS, TEXT_WIDTH, generator=source).to(device, dtype)
    mask = torch.arange(TEXT_TOKENS, device=device) < torch.tensor([[REAL_TOKENS], [1]], device=device)
    noise = torch.randn(1, 4, latents, latents, generator=torch.Generator().manual_seed(3))
    size = (8 * latents, 8 * latents)
    options = GenerateOptions(
        sampler="euler",
        steps=steps,
        schedule="diffusers-flow-match",
        guidance=Guidance(scale=4.0, channels=3),
        extrapolation=Extrapolation(
            method="watershed", watershed=1.0, scale="area-always", proportional_attention=True
        ),
    )

    def theirs() -> torch.Tensor:
        return pipeline(
            prompt_embeds=tokens[:1],
            prompt_attention_mask=mask[:1].long(),
            negative_prompt_embeds=tokens[1:],
            negative_prompt_attention_mask=mask[1:].long(),
            height=size[0],
            width=size[1],
            num_inference_steps=steps,
            guidance_scale=4.0,
            latents=noise.to(device, dtype),
            output_type="latent",
        ).images

    positive = Conditioning(tokens=tokens[:1], mask=mask[:1])
    negative = Conditioning(tokens=tokens[1:], mask=mask[1:])

    def ours() -> torch.Tensor:
        return generator.generate(positive, negative, size, [3], options)

    return theirs, ours, cost.parameters(generator.config.to_mapping())


def fastest(functions: list[Callable[[], torch.Tensor]], repeats: int, device: str, clock: str) -> list[float]:
    """Seconds of the fastest of `repeats` turns of each function, taken alternately after one warm-up."""
    now = time.perf_counter if clock == "wall" else time.process_time
    best = [float("inf")] * len(functions)
    for turn in range(repeats + 1):
        for i, function in enumerate(functions):
            start = now()
            function()
            if device == "cuda":
                torch.cuda.synchronize()
            if turn:
                best[i] = min(best[i], now() - start)
    return best


def hardware(device: str) -> str:
    """The machine in words."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    cpu = f"{model}, {torch.get_num_threads()} thread(s), {torch.backends.cpu.get_cpu_capability()}"
    return f"{torch.cuda.get_device_name()} ({cpu})" if device == "cuda" else cpu


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each configuration and size."""
    dtype = getattr(torch, arguments.dtype)
    rows = []
    for name in arguments.configurations:
        for latents in arguments.latents:
            theirs, ours, parameters = contestants(
                CONFIGURATIONS[name], latents, arguments.steps, arguments.device, dtype
            )
            difference = (theirs().float() - ours().float()).abs().max().item()
            their_seconds, our_seconds = fastest([theirs, ours], arguments.repeats, arguments.device, arguments.clock)
            row = {
                "configuration": name,
                "parameters": parameters,
                "latents": latents,
                "diffusers_seconds_per_step": their_seconds / arguments.steps,
                "parhelion_seconds_per_step": our_seconds / arguments.steps,
                "ratio": their_seconds / our_seconds,
                "largest_difference": difference,
            }
            rows.append(row)
            print(markdown_row(row), flush=True)
    return rows


HEADER = """| configuration | parameters | latents | diffusers ms/step | parhelion ms/step | faster | differ by |
| --- | --- | --- | --- | --- | --- | --- |"""


def markdown_row(row: dict[str, Any]) -> str:
    """One line of the table."""
    cells = [
        row["configuration"],
        f"{row['parameters']:,}",
        f"{row['latents']} x {row['latents']}",
        f"{1000 * row['diffusers_seconds_per_step']:.1f}",
        f"{1000 * row['parhelion_seconds_per_step']:.1f}",
        f"{row['ratio']:.2f}x",
        f"{row['largest_difference']:.1e}",
    ]
    return f"| {' | '.join(cells)} |"


def write(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    """The dated result, as JSON and as a table."""
    versions = {name: importlib.metadata.version(name) for name in ("torch", "diffusers")}
    facts = {
        "date": datetime.date.today().isoformat(),
        "hardware": hardware(arguments.device),
        "versions": versions,
        "dtype": arguments.dtype,
        "steps": arguments.steps,
        "repeats": arguments.repeats,
        "clock": arguments.clock,
    }
    RESULTS.mkdir(exist_ok=True)
    stem = RESULTS / f"next_dit_vs_diffusers-{facts['date']}-{arguments.device}"
    stem.with_suffix(".json").write_text(json.dumps({**facts, "rows": rows}, indent=1) + "\n")
    lines = [
        "# Next-DiT against diffusers' LuminaPipeline",
        "",
        f"{facts['date']}, {facts['hardware']}, {arguments.dtype}; torch {versions['torch']}, diffusers "
        f"{versions['diffusers']}. One prompt with guidance, {TEXT_TOKENS} text tokens, {arguments.steps} Euler steps, "
        f"fastest of {arguments.repeats} alternating turns, {arguments.clock} clock, from text features to latents.",
        "",
        HEADER,
        *map(markdown_row, rows),
        "",
        f"Made by `python benchmarks/next_dit_vs_diffusers.py {' '.join(sys.argv[1:])}`.".replace(" `.", "`."),
    ]
    stem.with_suffix(".md").write_text("\n".join(lines) + "\n")


def faults(rows: list[dict[str, Any]], dtype: str) -> list[str]:
    """What falls short of the goals in the module's docstring. Rounding in a narrow type is not a fault."""
    found = []
    for row in rows:
        name = f"{row['configuration']} at {row['latents']}"
        if dtype == "float32" and row["largest_difference"] > TOLERANCE:
            found.append(f"{name}: outputs differ by {row['largest_difference']:.1e}")
        goal = GOAL if row["configuration"] == GOAL_NAME else 1.0
        if row["ratio"] < goal:
            found.append(f"{name}: {row['ratio']:.2f} times as fast, wanted {goal}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--latents", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--configurations", nargs="+", choices=tuple(CONFIGURATIONS), default=list(CONFIGURATIONS))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    print(HEADER)
    rows = measure(arguments)
    write(rows, arguments)
    found = faults(rows, arguments.dtype)
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
