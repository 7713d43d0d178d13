"""Which noise is paired with which data before the straight path between them is trained on.

A set has no order: a network that is equivariant under permutations is asked the same whatever noise point leads to
whatever data point of one sample. Pairing each data point with a near noise point (optimal transport within the sample)
leaves both marginals as they were and makes the paths short and nearly straight.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CELL = 64
"""Points among which the assignment is exact: its cost grows with the cube of their number."""


def pair_points(noise: Tensor, latents: Tensor, coordinates: int) -> Tensor:
    """Permute each sample's noise points so that each lies near the data point that it is paired with.

    Equivariant optimal transport flow matching: Klein, Krämer, Noé, arXiv 2306.15030, section 4; Song et al., arXiv
    2312.07168, section 4.2. As in Hui et al., arXiv 2502.12456, the assignment is approximate: both sets are halved at
    their medians, axis after axis, down to cells of at most 64 points, and solved exactly within a cell. At 256 points
    that costs a sixth of the exact solution's time and the paths are 6 % longer in the mean square.

    noise, latents: `[B, C, N]`; distances are taken over the first `coordinates` channels. Returns noise `[B, C, N]`,
    the same points in another order; the rule knows nothing of the other channels, so these stay independent noise.
    ValueError when the shapes disagree or are no sets.
    """
    if noise.shape != latents.shape or noise.ndim != 3:
        raise ValueError(f"noise {list(noise.shape)} and latents {list(latents.shape)} should both be [B, C, N]")
    if not 1 <= coordinates <= noise.shape[1]:
        raise ValueError(f"coordinates is {coordinates}; expected 1 to {noise.shape[1]}, the channels there are")
    from scipy.optimize import linear_sum_assignment

    sources = noise[:, :coordinates].transpose(1, 2).double().cpu().numpy()
    targets = latents[:, :coordinates].transpose(1, 2).double().cpu().numpy()
    source_cells, target_cells = _cells(sources), _cells(targets)
    order = np.empty(sources.shape[:2], dtype=np.int64)
    for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
        for a, b in zip(source_cells[row], target_cells[row], strict=True):
            # Of |s - t|^2 only the product depends on the pairing.
            order[row, b] = a[linear_sum_assignment(-target[b] @ source[a].T)[1]]
    return noise.gather(2, torch.from_numpy(order).to(noise.device)[:, None].expand_as(noise))


def _cells(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Halve sets `[B, N, axes]` at medians while whole cells stay above CELL: indices `[B, cells, N / cells]`."""
    batch, count, axes = points.shape
    cells = np.tile(np.arange(count), (batch, 1, 1))
    level = 0
    while cells.shape[2] > CELL and cells.shape[2] % 2 == 0:
        keys = np.take_along_axis(points[:, :, level % axes], cells.reshape(batch, count), axis=1).reshape(cells.shape)
        cells = np.take_along_axis(cells, np.argsort(keys, axis=2, kind="stable"), axis=2)
        cells = cells.reshape(batch, 2 * cells.shape[1], -1)
        level += 1
    return cells
