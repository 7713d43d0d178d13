"""Averaged weights: what is sampled from and exported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from modalities.training.ranks import own_part


class Average:
    """An exponential moving average of parameters (buffers are not averaged); cut over ranks as they are."""

    def __init__(self, module: nn.Module) -> None:
        self.values = {name: value.detach().clone() for name, value in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int, decay: float) -> None:
        """Move towards the module's parameters; the decay grows to its value as (step + 1) / (step + 10)."""
        weight = 1 - min(decay, (step + 1) / (step + 10))
        towards = [own_part(parameter.detach()) for parameter in module.parameters()]
        torch._foreach_lerp_([own_part(value) for value in self.values.values()], towards, weight)


@contextmanager
def replaced(module: nn.Module, values: Mapping[str, Tensor]) -> Iterator[None]:
    """The module with other parameters inside, cut as its own; its own again after."""
    own = {name: value.detach().clone() for name, value in module.named_parameters()}
    _write(module, values)
    try:
        yield
    finally:
        _write(module, own)


@torch.no_grad()
def _write(module: nn.Module, values: Mapping[str, Tensor]) -> None:
    for name, parameter in module.named_parameters():
        own_part(parameter.detach()).copy_(own_part(values[name]))
