"""Sets of points: no order, Fourier-embedded coordinates, and densities that the model was not trained at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import pi

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from modalities.contracts import Conditioning, Extrapolation, GenerateOptions
from modalities.generators.nextdit import cost
from modalities.generators.nextdit.config import NextDiTConfig
from modalities.generators.nextdit.extrapolation import METHODS, PositionsAt, rescaled_waves
from modalities.generators.nextdit.fourier import embed_coordinates, finest_wave, trained_waves
from modalities.generators.nextdit.generate import NextDiTGenerator, repeat_points
from modalities.generators.nextdit.inference import turns, velocity
from modalities.generators.nextdit.layouts import expected_shapes
from modalities.generators.nextdit.model import NextDiT, TextState

MakeModel = Callable[..., NextDiT]
POINTS = {
    "patch": (1,),
    "in_channels": 6,
    "unordered": True,
    "coordinates": 3,
    "fourier_bands": 4,
    "trained_tokens": (16,),
}
CONFIG = NextDiTConfig.from_mapping({"dim": 48, "heads": 4, "kv_heads": 2, **POINTS})
OPTIONS = GenerateOptions(sampler="euler", steps=3)


@pytest.fixture(scope="module")
def model(make_model: MakeModel) -> NextDiT:
    return make_model(1, **POINTS)


def test_the_tensors_keep_their_names_and_only_the_embedding_is_wider(model: NextDiT):
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert shapes == expected_shapes(model.config)
    assert shapes["x_embedder.weight"] == (48, 6 + 2 * 3 * 4)
    plain = expected_shapes(replace(model.config, unordered=False, coordinates=0))
    assert {name for name in shapes if shapes[name] != plain[name]} == {"x_embedder.weight"}


def test_waves_halve_from_the_finest_to_the_one_that_spans():
    waves = trained_waves(CONFIG)
    assert waves is not None
    assert waves.reshape(4, 3)[:, 0].tolist() == waves.reshape(4, 3)[:, 2].tolist()
    torch.testing.assert_close(2 * pi / waves[::3], torch.tensor([1.0, 2.0, 4.0, 8.0], dtype=torch.float64))


def test_the_embedding_is_cosines_and_sines_of_the_coordinates_alone():
    tokens = torch.randn(1, 5, 6, dtype=torch.float64)
    waves = trained_waves(CONFIG)
    assert waves is not None
    out = embed_coordinates(tokens, waves, 3)
    assert out.shape == (1, 5, 6 + 24)
    assert torch.equal(out[..., :6], tokens)
    torch.testing.assert_close(out[..., 6 + 4], (waves[4] * tokens[..., 1]).cos())
    torch.testing.assert_close(out[..., 18 + 4], (waves[4] * tokens[..., 1]).sin())


@pytest.mark.parametrize("fast", [False, True])
def test_permuted_noise_gives_permuted_velocities_exactly(model: NextDiT, conditioning: Conditioning, fast: bool):
    wide = NextDiT(model.config).double().eval()
    wide.load_state_dict(model.state_dict())
    x, t = torch.randn(3, 6, 20, dtype=torch.float64), torch.tensor([0.1, 0.5, 0.9])
    text = wide.prepare(conditioning.tokens.double(), conditioning.mask)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    positions, turn = PositionsAt(model.config, (20,), Extrapolation(method="time-aware"), "cpu")(0.5)

    def call(x: torch.Tensor) -> torch.Tensor:
        return velocity(wide, x, t, text, positions, turn) if fast else wide(x, t, text, positions)

    with torch.no_grad():
        torch.testing.assert_close(call(x[..., order]), call(x)[..., order], atol=1e-12, rtol=1e-12)
        assert (call(x)[..., order] - call(x)).abs().max() > 0.1


def test_permuting_the_noise_permutes_the_sample(model: NextDiT, conditioning: Conditioning):
    generator = NextDiTGenerator(model, (1,))
    text = model.prepare(conditioning.tokens, conditioning.mask)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    x, y = torch.randn(3, 6, 64), torch.empty(0)
    y = x[..., order]
    positions = PositionsAt(model.config, (64,), Extrapolation(method="ntk-aware", proportional_attention=True), "cpu")
    with torch.no_grad():
        for t in (0.0, 0.3, 0.6):
            at = positions(t)
            x = x + 0.3 * velocity(model, x, torch.full((3,), t), text, *at)
            y = y + 0.3 * velocity(model, y, torch.full((3,), t), text, *at)
    torch.testing.assert_close(y, x[..., order], atol=1e-4, rtol=1e-4)
    out = generator.generate(conditioning, None, (64,), [1, 2, 3], OPTIONS)
    assert out.shape == (3, 6, 64)
    assert out.isfinite().all()


def test_the_fast_path_equals_the_plain_one(model: NextDiT, conditioning: Conditioning):
    x, t = torch.randn(3, 6, 20), torch.tensor([0.1, 0.5, 0.9])
    text = model.prepare(conditioning.tokens, conditioning.mask)
    options = Extrapolation(method="time-aware", proportional_attention=True)
    for positions in (model.positions((20,)), PositionsAt(model.config, (20,), options, "cpu")(0.7)[0]):
        turn = turns(positions, model.config.heads, model.config.kv_heads)
        assert turn is None
        with torch.no_grad():
            slow = model(x, t, text, positions)
            torch.testing.assert_close(velocity(model, x, t, text, positions, turn), slow, atol=1e-5, rtol=1e-5)
        assert slow.std() > 0.1


def test_a_ragged_batch_of_sets_equals_its_samples_one_by_one(model: NextDiT, conditioning: Conditioning):
    xs, t = [torch.randn(6, n) for n in (5, 12, 1)], torch.tensor([0.1, 0.5, 0.9])
    text = model.prepare(conditioning.tokens, conditioning.mask)
    with torch.no_grad():
        together = model.forward_ragged(xs, t, text)
        for i, x in enumerate(xs):
            own = TextState.select(text, torch.tensor([i]))
            alone = model(x[None], t[i : i + 1], own, model.positions(x.shape[1:]))[0]
            torch.testing.assert_close(together[i], alone, atol=1e-5, rtol=1e-5)


def waves(method: str, density: float, t: float = 0.5) -> torch.Tensor:
    return rescaled_waves(CONFIG, density, t, Extrapolation(method=method))


@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_trained_density_changes_no_wave(method: str):
    torch.testing.assert_close(waves(method, 1.0), trained_waves(CONFIG))


@pytest.mark.parametrize("method", ["none", "position-interpolation"])
def test_none_and_interpolation_keep_the_waves_at_every_density(method: str):
    torch.testing.assert_close(waves(method, 2.5), trained_waves(CONFIG))


def test_the_other_methods_shorten_fine_waves_as_points_come_closer():
    trained = trained_waves(CONFIG)
    assert trained is not None
    for method in sorted(set(METHODS) - {"none", "position-interpolation"}):
        ratio = waves(method, 2.0, t=1.0) / trained
        assert ratio[0] == pytest.approx(2.0), method
        assert (ratio[:-3] >= ratio[3:] - 1e-12).all(), method
        assert (ratio >= 1 - 1e-12).all(), method
    assert waves("ntk-aware", 2.0)[-1] / trained[-1] == pytest.approx(2 ** (1 / 4))
    assert waves("frequency-aware", 2.0)[-1] == pytest.approx(float(trained[-1]))
    torch.testing.assert_close(waves("time-aware", 2.0, t=0.0)[3:], trained[3:])
    torch.testing.assert_close(waves("time-aware", 2.0, t=1.0), waves("ntk-aware", 2.0))
    assert finest_wave(CONFIG) == pytest.approx(float(trained[0]))


def test_density_is_a_length_the_cube_root_of_the_number_of_points():
    options = Extrapolation(method="ntk-aware")
    positions, _ = PositionsAt(CONFIG, (16 * 8,), options, "cpu")(0.5)
    torch.testing.assert_close(positions.waves, waves("ntk-aware", 2.0).float())
    fewer, _ = PositionsAt(CONFIG, (4,), options, "cpu")(0.5)
    torch.testing.assert_close(fewer.waves, waves("none", 1.0).float())


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_makes_more_points_than_trained(model: NextDiT, conditioning: Conditioning, method: str):
    scaled = replace(OPTIONS, extrapolation=Extrapolation(method=method, proportional_attention=True))
    out = NextDiTGenerator(model, (1,)).generate(conditioning.split()[0], None, (128,), [1], scaled)
    assert out.shape == (1, 6, 128)
    assert out.isfinite().all()


def test_context_drop_is_refused_for_sets(model: NextDiT, conditioning: Conditioning):
    dropped = replace(OPTIONS, extrapolation=Extrapolation(context_drop=0.5))
    with pytest.raises(ValueError, match="have no order; leave it at 0"):
        NextDiTGenerator(model, (1,)).generate(conditioning, None, (32,), [1, 2, 3], dropped)


def test_a_start_of_fewer_points_is_repeated(model: NextDiT, conditioning: Conditioning):
    start = torch.arange(3.0).repeat(1, 6, 1)
    assert repeat_points(start, 7)[0, 0].tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert repeat_points(start, 2)[0, 0].tolist() == [0, 1]
    again = replace(OPTIONS, strength=0.5)
    out = NextDiTGenerator(model, (1,)).generate(conditioning.split()[0], None, (24,), [1], again, torch.randn(1, 6, 8))
    assert out.shape == (1, 6, 24)


def test_it_runs_in_bfloat16_with_waves_in_float32(make_model: MakeModel, conditioning: Conditioning):
    model = make_model(1, **POINTS).bfloat16()
    out = NextDiTGenerator(model, (1,)).generate(conditioning, None, (32,), [1, 2, 3], OPTIONS)
    assert out.dtype == torch.float32
    assert out.isfinite().all()


def test_the_embedding_of_coordinates_trains(make_model: MakeModel, conditioning: Conditioning):
    model = make_model(1, **POINTS).train()
    loss = NextDiTGenerator(model, (1,)).loss(
        torch.randn(3, 6, 16), conditioning, generator=torch.Generator().manual_seed(0)
    )
    loss.backward()
    assert model.x_embedder.weight.grad is not None
    assert model.x_embedder.weight.grad[:, 6:].abs().max() > 0


@pytest.mark.slow
def test_it_compiles_as_one_graph(model: NextDiT, conditioning: Conditioning):
    x, t, positions = torch.randn(3, 6, 16), torch.tensor([0.1, 0.5, 0.9]), model.positions((16,))
    with torch.no_grad():
        text = model.prepare(conditioning.tokens, conditioning.mask)
        whole = torch.compile(model.forward, backend="eager", fullgraph=True)
        torch.testing.assert_close(whole(x, t, text, positions), model(x, t, text, positions))


def test_costs_count_what_a_profiler_counts(make_model: MakeModel):
    model = make_model(1, **POINTS, learn_sigma=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        text = model.prepare(torch.randn(1, 7, 24))
        with FlopCounterMode(display=False) as counter:
            model(torch.randn(1, 6, 20), torch.tensor([0.5]), text, model.positions((20,)))
    config = model.config.to_mapping()
    assert cost.tokens(config, (20,)) == 20
    assert cost.flops(config, 20, 7) == counter.get_total_flops()
    assert cost.parameters(config) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"patch": (2,)}, "patch .1,. and 1 band"),
        ({"coordinates": 7}, "expected 0 to in_channels"),
        ({"unordered": False}, "only an unordered model"),
        ({"fourier_bands": 0}, "fourier_bands is 0"),
        ({"fourier_bands": 99}, "expected at most 16"),
        ({"fourier_span": 0.0}, "fourier_span is 0.0"),
        ({"fourier_span": float("nan")}, "fourier_span is nan"),
    ],
)
def test_impossible_sets_are_refused(values: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        NextDiTConfig.from_mapping(POINTS | values)
