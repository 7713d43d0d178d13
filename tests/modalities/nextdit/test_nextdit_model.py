from __future__ import annotations

from collections.abc import Callable
from math import prod, sqrt

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from modalities.contracts import Conditioning, Extrapolation
from modalities.generators.nextdit import cost
from modalities.generators.nextdit.config import SIZES, NextDiTConfig
from modalities.generators.nextdit.extrapolation import PositionsAt, attention_factor
from modalities.generators.nextdit.inference import turns, velocity
from modalities.generators.nextdit.layers import Positions
from modalities.generators.nextdit.layouts import expected_shapes
from modalities.generators.nextdit.model import NextDiT, TextState, masked_mean

MakeModel = Callable[..., NextDiT]
LATENTS = {1: (10,), 2: (6, 10), 3: (3, 4, 6)}


def call(model: NextDiT, x: torch.Tensor, t: torch.Tensor, conditioning: Conditioning) -> torch.Tensor:
    return model(x, t, model.prepare(conditioning.tokens, conditioning.mask), model.positions(x.shape[2:]))


@pytest.mark.parametrize("size", ["2B-GQA", "2B", "builtin", "tiny"])
def test_shapes_and_parameters_are_known_without_building_the_model(size: str):
    with torch.device("meta"):
        state = NextDiT(SIZES[size]).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == expected_shapes(SIZES[size])
    assert cost.parameters(SIZES[size].to_mapping()) == sum(tensor.numel() for tensor in state.values())


def test_the_released_model_has_1_627_386_400_parameters():
    with torch.device("meta"):
        model = NextDiT(SIZES["2B-GQA"])
    assert sum(p.numel() for p in model.parameters()) == 1_627_386_400
    assert SIZES["2B-GQA"].ffn_dim == 6144


def test_a_fresh_model_puts_out_zero_and_has_a_gradient():
    torch.manual_seed(0)
    model = NextDiT(SIZES["tiny"])
    assert all(bool(p.isfinite().all()) for p in model.parameters())
    conditioning = Conditioning(tokens=torch.randn(2, 3, 32), mask=torch.ones(2, 3, dtype=torch.bool))
    out = call(model, torch.randn(2, 4, 8, 8), torch.tensor([0.2, 0.9]), conditioning)
    assert out.abs().max() == 0
    (out - 1).square().mean().backward()
    assert model.final_layer.linear.weight.grad is not None
    assert model.final_layer.linear.weight.grad.abs().max() > 0


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("learn_sigma", [True, False])
def test_the_fast_path_equals_the_plain_one(
    make_model: MakeModel, conditioning: Conditioning, axes: int, learn_sigma: bool
):
    model = make_model(axes, learn_sigma=learn_sigma)
    config = model.config
    x, t = torch.randn(3, 4, *LATENTS[axes]), torch.tensor([0.1, 0.5, 0.9])
    text = model.prepare(conditioning.tokens, conditioning.mask)
    plain = model.positions(x.shape[2:])
    grid = tuple(n // p for n, p in zip(LATENTS[axes], config.patch, strict=True))
    dropped = PositionsAt(config, grid, Extrapolation(method="time-aware", context_drop=0.8), "cpu")(0.1)[0]
    assert dropped.pool is not None
    for positions in (plain, plain._replace(attention_factor=1.2), dropped):
        with torch.no_grad():
            slow = model(x, t, text, positions)
            fast = velocity(model, x, t, text, positions, turns(positions, config.heads, config.kv_heads))
        torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-5)
        assert slow.std() > 0.1


def test_the_fast_path_keeps_to_bfloat16(make_model: MakeModel, conditioning: Conditioning):
    model = make_model().bfloat16()
    x, t = torch.randn(3, 4, 6, 10).bfloat16(), torch.full((3,), 0.4)
    text = model.prepare(conditioning.tokens.bfloat16(), conditioning.mask)
    positions = model.positions((6, 10))
    with torch.no_grad():
        slow = model(x, t, text, positions)
        fast = velocity(model, x, t, text, positions, turns(positions, 4, 2))
    assert fast.dtype == slow.dtype == torch.bfloat16
    torch.testing.assert_close(fast.float(), slow.float(), atol=0.15, rtol=0.1)


def test_text_time_and_position_all_matter(make_model: MakeModel, conditioning: Conditioning):
    model = make_model()
    x, t = torch.randn(3, 4, 6, 10), torch.full((3,), 0.4)
    base = call(model, x, t, conditioning)
    other = Conditioning(tokens=-conditioning.tokens, mask=conditioning.mask)
    assert (call(model, x, t, other) - base)[0].abs().max() > 1e-3
    assert (call(model, x, t + 0.3, conditioning) - base).abs().max() > 1e-3
    assert (call(model, x.flip(2), t, conditioning).flip(2) - base).abs().max() > 1e-3


