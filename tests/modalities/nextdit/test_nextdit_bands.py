"""Channels cut into bands that are a last token axis: a spectrogram as time by frequency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from modalities.contracts import Conditioning, Extrapolation, GenerateOptions
from modalities.generators.nextdit import cost
from modalities.generators.nextdit.config import NextDiTConfig
from modalities.generators.nextdit.extrapolation import METHODS, PositionsAt
from modalities.generators.nextdit.generate import NextDiTGenerator
from modalities.generators.nextdit.inference import turns, velocity
from modalities.generators.nextdit.layouts import expected_shapes
from modalities.generators.nextdit.model import NextDiT, TextState
from modalities.generators.nextdit.tokens import from_tokens, pack, to_tokens, unpack

MakeModel = Callable[..., NextDiT]
BANDS = {"patch": (3,), "in_channels": 8, "bands": 4, "trained_tokens": (5,)}
CONFIG = NextDiTConfig.from_mapping({"dim": 48, "heads": 4, "kv_heads": 2, "learn_sigma": False, **BANDS})
OPTIONS = GenerateOptions(sampler="euler", steps=2)


@pytest.fixture(scope="module")
def model(make_model: MakeModel) -> NextDiT:
    return make_model(1, **BANDS)


def turned(tokens: torch.Tensor) -> torch.Tensor:
    """Input features (channel, *patch) of two channels a band to output features (*patch, channel)."""
    return tokens.reshape(*tokens.shape[:2], 2, -1).transpose(2, 3).flatten(2)


def test_tokens_are_bands_within_frames_and_come_back():
    x = torch.arange(2 * 8 * 6).reshape(2, 8, 6)
    tokens = to_tokens(x, CONFIG)
    assert tokens.shape == (2, 2 * 4, 2 * 3)
    assert tokens[0, 1].tolist() == [*x[0, 2, :3].tolist(), *x[0, 3, :3].tolist()]
    assert torch.equal(from_tokens(turned(tokens), (2, 4), CONFIG), x)


def test_packing_drops_pads_and_bands_come_back():
    xs = [torch.randn(8, 6), torch.randn(8, 3), torch.randn(8, 12)]
    packed = pack(xs, CONFIG)
    assert packed.mask.sum(1).tolist() == [8, 4, 16]
    back = unpack(turned(packed.tokens), packed.grids, CONFIG)
    assert all(torch.equal(a, b) for a, b in zip(back, xs, strict=True))


def test_one_band_is_the_model_without_bands(make_model: MakeModel):
    plain = {name: value for name, value in BANDS.items() if name != "bands"}
    assert expected_shapes(make_model(1, **plain).config) == expected_shapes(make_model(1, **plain, bands=1).config)
    assert replace(CONFIG, bands=1).grid((6,)) == (2,)
    assert CONFIG.grid((6,)) == (2, 4)


def test_the_shapes_are_known_and_bands_have_their_own_rotary_axis(model: NextDiT, conditioning: Conditioning):
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert shapes == expected_shapes(model.config)
    x, t = torch.randn(3, 8, 6), torch.full((3,), 0.4)
    text = model.prepare(conditioning.tokens, conditioning.mask)
    with torch.no_grad():
        base = model(x, t, text, model.positions((6,)))
        turned_round = x.unflatten(1, (4, 2)).flip(1).flatten(1, 2)
        other = model(turned_round, t, text, model.positions((6,))).unflatten(1, (4, 2)).flip(1).flatten(1, 2)
    assert base.shape == x.shape
    assert (other - base).abs().max() > 1e-2


@pytest.mark.parametrize("drop", [0.0, 0.7])
def test_the_fast_path_equals_the_plain_one(model: NextDiT, conditioning: Conditioning, drop: float):
    x, t = torch.randn(3, 8, 30), torch.tensor([0.1, 0.5, 0.9])
    text = model.prepare(conditioning.tokens, conditioning.mask)
    options = Extrapolation(method="time-aware", proportional_attention=True, context_drop=drop)
    positions, turn = PositionsAt(model.config, model.config.grid((30,)), options, "cpu")(0.1)
    assert (positions.pool is not None) == (drop > 0)
    with torch.no_grad():
        slow = model(x, t, text, positions)
        torch.testing.assert_close(velocity(model, x, t, text, positions, turn), slow, atol=1e-5, rtol=1e-5)
    assert slow.std() > 0.1


def test_a_ragged_batch_equals_its_samples_one_by_one(model: NextDiT, conditioning: Conditioning):
    xs, t = [torch.randn(8, n) for n in (6, 12, 3)], torch.tensor([0.1, 0.5, 0.9])
    text = model.prepare(conditioning.tokens, conditioning.mask)
    with torch.no_grad():
        together = model.forward_ragged(xs, t, text, [model.rope(x.shape[1:]) for x in xs])
        for i, x in enumerate(xs):
            own = TextState.select(text, torch.tensor([i]))
            positions = model.positions(x.shape[1:])
            fast = velocity(model, x[None], t[i : i + 1], own, positions, turns(positions, 4, 2))[0]
            torch.testing.assert_close(together[i], fast, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_only_time_is_extrapolated(model: NextDiT, conditioning: Conditioning, method: str):
    scaled = Extrapolation(method=method, proportional_attention=True, context_drop=0.6)
    positions, _ = PositionsAt(model.config, (10, 4), scaled, "cpu")(0.5)
    trained, query = model.positions((30,)).query, positions.query
    assert trained is not None
    assert query is not None
    torch.testing.assert_close(query.cos[..., 1::2], trained.cos[..., 1::2])
    assert torch.equal(query.cos[..., 0::2], trained.cos[..., 0::2]) == (method == "none")
    assert positions.pool == ((10, 4), (1, 1)) or positions.pool is None or positions.pool[1][1] == 1
    options = replace(OPTIONS, extrapolation=scaled)
    out = NextDiTGenerator(model, (256,)).generate(conditioning, None, (256 * 30,), [1, 2, 3], options)
    assert out.shape == (3, 8, 30)
    assert out.isfinite().all()


def test_costs_count_what_a_profiler_counts(make_model: MakeModel):
    model = make_model(1, **BANDS, learn_sigma=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        text = model.prepare(torch.randn(1, 7, 24))
        with FlopCounterMode(display=False) as counter:
            model(torch.randn(1, 8, 12), torch.tensor([0.5]), text, model.positions((12,)))
    config = model.config.to_mapping()
    assert cost.tokens(config, (12,)) == 16
    assert cost.flops(config, 16, 7) == counter.get_total_flops()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bands": 3}, "in_channels 8 is not divisible by bands 3"),
        ({"bands": 0}, "bands is 0"),
        ({"patch": (1, 1, 1), "trained_tokens": (2, 2, 2)}, "fourth axis"),
        ({"unordered": True, "patch": (1,)}, "1 band"),
    ],
)
def test_impossible_bands_are_refused(values: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        NextDiTConfig.from_mapping(BANDS | values)
