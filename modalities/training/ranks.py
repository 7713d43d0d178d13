"""The processes that train one model together: how they share batches, gradients, clocks and weights.

Every rank has the task and draws the whole batch of a step; its loss is that of its rows. So what a step sees follows
from (seed, step) however many ranks there are, and only the order of summation differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """This process's place among those that train together; alone unless said otherwise.

    rank: 0 to count - 1. is_sharded: parameters, gradients, moments and averages are cut over the ranks between steps
    and parameters gathered for a step (`fully_shard`); otherwise every rank has all of them, and gradients are averaged
    (DistributedDataParallel). With several ranks, or sharded, torch's process group must be there.
    """

    rank: int = 0
    count: int = 1
    is_sharded: bool = False

    @property
    def is_first(self) -> bool:
        """Whether this rank writes files and draws sheets."""
        return self.rank == 0

    def rows(self, batch: int, accumulate: int) -> list[slice]:
        """The rows of the batch that this rank computes, one slice for each of its micro-batches."""
        check_cut(batch, self.count, accumulate)
        size = batch // (self.count * accumulate)
        first = self.rank * accumulate
        return [slice(i * size, (i + 1) * size) for i in range(first, first + accumulate)]

    def spread(self, loss: nn.Module, device: torch.device) -> nn.Module:
        """A module whose output is a loss, made to average gradients over the ranks when it is differentiated."""
        if self.is_sharded:
            fully_shard(loss, mesh=init_device_mesh(device.type, (self.count,)))
            return loss
        if self.count > 1:
            return DistributedDataParallel(loss, find_unused_parameters=True)
        return loss

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over the ranks."""
        if self.count == 1:
            return value
        total = value.clone()
        distributed.all_reduce(total)
        return total / self.count

    def agreed(self, value: float) -> float:
        """The first rank's number, on every rank; the others wait for it."""
        if self.count == 1:
            return value
        found = torch.tensor([value], dtype=torch.float64)
        distributed.broadcast(found, 0)
        return float(found)


def check_cut(batch: int, workers: int, accumulate: int) -> None:
    """ValueError unless a batch can be cut into equal micro-batches, `accumulate` for each worker."""
    parts = workers * accumulate
    if batch % parts:
        near = sorted({max(1, batch // parts) * parts, (batch // parts + 1) * parts})
        raise ValueError(
            f"batch {batch} cannot be cut into {workers} workers x {accumulate} micro-batches of one size; "
            f"near it can {' and '.join(map(str, near))}"
        )


@contextmanager
def apart(loss: nn.Module, *, is_last: bool) -> Iterator[None]:
    """For a micro-batch: gradients of data-parallel ranks are averaged after the last one only."""
    if isinstance(loss, DistributedDataParallel) and not is_last:
        with loss.no_sync():
            yield
    else:
        yield


@contextmanager
def gathered(loss: nn.Module) -> Iterator[None]:
    """All parameters of a sharded module on every rank; others are there already. Entered and left by all ranks."""
    if not isinstance(loss, FSDPModule):
        yield
        return
    loss.unshard()
    try:
        yield
    finally:
        loss.reshard()


def weights(module: nn.Module) -> dict[str, Tensor]:
    """As `module.state_dict()`, but FSDP's hooks on that would cut gathered parameters up again."""
    found: dict[str, Tensor] = {}
    for name, part in module.named_modules():
        prefix = f"{name}." if name else ""
        named = [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]
        kept = [(key, value) for key, value in named if key not in part._non_persistent_buffers_set]
        found |= {prefix + key: value.detach() for key, value in kept}
    return found


def own_part(value: Tensor) -> Tensor:
    """This rank's part of a tensor; a tensor that is not sharded is whole. Shares its memory."""
    return value.to_local() if isinstance(value, DTensor) else value


def whole(value: Tensor) -> Tensor:
    """A tensor from its parts on all ranks, which all have to ask."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def cut_like(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, which every rank has, on the device of `like` and cut as it is."""
    moved = value.to(like.device)
    if not isinstance(like, DTensor):
        return moved
    return distribute_tensor(moved, like.device_mesh, like.placements, src_data_rank=None)
