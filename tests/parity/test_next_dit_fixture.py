"""The numbers of the public reference code (Lumina-Next, float32, CPU) on synthetic weights; see the data's file."""

from __future__ import annotations

import json
from math import log, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modalities.contracts import Extrapolation, Guidance
from modalities.flow.guidance import VelocityPair, guide
from modalities.flow.samplers import euler
from modalities.flow.schedules import shifted
from modalities.generators.nextdit.config import NextDiTConfig
from modalities.generators.nextdit.extrapolation import METHODS, Spectrum
from modalities.generators.nextdit.inference import turns, velocity
from modalities.generators.nextdit.layers import Positions
from modalities.generators.nextdit.model import NextDiT, TextState, time_features
from modalities.generators.nextdit.rope import grid_positions, rope_table

FIXTURE: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "next_dit_fixture.json").read_text())
CONFIG = NextDiTConfig(dim=64, layers=2, heads=4, kv_heads=2, multiple_of=32, cap_feat_dim=32, trained_tokens=(4, 4))
GRID = (6, 10)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.tensor(np.random.RandomState(seed).standard_normal(shape), dtype=torch.float32)


@pytest.fixture(scope="module")
def model() -> NextDiT:
    model = NextDiT(CONFIG)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert len(shapes) == 61
    state = {}
    for k, name in enumerate(sorted(shapes)):
        values = np.random.RandomState(1000 + k).standard_normal(shapes[name]) * 0.1
        state[name] = torch.tensor(values + ("norm" in name and name.endswith("weight")), dtype=torch.float32)
    model.load_state_dict(state)
    assert sum(tensor.numel() for tensor in state.values()) == 166_952
    return model.eval()


@pytest.fixture(scope="module")
def text(model: NextDiT) -> TextState:
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[1, 3:] = False
    return model.prepare(normal(2, 2, 9, 32), mask)


def positions(scale: float, t: float, watershed: float = 0.3, *, proportional: bool) -> Positions:
    spectrum = Spectrum(head_dim=16, theta=10000.0, trained=(4, 4))
    frequencies = METHODS["watershed"](spectrum, (scale, scale), t, Extrapolation(watershed=watershed))
    rope = rope_table(frequencies, grid_positions(GRID))
    return Positions(query=rope, key=rope, attention_factor=sqrt(log(60, 16)) if proportional else 1.0)


def check(probe: str, found: torch.Tensor, tolerance: float = 1e-4) -> None:
    wanted = FIXTURE[probe]
    assert list(found.shape) == wanted["shape"]
    assert found.mean().item() == pytest.approx(wanted["mean"], abs=tolerance)
    assert found.std().item() == pytest.approx(wanted["std"], abs=tolerance)
    assert found.abs().max().item() == pytest.approx(wanted["abs_max"], abs=tolerance)
    assert found.flatten()[:6].tolist() == pytest.approx(wanted["first6"], abs=tolerance)
    assert found.flatten()[-6:].tolist() == pytest.approx(wanted["last6"], abs=tolerance)


@pytest.mark.parametrize(("probe", "scale", "proportional"), [("fwd_plain", 1.0, False), ("fwd_ntk", 1.5, True)])
@pytest.mark.parametrize("fast", [False, True])
@torch.no_grad()
def test_forward(model: NextDiT, text: TextState, probe: str, scale: float, proportional: bool, fast: bool):
    where, x, t = positions(scale, 0.37, proportional=proportional), normal(1, 2, 4, 12, 20), torch.full((2,), 0.37)
    out = velocity(model, x, t, text, where, turns(where, 4, 2)) if fast else model(x, t, text, where)
    check(probe, out)


@pytest.mark.parametrize(("probe", "scale"), [("fwd_plain", 1.0), ("fwd_ntk", 1.5)])
def test_rotary_table(probe: str, scale: float):
    rope = positions(scale, 0.37, proportional=False).query
    token = 2 * GRID[1] + 3
    pairs = torch.stack([rope.cos[0, token], rope.sin[0, token]], dim=-1).flatten()
    assert pairs.tolist() == pytest.approx(FIXTURE[probe]["rope_row2_col3_cos_sin_pairs"], abs=1e-6)


def test_time_sinusoid():
    found = time_features(torch.tensor([0.37]))[0, [0, 1, 2, 127, 128, 129, 255]]
    assert found.tolist() == pytest.approx(FIXTURE["sinus_t0.37_[0,1,2,127,128,129,255]"], abs=1e-6)


def guided(model: NextDiT, text: TextState, *, scale: float, proportional: bool, fast: bool) -> Any:
    def under(rows: torch.Tensor) -> Any:
        state = TextState.select(text, rows)

        def evaluate(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            where = positions(scale, float(t), proportional=proportional)
            times = t.float().expand(x.shape[0])
            if fast:
                return velocity(model, x, times, state, where, turns(where, 4, 2))
            return model(x, times, state, where)

        return evaluate

    pair = VelocityPair(positive=under(torch.tensor([0])), both=under(torch.tensor([0, 1])))
    return guide(pair, Guidance(scale=4.0, channels=3))


@pytest.mark.parametrize("fast", [False, True])
@torch.no_grad()
def test_guidance_on_three_channels(model: NextDiT, text: TextState, fast: bool):
    out = guided(model, text, scale=1.0, proportional=False, fast=fast)(
        normal(1, 2, 4, 12, 20)[:1], torch.tensor(0.37, dtype=torch.float64)
    )
    check("cfg4_first_half", out)
    check("cfg4_ch3_of_first_half_equals_cond", out[:, 3:])


@pytest.mark.parametrize("fast", [False, True])
@torch.no_grad()
def test_a_whole_trajectory(model: NextDiT, text: TextState, fast: bool):
    flow = guided(model, text, scale=1.5, proportional=True, fast=fast)
    out = euler(flow, normal(1, 2, 4, 12, 20)[:1], shifted(5, shift=4.0))
    check("ode_euler_6pts_shift4_cfg4_sf1.5_ws0.3_prop16", out, 1e-3)
