"""Small Next-DiTs whose every parameter is random: with the zero gates of a fresh one, tests would prove nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from modalities.contracts import Conditioning
from modalities.generators.nextdit.config import NextDiTConfig
from modalities.generators.nextdit.model import NextDiT

PATCHES = {1: (2,), 2: (2, 2), 3: (1, 2, 2)}


def randomised(model: NextDiT, seed: int = 0) -> NextDiT:
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=source))
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1)
    return model.eval()


@pytest.fixture(scope="session")
def make_model() -> Callable[..., NextDiT]:
    def make(axes: int = 2, seed: int = 0, **changes: object) -> NextDiT:
        values: dict[str, object] = {
            "patch": PATCHES[axes],
            "dim": 48,
            "layers": 2,
            "heads": 4,
            "kv_heads": 2,
            "multiple_of": 16,
            "cap_feat_dim": 24,
            "trained_tokens": (4,) * axes,
        }
        return randomised(NextDiT(NextDiTConfig.from_mapping(values | changes)), seed)

    return make


@pytest.fixture
def conditioning() -> Conditioning:
    tokens = torch.randn(3, 7, 24, generator=torch.Generator().manual_seed(5))
    mask = torch.arange(7) < torch.tensor([7, 3, 1])[:, None]
    return Conditioning(tokens=tokens * mask[..., None], mask=mask)
