"""K-means, by scikit-learn: the clusters of DiGIT's tokenizer and the codebook of a quantised codec."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

BATCH = 8192
PASSES = 8
PER_CLUSTER = 128
"""Samples for each cluster that are looked at, at most."""


def fit_clusters(samples: Tensor, number: int, seed: int) -> Tensor:
    """Centres `[number, D]` of samples `[N, D]`: mini-batch k-means (Sculley 2010) from a k-means++ start.

    The same samples, number and seed give the same centres. ValueError for fewer samples than clusters, or for samples
    of which fewer than `number` are different.
    """
    from sklearn.cluster import MiniBatchKMeans

    if samples.ndim != 2:
        raise ValueError(f"samples should be [N, D], not {list(samples.shape)}")
    if number < 1 or len(samples) < number:
        raise ValueError(f"{len(samples)} samples cannot make {number} clusters; give at least one for each")
    rng = np.random.default_rng(seed)
    some = np.sort(rng.permutation(len(samples))[: number * PER_CLUSTER])
    values = samples[torch.from_numpy(some)].float().numpy()
    means = MiniBatchKMeans(
        number,
        batch_size=min(BATCH, len(values)),
        max_iter=PASSES,
        n_init=1,
        random_state=seed,
        max_no_improvement=None,
    ).fit(values)
    return torch.from_numpy(np.asarray(means.cluster_centers_, dtype=np.float32))
