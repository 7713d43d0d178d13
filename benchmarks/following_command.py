"""What the command lines of all prompt-following benchmarks have in common."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from builtin_image import CORPORA


def following_parser(description: str | None, model: str) -> argparse.ArgumentParser:
    """A parser for model (`model` unless named), corpora, steps, guidance, threads and --check."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=model, help="builtin/<name> or a model folder")
    parser.add_argument("--corpora", type=Path, default=CORPORA, help="folder of the packages; fetched if missing")
    parser.add_argument("--steps", type=int, help="sampler steps instead of the model's own")
    parser.add_argument("--guidance", type=float, help="guidance scale instead of the model's own")
    parser.add_argument("--threads", type=int, default=1, help="threads of arithmetic")
    parser.add_argument("--check", action="store_true", help="exit status 1 when a threshold is missed")
    return parser


def read(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments of this process, whose threads are set as they say."""
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    return arguments


def verdict(faults: Sequence[str], check: bool) -> int:
    """Say which thresholds were missed; the exit status."""
    print("\n".join(f"missed: {fault}" for fault in faults) or "every threshold is reached")
    return 1 if faults and check else 0
