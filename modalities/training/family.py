"""What training asks of a family of generators. The catalog names the function that makes one (fact `training`).

That function is `load(training, latents, width, device, compiled) -> TrainedFamily`: the training file, the shape
`[C, *axes]` of one sample's latents as a step sees them, the width of the text encoder's tokens, the device, and
whether to compile. It draws the network's first weights after `torch.manual_seed(training.seed)`, and raises ValueError
for settings that do not fit.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from modalities.catalog import GENERATORS, outside_entries
from modalities.contracts import Conditioning, Generator
from modalities.training.settings import GeneratorTraining


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Prompts to be sampled: their conditionings, that of the empty prompt, and the seed of the first of them."""

    conditioning: Conditioning
    negative: Conditioning
    seed: int = 5


class TrainedFamily(Protocol):
    """A generator as training sees it: its network, the loss of a batch, and what makes samples."""

    @property
    def module(self) -> nn.Module:
        """The network, on its device."""
        ...

    @property
    def config(self) -> dict[str, Any]:
        """Its configuration as `model.json` holds it."""
        ...

    @property
    def facts(self) -> dict[str, Any]:
        """What `model.json` says of this family's training beside what it says of every training."""
        ...

    def loss(self, latents: Tensor, conditioning: Conditioning, source: torch.Generator, rows: slice) -> Tensor:
        """Scalar loss of some rows of latents `[B, C, *axes]` (float32) and their conditionings, all on the CPU.

        Everything random is drawn from `source`, a generator on the CPU, for the whole batch and then cut, so that a
        loss follows from seed and step, and the mean over equal parts of a batch is the loss of the batch.
        """
        ...

    @property
    def generator(self) -> Generator:
        """The network as it is now, for sample sheets and measures; its sizes are in latent cells."""
        ...


Load = Callable[[GeneratorTraining, tuple[int, ...], int, torch.device, bool], TrainedFamily]


def load_family(
    training: GeneratorTraining, latents: tuple[int, ...], width: int, device: torch.device, compiled: bool
) -> TrainedFamily:
    """The family of a training file, its network new; arguments as described above."""
    entries = GENERATORS | outside_entries("generator")
    module, _, attribute = str(entries[training.family].facts["training"]).partition(":")
    load = cast(Load, getattr(importlib.import_module(module), attribute))
    return load(training, latents, width, device, compiled)
