"""Which samples a step sees, and the generator of everything random in it, from the seed and the step number alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def batch_indices(seed: int, step: int, batch: int, size: int) -> Tensor:
    """Indices `[batch]` into a data set of `size`: epochs of fresh permutations, cut into batches."""
    first = step * batch
    wanted = np.arange(first, first + batch)
    found = np.empty(batch, dtype=np.int64)
    for epoch in range(first // size, (first + batch - 1) // size + 1):
        order = _permutation(seed, epoch, size)
        here = wanted // size == epoch
        found[here] = order[wanted[here] % size]
    return torch.from_numpy(found)


def step_generator(seed: int, step: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for one step; (seed, step) pairs that differ give streams that have nothing to do with each other."""
    mixed = np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0]
    return torch.Generator(device=device).manual_seed(int(mixed) & 0x7FFF_FFFF_FFFF_FFFF)


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(size)
