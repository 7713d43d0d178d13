"""Self-supervised learning of patch features: two views of a picture, and VICReg on their matching patches.

Bardes, Ponce and LeCun 2022, VICReg (arXiv 2105.04906), equations 1 to 6, on pairs of patches that show the same place
(VICRegL, arXiv 2210.01571, section 3.1), with patches of one view masked as in iBOT (arXiv 2111.07832, section 3.1).
Variance and covariance are taken around the mean of each place, so that a patch's position alone earns nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewOptions:
    """How the two views of a picture differ; each is drawn for each picture and view.

    shift: largest displacement in pixels. scale: largest change of size, as a part. light: largest change of brightness
    and of contrast, as a part. blur: part of the views that are blurred. masked: part of the patches of the second
    view that the encoder does not see.
    """

    shift: float = 1.5
    scale: float = 0.05
    light: float = 0.15
    blur: float = 0.3
    masked: float = 0.3


def view(media: Tensor, options: ViewOptions, generator: torch.Generator) -> Tensor:
    """One view of media `[B, 3, H, W]` in -1..1: moved, scaled, lit otherwise and, some of them, blurred."""
    count, side = len(media), media.shape[-1]

    def drawn(*shape: int) -> Tensor:
        return 2 * torch.rand((count, *shape), generator=generator) - 1

    transform = torch.zeros(count, 2, 3)
    transform[:, 0, 0] = transform[:, 1, 1] = 1 + options.scale * drawn()
    transform[:, :, 2] = 2 * options.shift / side * drawn(2)
    grid = F.affine_grid(transform.to(media.device), list(media.shape), align_corners=False)
    moved = F.grid_sample(media, grid, padding_mode="border", align_corners=False)
    bright, contrast = (1 + options.light * drawn(1, 1, 1).to(media.device) for _ in range(2))
    lit = (((moved + 1) * bright - 1) * contrast).clamp(-1, 1)
    kernel = torch.tensor([0.25, 0.5, 0.25], device=media.device)
    weight = (kernel[:, None] * kernel)[None, None].expand(media.shape[1], 1, 3, 3)
    soft = F.conv2d(F.pad(lit, (1, 1, 1, 1), mode="replicate"), weight, groups=media.shape[1])
    blurred = torch.rand((count, 1, 1, 1), generator=generator).to(media.device) < options.blur
    return torch.where(blurred, soft, lit)


def random_patches(count: int, patches: int, part: float, generator: torch.Generator) -> Tensor:
    """`[count, patches]` bool, True for round(part * patches) random patches of each row."""
    order = torch.rand((count, patches), generator=generator).argsort(dim=1).argsort(dim=1)
    return order < round(part * patches)


def vicreg(
    first: Tensor, second: Tensor, agree: float = 25.0, spread: float = 25.0, decorrelate: float = 1.0
) -> Tensor:
    """VICReg's loss of embeddings `[B, N, D]` of two views whose patches match one to one.

    agree * mean |z - z'|^2 + spread * [v(Z) + v(Z')] + decorrelate * [c(Z) + c(Z')] (equation 6), with
    v = mean_j max(0, 1 - sqrt(Var_j + 1e-4)) (1, 2) and c = sum_{i != j} Cov_ij^2 / D (3, 4).
    """
    total = agree * F.mse_loss(first, second)
    for z in (first, second):
        centred = (z - z.mean(dim=0)).flatten(0, 1)
        covariance = centred.T @ centred / (z.shape[1] * (z.shape[0] - 1))
        variance = covariance.diagonal()
        total = total + spread * F.relu(1 - (variance + 1e-4).sqrt()).mean()
        total = total + decorrelate * (covariance.square().sum() - variance.square().sum()) / z.shape[-1]
    return total
