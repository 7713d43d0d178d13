"""Discriminative tokens of pictures: patch features of a self-supervised vision transformer, then the nearest cluster.

Zhu et al. 2024 (DiGIT, arXiv 2410.12490), section 3: the token of a patch is argmin_k |f - c_k|^2 over the centres of
k-means. The network is transformers' DINOv2 with registers; its features are those of a block before the last, normed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

AT_ONCE = 64
"""Pictures that go through the network at once, so that memory does not grow with the batch."""


def encoder_network(config: Mapping[str, Any]) -> nn.Module:
    """transformers' `Dinov2WithRegistersModel` with new weights; config holds the fields of its configuration.

    ValueError for a field that does not exist, or for values that cannot be built.
    """
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    known = Dinov2WithRegistersConfig().to_dict()
    unknown = sorted(set(config) - set(known))
    if unknown:
        raise ValueError(f"tokenizer: unknown {', '.join(unknown)}; see transformers' Dinov2WithRegistersConfig")
    network: nn.Module = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**config))
    return network


class SemanticTokenizer(nn.Module):
    """Pictures to ids of clusters, `[B, rows, columns]`.

    config: of the network. clusters: K. layer: the block whose features are taken, counted from the end; the paper
    takes the third. Blocks near the end know the whole picture, those near the beginning what is in a patch.
    whitened: 0 compares features as they are, as the paper does. Otherwise the mean of each place is taken away first,
    which a position embedding puts there, and so many principal components are scaled to unit variance (`whiten`).
    centroids: `[K, D]`, the centres of the clusters in the space of the features.
    """

    centroids: Tensor
    means: Tensor
    whitening: Tensor

    def __init__(self, config: Mapping[str, Any], clusters: int, layer: int = 1, whitened: int = 0) -> None:
        super().__init__()
        self.encoder: Any = encoder_network(config)
        settings: Any = self.encoder.config
        if not 1 <= layer <= settings.num_hidden_layers:
            raise ValueError(f"layer is {layer}; the tokenizer has {settings.num_hidden_layers}, counted from the end")
        self.blocks = settings.num_hidden_layers - layer + 1
        self.patch, self.width = int(settings.patch_size), int(settings.hidden_size)
        self.leading = 1 + int(settings.num_register_tokens)
        if not 0 <= whitened <= self.width:
            raise ValueError(f"whitened is {whitened}; the tokenizer's features have {self.width} components")
        self.whitened = whitened
        if whitened:
            side = int(settings.image_size) // self.patch
            self.register_buffer("means", torch.zeros(side, side, self.width))
            self.register_buffer("whitening", torch.zeros(self.width, whitened))
        self.register_buffer("centroids", torch.zeros(clusters, whitened or self.width))

    def features(self, media: Tensor) -> Tensor:
        """What centres are compared with, `[B, rows, columns, D]`, of media `[B, 3, H, W]` in -1..1.

        ValueError unless patches fit, or for whitened features of another size than the trained one.
        """
        return self.projected(self.patch_features(media))

    def projected(self, found: Tensor) -> Tensor:
        """Patch features `[B, rows, columns, width]` as centres are compared with them."""
        if not self.whitened:
            return found
        if found.shape[1:] != self.means.shape:
            rows, columns = self.means.shape[:2]
            raise ValueError(f"this tokenizer's features are whitened for {rows} x {columns} patches")
        return (found - self.means) @ self.whitening

    @torch.no_grad()
    def whiten(self, found: Tensor) -> None:
        """Set means and whitening from patch features `[N, rows, columns, width]` (PCA whitening).

        ValueError when they vary in fewer directions than are to be kept.
        """
        if not self.whitened:
            return
        means = found.mean(dim=0)
        flat = (found - means).flatten(0, 2).double()
        values, vectors = torch.linalg.eigh(flat.T @ flat / len(flat))
        kept = values[-self.whitened :]
        if float(kept[0]) <= 1e-9 * float(kept[-1]):
            raise ValueError(f"features of these pictures vary in fewer than the {self.whitened} directions to keep")
        self.means.copy_(means)
        self.whitening.copy_(vectors[:, -self.whitened :] / kept.sqrt())

    def patch_features(self, media: Tensor) -> Tensor:
        """The network's features `[B, rows, columns, width]` of media `[B, 3, H, W]`; ValueError unless patches fit."""
        if media.ndim != 4 or media.shape[1] != 3 or any(n % self.patch for n in media.shape[2:]):
            wanted = f"[B, 3, H, W] with H and W divisible by {self.patch}"
            raise ValueError(f"the tokenizer takes {wanted}, not {list(media.shape)}")
        rows, columns = (n // self.patch for n in media.shape[2:])
        parts = [self._features(part) for part in torch.split(media, AT_ONCE)]
        found = torch.cat(parts)
        return found.view(len(media), rows, columns, self.width)

    def _features(self, media: Tensor) -> Tensor:
        hidden = self.encoder.embeddings(media)
        for block in self.encoder.encoder.layer[: self.blocks]:
            hidden = block(hidden)
        found: Tensor = self.encoder.layernorm(hidden)[:, self.leading :]
        return found

    def tokens(self, media: Tensor) -> Tensor:
        """Ids `[B, rows, columns]` of the nearest centres."""
        return nearest(self.features(media.to(self.centroids.dtype)), self.centroids)


def nearest(vectors: Tensor, centres: Tensor) -> Tensor:
    """Indices `[...]` of the nearest of `centres` `[K, D]` to vectors `[..., D]`: argmin of |c|^2 - 2 v c."""
    flat = vectors.reshape(-1, centres.shape[1])
    norms = centres.square().sum(dim=1)
    found = [torch.addmm(norms, part, centres.T, alpha=-2).argmin(dim=1) for part in torch.split(flat, 8192)]
    return torch.cat(found).view(vectors.shape[:-1])