def test_what_lies_behind_the_text_mask_does_not_matter(make_model: MakeModel, conditioning: Conditioning):
    model = make_model()
    x, t = torch.randn(3, 4, 6, 10), torch.full((3,), 0.4)
    junk = conditioning.tokens + 100 * (~conditioning.mask[..., None]) * torch.randn(3, 7, 24)
    other = Conditioning(tokens=junk, mask=conditioning.mask)
    torch.testing.assert_close(call(model, x, t, other), call(model, x, t, conditioning), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_ragged_batch_equals_its_samples_one_by_one(make_model: MakeModel, conditioning: Conditioning, axes: int):
    model = make_model(axes)
    shapes = {1: [(10,), (4,), (2,)], 2: [(6, 10), (2, 4), (8, 2)], 3: [(3, 4, 6), (1, 2, 2), (2, 6, 2)]}[axes]
    xs, t = [torch.randn(4, *shape) for shape in shapes], torch.tensor([0.1, 0.5, 0.9])
    grids = [[n // p for n, p in zip(shape, model.config.patch, strict=True)] for shape in shapes]
    factors = torch.tensor([attention_factor((2,), (max(3, prod(grid)),)) for grid in grids])
    text = model.prepare(conditioning.tokens, conditioning.mask)
    with torch.no_grad():
        together = model.forward_ragged(xs, t, text, [model.rope(shape) for shape in shapes], factors)
        for i, x in enumerate(xs):
            own = TextState.select(text, torch.tensor([i]))
            positions = model.positions(shapes[i])._replace(attention_factor=float(factors[i]))
            alone = model(x[None], t[i : i + 1], own, positions)[0]
            torch.testing.assert_close(together[i], alone, atol=1e-5, rtol=1e-5)
            assert alone.std() > 0.1


def test_attention_factor_is_the_same_as_a_number_and_per_sample(make_model: MakeModel, conditioning: Conditioning):
    model = make_model()
    x, t = torch.randn(3, 4, 6, 10), torch.full((3,), 0.4)
    text, base = model.prepare(conditioning.tokens, conditioning.mask), model.positions((6, 10))
    one = model(x, t, text, base._replace(attention_factor=sqrt(1.3)))
    each = model(x, t, text, base._replace(attention_factor=torch.full((3,), sqrt(1.3))))
    torch.testing.assert_close(one, each, atol=1e-5, rtol=1e-5)
    assert (one - model(x, t, text, base)).abs().max() > 1e-3


def test_pooling_with_windows_of_one_token_changes_nothing(make_model: MakeModel, conditioning: Conditioning):
    model = make_model()
    x, t = torch.randn(3, 4, 6, 10), torch.full((3,), 0.4)
    text, base = model.prepare(conditioning.tokens, conditioning.mask), model.positions((6, 10))
    pooled = Positions(query=base.query, key=base.key, pool=((3, 5), (1, 1)))
    torch.testing.assert_close(model(x, t, text, pooled), model(x, t, text, base), atol=1e-6, rtol=1e-6)


def test_a_row_without_any_text_is_zero_instead_of_nan():
    tokens = torch.full((2, 3, 4), 7.0)
    mask = torch.tensor([[True, False, False], [False, False, False]])
    assert masked_mean(tokens, mask).tolist() == [[7.0] * 4, [0.0] * 4]


def test_it_trains_under_bfloat16_autocast(make_model: MakeModel, conditioning: Conditioning):
    model = make_model().train()
    x, t = torch.randn(3, 4, 6, 10), torch.tensor([0.1, 0.5, 0.9])
    with torch.autocast("cpu", torch.bfloat16):
        out = call(model, x, t, conditioning)
        loss = (out.float() - x).square().mean()
    loss.backward()
    unused = {"pad_token"}
    for name, parameter in model.named_parameters():
        if name not in unused:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            if name != "final_layer.linear.bias":
                assert parameter.grad.abs().max() > 0, name
    with torch.no_grad():
        torch.testing.assert_close(out.float(), call(model, x, t, conditioning), atol=0.2, rtol=0.2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dim": 50, "heads": 4}, "not divisible by heads"),
        ({"heads": 4, "kv_heads": 3}, "not divisible by kv_heads"),
        ({"dim": 12, "heads": 4, "kv_heads": 2}, "rotary pairs"),
        ({"patch": (2,) * 4, "trained_tokens": (2,) * 4}, "1, 2 or 3"),
        ({"patch": (2, 2), "trained_tokens": (4,)}, "different numbers of axes"),
        ({"layers": 0}, "layers is 0"),
        ({"laeyrs": 3}, "Next-DiT: unknown laeyrs"),
    ],
)
def test_impossible_configurations_are_refused(values: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        NextDiTConfig.from_mapping(values)


def test_configurations_survive_json():
    for config in SIZES.values():
        assert NextDiTConfig.from_mapping(config.to_mapping()) == config


def test_costs_count_what_a_profiler_counts(make_model: MakeModel):
    model = make_model(learn_sigma=False)
    tokens = torch.randn(1, 7, 24)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        text = model.prepare(tokens)
        positions = model.positions((6, 10))
        with FlopCounterMode(display=False) as counter:
            model(torch.randn(1, 4, 6, 10), torch.tensor([0.5]), text, positions)
        with FlopCounterMode(display=False) as text_counter:
            model.prepare(tokens)
    config = model.config.to_mapping()
    assert cost.tokens(config, (6, 10)) == 15
    assert cost.flops(config, 15, 7) == counter.get_total_flops()
    assert cost.text_flops(config, 7) == text_counter.get_total_flops()
    assert cost.activation_bytes(config, 15, 2, 4) > 15 * 2 * 48 * 4
