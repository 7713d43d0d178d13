"""A Next-DiT in training: an objective on noised latents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from modalities import catalog
from modalities.contracts import Conditioning
from modalities.generators.nextdit.config import NextDiTConfig, token_grid
from modalities.generators.nextdit.generate import NextDiTGenerator
from modalities.generators.nextdit.model import NextDiT
from modalities.training.objectives import COUPLINGS, TIMES
from modalities.training.settings import GeneratorTraining

Objective = Callable[..., Tensor]
"""See `modalities.training.objectives`; one with `directions` takes more standard normal numbers by that name."""
OWN_OBJECTIVE = "rectified-flow"


class FlowFamily:
    """A Next-DiT, the objective that trains it, and how its times and noise are drawn.

    times: distribution of training times. coupling: how noise is paired with latents. directions: whether the
    objective takes them. compile: compile each block (the blocks share one compilation).
    """

    def __init__(
        self,
        config: NextDiTConfig,
        axes: tuple[int, ...],
        objective: Objective,
        *,
        directions: bool = False,
        times: str = "logit-normal",
        coupling: str = "none",
        seed: int = 0,
        compile: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        torch.manual_seed(seed)
        self.network = NextDiT(config).to(device)
        self.axes, self.device = axes, torch.device(device)
        self.objective, self.directions = objective, directions
        self.times, self.coupling = times, coupling
        self.positions = self.network.positions(axes, device)
        if compile:
            for block in self.network.blocks:
                block.compile()

    @property
    def module(self) -> NextDiT:
        """The network."""
        return self.network

    @property
    def config(self) -> dict[str, Any]:
        """Fields of `NextDiTConfig`."""
        return self.network.config.to_mapping()

    @property
    def facts(self) -> dict[str, Any]:
        """How times were drawn and noise was paired."""
        return {"times": self.times, "coupling": self.coupling}

    def loss(self, latents: Tensor, conditioning: Conditioning, source: torch.Generator, rows: slice) -> Tensor:
        """The objective; `source` gives times, noise, then directions."""
        shape = latents.shape
        times = TIMES[self.times](len(latents), source)[rows].to(self.device)
        noise = torch.randn(shape, generator=source)[rows]
        latents = latents[rows]
        noise = COUPLINGS[self.coupling](noise, latents, self.network.config.coordinates).to(self.device)
        more = {}
        if self.directions:
            more["directions"] = torch.randn(shape, generator=source)[rows].to(self.device)
        told = conditioning.rows(rows).to(self.device)

        def predict(x: Tensor, t: Tensor) -> Tensor:
            text = self.network.prepare(told.tokens, told.mask)
            velocity: Tensor = self.network(x, t, text, self.positions)
            return velocity

        if self.device.type != "cpu":
            return self.objective(predict, latents.to(self.device), times, noise, **more)
        # The CPU's fused attention is no faster at 63 to 96 tokens and slower beyond (docs/training.md).
        with sdpa_kernel(SDPBackend.MATH):
            return self.objective(predict, latents, times, noise, **more)

    @property
    def generator(self) -> NextDiTGenerator:
        """The network as it is now."""
        return NextDiTGenerator(self.network, [1] * len(self.axes))


def load(
    training: GeneratorTraining, latents: tuple[int, ...], width: int, device: torch.device, compiled: bool
) -> FlowFamily:
    """The Next-DiT of a training file and its objective; see `modalities.training.family`."""
    objective, directions = objective_of(training.objective or OWN_OBJECTIVE, device, compiled)
    return FlowFamily(
        model_config(training, latents, width),
        latents[1:],
        objective,
        directions=directions,
        times=training.times,
        coupling=training.coupling,
        seed=training.seed,
        compile=compiled,
        device=device,
    )


def model_config(training: GeneratorTraining, latents: tuple[int, ...], width: int) -> NextDiTConfig:
    """The model's configuration; what the file leaves out follows from the latents `[C, *axes]` and the text's width.

    ValueError when the file says otherwise than the latents are.
    """
    channels, axes = latents[0], latents[1:]
    patch = tuple(int(n) for n in training.model.get("patch", training.kind.generator["patch"]))
    try:
        tokens = token_grid(axes, patch)
        known = {"in_channels": channels, "trained_tokens": tokens, "patch": patch, "learn_sigma": False}
        known = {**training.kind.generator, **known}
        config = NextDiTConfig.from_mapping({**known, "cap_feat_dim": width, **training.model})
    except (TypeError, ValueError) as error:
        raise ValueError(f"model: {error}") from None
    if config.in_channels != channels or config.trained_tokens != tokens:
        raise ValueError(
            f"model: in_channels {config.in_channels} and trained_tokens {list(config.trained_tokens)} do not fit "
            f"latents of {channels} channels and {list(axes)} cells; expected {channels} and {list(tokens)}"
        )
    return config


def objective_of(name: str, device: torch.device, compiled: bool) -> tuple[Objective, bool]:
    """The function behind a name, and whether it takes directions; ValueError when it cannot train this network."""
    try:
        found = cast(Objective, catalog.resolve("objective", name))
    except KeyError as error:
        raise ValueError(error.args[0]) from None
    entry = catalog.OBJECTIVES.get(name)
    facts = entry.facts if entry else {}
    if facts.get("twice") and (compiled or device.type != "cpu"):
        what = "a compiled network" if compiled else f"the fused attention of {device.type}"
        others = [other for other, entry in catalog.OBJECTIVES.items() if not entry.facts.get("twice")]
        raise ValueError(
            f"objective `{name}` differentiates the network twice, which {what} cannot; train on the CPU without "
            f"compile, or choose {', '.join(others)}"
        )
    return found, bool(facts.get("directions"))
