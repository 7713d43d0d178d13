"""A MAR in training."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from modalities.contracts import Conditioning
from modalities.generators.mar.config import MARConfig
from modalities.generators.mar.generate import MARGenerator
from modalities.generators.mar.loss import loss, sketch_loss
from modalities.generators.mar.model import MAR
from modalities.training.settings import GeneratorTraining

PARTS = ("all", "sketch")


class MARFamily:
    """A MAR and its loss.

    part: all of it, or `sketch`, which alone is trained a hundred times as fast: by regression of tokens on prompts.
    compile: compile the blocks of encoder, decoder and head (alike ones share a compilation).
    """

    def __init__(
        self,
        config: MARConfig,
        *,
        part: str = "all",
        seed: int = 0,
        compile: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self.part = part
        torch.manual_seed(seed)
        self.network = MAR(config).to(device).train()
        self.device = torch.device(device)
        if compile:
            for block in self.network.blocks:
                block.compile(dynamic=True)

    @property
    def module(self) -> MAR:
        """The network."""
        return self.network

    @property
    def config(self) -> dict[str, Any]:
        """Fields of `MARConfig`."""
        return self.network.config.to_mapping()

    @property
    def facts(self) -> dict[str, Any]:
        """Which part was trained; how, the configuration says."""
        return {"part": self.part}

    def loss(self, latents: Tensor, conditioning: Conditioning, source: torch.Generator, rows: slice) -> Tensor:
        """See `modalities.generators.mar.loss`."""
        if self.part == "sketch":
            return sketch_loss(self.network, latents.to(self.device), conditioning.to(self.device))
        # As for a Next-DiT, the CPU's fused attention is slower than one that is written out.
        with sdpa_kernel(SDPBackend.MATH) if self.device.type == "cpu" else nullcontext():
            return loss(self.network, latents.to(self.device), conditioning.to(self.device), source, rows)

    @property
    def generator(self) -> MARGenerator:
        """The network as it is now."""
        return MARGenerator(self.network, (1, 1))


def load(
    training: GeneratorTraining, latents: tuple[int, ...], width: int, device: torch.device, compiled: bool
) -> MARFamily:
    """The MAR of a training file, conditioned on text; see `modalities.training.family`.

    What the file leaves out follows from the latents `[C, h, w]` and the text's width; ValueError where it says
    otherwise than they are.
    """
    channels, axes = latents[0], latents[1:]
    patch = tuple(int(n) for n in training.model.get("patch", (1, 1)))
    if len(axes) != 2 or len(patch) != 2 or any(n % p for n, p in zip(axes, patch, strict=True)):
        raise ValueError(
            f"model: a MAR has two axes that its patch divides; got {list(axes)} cells, patch {list(patch)}"
        )
    known = {"in_channels": channels, "trained_tokens": tuple(n // p for n, p in zip(axes, patch, strict=True))}
    config = MARConfig.from_mapping({**known, "classes": 0, "cap_feat_dim": width, **training.model})
    if config.in_channels != channels or config.cells != axes or config.cap_feat_dim != width:
        raise ValueError(
            f"model: in_channels {config.in_channels}, trained_tokens {list(config.trained_tokens)} and cap_feat_dim "
            f"{config.cap_feat_dim} do not fit latents of {channels} channels and {list(axes)} cells and text of width "
            f"{width}; leave them out"
        )
    part = str(training.loss.get("part", "all"))
    if part not in PARTS or set(training.loss) - {"part"}:
        raise ValueError(f"loss: {training.loss} should hold nothing but `part`, one of {', '.join(PARTS)}")
    return MARFamily(config, part=part, seed=training.seed, compile=compiled, device=device)
