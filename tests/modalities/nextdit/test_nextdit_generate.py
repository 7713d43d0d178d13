from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from modalities.catalog import EXTRAPOLATIONS, SCHEDULES, samplers_of
from modalities.contracts import Conditioning, Extrapolation, GenerateOptions, Generator, Guidance
from modalities.flow.generation import resize
from modalities.generators.nextdit.generate import NextDiTGenerator, logit_normal_times, uniform_times
from modalities.generators.nextdit.model import NextDiT

MakeModel = Callable[..., NextDiT]
OPTIONS = GenerateOptions(sampler="euler", steps=3)
SIZE = (24, 16)


@pytest.fixture
def generator(make_model: MakeModel) -> NextDiTGenerator:
    return NextDiTGenerator(make_model(), (2, 2))


def only(conditioning: Conditioning, row: int) -> Conditioning:
    return conditioning.split()[row]


def test_it_satisfies_the_contract(generator: NextDiTGenerator):
    assert isinstance(generator, Generator)
    assert generator.latent_shape(SIZE) == (4, 12, 8)


@pytest.mark.parametrize(
    ("size", "message"), [((24,), "has 1 numbers"), ((25, 16), r"nearest that is: \(24, 16\)"), ((0, 16), r"\(4, 16\)")]
)
def test_sizes_that_do_not_fit_are_refused(generator: NextDiTGenerator, size: tuple[int, ...], message: str):
    with pytest.raises(ValueError, match=message):
        generator.latent_shape(size)


@pytest.mark.parametrize("sampler", sorted(samplers_of("nextdit")))
def test_every_sampler_gives_each_sample_what_it_gets_alone(
    generator: NextDiTGenerator, conditioning: Conditioning, sampler: str
):
    options = replace(OPTIONS, sampler=sampler, sampler_options={"rtol": 1e-3} if sampler == "dopri5" else {})
    negative = only(conditioning, 2)
    together = generator.generate(conditioning, negative, SIZE, [7, 8, 9], options)
    assert together.shape == (3, 4, 12, 8)
    assert together.dtype == torch.float32
    assert together.isfinite().all()
    alone = generator.generate(only(conditioning, 1), negative, SIZE, [8], options)
    torch.testing.assert_close(alone[0], together[1], atol=1e-3 if sampler == "dopri5" else 1e-4, rtol=1e-4)


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
@pytest.mark.parametrize("extrapolation", sorted(EXTRAPOLATIONS))
def test_every_schedule_and_extrapolation_runs(
    generator: NextDiTGenerator, conditioning: Conditioning, schedule: str, extrapolation: str
):
    scaled = Extrapolation(method=extrapolation, proportional_attention=True, context_drop=0.75)
    options = replace(OPTIONS, schedule=schedule, schedule_options={}, extrapolation=scaled)
    out = generator.generate(only(conditioning, 0), None, SIZE, [1], options)
    assert out.isfinite().all()
    assert out.std() > 0.1


def test_equal_calls_are_equal_to_the_last_bit_and_keep_no_state(
    generator: NextDiTGenerator, conditioning: Conditioning
):
    first = generator.generate(conditioning, None, SIZE, [1, 2, 3], OPTIONS)
    wide = replace(OPTIONS, extrapolation=Extrapolation(method="time-aware", proportional_attention=True))
    generator.generate(conditioning, None, (32, 32), [1, 2, 3], wide)
    assert torch.equal(generator.generate(conditioning, None, SIZE, [1, 2, 3], OPTIONS), first)
    assert not torch.equal(generator.generate(conditioning, None, SIZE, [1, 2, 4], OPTIONS), first)


def test_noise_comes_from_the_seed_alone(make_model: MakeModel, conditioning: Conditioning):
    model = make_model()
    with torch.no_grad():
        for parameter in model.final_layer.parameters():
            parameter.zero_()
    still = NextDiTGenerator(model, (2, 2)).generate(conditioning, None, SIZE, [5, 6, 5], OPTIONS)
    assert torch.equal(still[0], torch.randn(4, 12, 8, generator=torch.Generator().manual_seed(5)))
    assert torch.equal(still[0], still[2])
    assert not torch.equal(still[0], still[1])


def test_guidance_of_one_and_no_negative_are_the_same(generator: NextDiTGenerator, conditioning: Conditioning):
    plain = generator.generate(conditioning, None, SIZE, [1, 2, 3], OPTIONS)
    negative = only(conditioning, 2)
    one = generator.generate(conditioning, negative, SIZE, [1, 2, 3], replace(OPTIONS, guidance=Guidance(scale=1.0)))
    assert torch.equal(plain, one)
    guided = generator.generate(conditioning, negative, SIZE, [1, 2, 3], OPTIONS)
    assert (guided - plain).abs().max() > 0.1


def test_channels_without_guidance_start_as_without_a_negative(generator: NextDiTGenerator, conditioning: Conditioning):
    one_step = replace(OPTIONS, steps=1, guidance=Guidance(scale=4.0, channels=3))
    guided = generator.generate(conditioning, only(conditioning, 2), SIZE, [1, 2, 3], one_step)
    plain = generator.generate(conditioning, None, SIZE, [1, 2, 3], one_step)
    torch.testing.assert_close(guided[:, 3], plain[:, 3], atol=1e-4, rtol=1e-4)
    assert (guided[:, :3] - plain[:, :3]).abs().max() > 0.1


def test_a_negative_prompt_may_be_longer_than_the_prompt(generator: NextDiTGenerator, conditioning: Conditioning):
    long = generator.generate(only(conditioning, 2), only(conditioning, 0), SIZE, [1], OPTIONS)
    cut = Conditioning(tokens=conditioning.tokens[:1, :1], mask=conditioning.mask[:1, :1])
    short = generator.generate(only(conditioning, 2), cut, SIZE, [1], OPTIONS)
    assert (long - short).abs().max() > 1e-2


def test_one_negative_for_all_is_one_for_each(generator: NextDiTGenerator, conditioning: Conditioning):
    one = only(conditioning, 1)
    each = Conditioning.stack([one, one, one])
    a = generator.generate(conditioning, one, SIZE, [1, 2, 3], OPTIONS)
    assert torch.equal(a, generator.generate(conditioning, each, SIZE, [1, 2, 3], OPTIONS))


def test_strength_starts_from_resized_latents_at_its_own_time(make_model: MakeModel, conditioning: Conditioning):
    model = make_model()
    with torch.no_grad():
        for parameter in model.final_layer.parameters():
            parameter.zero_()
    start = torch.randn(3, 4, 6, 4)
    options = replace(OPTIONS, strength=0.4)
    out = NextDiTGenerator(model, (2, 2)).generate(conditioning, None, SIZE, [1, 2, 3], options, start)
    noise = torch.stack([torch.randn(4, 12, 8, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2, 3)])
    torch.testing.assert_close(out, 0.6 * resize(start, (12, 8)) + 0.4 * noise)


def test_full_strength_does_not_see_the_start(generator: NextDiTGenerator, conditioning: Conditioning):
    start = torch.randn(3, 4, 6, 4)
    a = generator.generate(conditioning, None, SIZE, [1, 2, 3], OPTIONS, start)
    assert torch.equal(a, generator.generate(conditioning, None, SIZE, [1, 2, 3], OPTIONS))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": "eulr"}, "unknown sampler `eulr`; known: .*euler"),
        ({"schedule": "linear"}, "unknown schedule `linear`; known: .*uniform"),
        ({"strength": 0.5}, "needs latents to start from"),
        ({"strength": 0.0}, "strength is 0.0"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"extrapolation": Extrapolation(method="ntk")}, "unknown extrapolation"),
    ],
)
def test_bad_options_are_refused(
    generator: NextDiTGenerator, conditioning: Conditioning, changes: dict[str, object], message: str
):
    with pytest.raises(ValueError, match=message):
        generator.generate(conditioning, None, SIZE, [1, 2, 3], replace(OPTIONS, **changes))


def test_batches_that_do_not_match_are_refused(generator: NextDiTGenerator, conditioning: Conditioning):
    with pytest.raises(ValueError, match="3 prompts but 2 seeds"):
        generator.generate(conditioning, None, SIZE, [1, 2], OPTIONS)
    two = Conditioning.stack([only(conditioning, 0), only(conditioning, 1)])
    with pytest.raises(ValueError, match="2 negative prompts for 3"):
        generator.generate(conditioning, two, SIZE, [1, 2, 3], OPTIONS)
    wide = Conditioning(tokens=torch.zeros(1, 2, 25), mask=torch.ones(1, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match="25 wide; this model reads 24"):
        generator.generate(wide, None, SIZE, [1], OPTIONS)
    with pytest.raises(ValueError, match="start latents"):
        generator.generate(conditioning, None, SIZE, [1, 2, 3], OPTIONS, torch.zeros(2, 4, 6, 4))


def test_the_loss_is_the_rectified_flow_loss(make_model: MakeModel, conditioning: Conditioning):
    model = make_model()
    generator = NextDiTGenerator(model, (2, 2), times=uniform_times)
    latents = torch.randn(3, 4, 6, 10)
    loss = generator.loss(latents, conditioning, generator=torch.Generator().manual_seed(3))
    source = torch.Generator().manual_seed(3)
    t, noise = torch.rand(3, generator=source), torch.randn(3, 4, 6, 10, generator=source)
    x = t.view(3, 1, 1, 1) * latents + (1 - t.view(3, 1, 1, 1)) * noise
    out = model(x, t, model.prepare(conditioning.tokens, conditioning.mask), model.positions((6, 10)))
    torch.testing.assert_close(loss, (out - (latents - noise)).square().mean())
    loss.backward()
    assert model.layers[0].attention.wq.weight.grad.abs().max() > 0


def test_a_few_steps_of_training_lower_the_loss(make_model: MakeModel, conditioning: Conditioning):
    model = make_model(learn_sigma=False).train()
    model.reset_parameters()
    generator, latents = NextDiTGenerator(model, (2, 2)), torch.randn(3, 4, 6, 6)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _step in range(40):
        optimizer.zero_grad()
        loss = generator.loss(latents, conditioning, generator=torch.Generator().manual_seed(3))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1.5
    assert losses[-1] < 0.5 * losses[0]


def test_training_times_lie_in_the_unit_interval():
    for times in (uniform_times, logit_normal_times):
        t = times(2000, torch.Generator().manual_seed(0))
        assert 0 < t.min() < 0.1
        assert 0.9 < t.max() < 1
        assert t.mean() == pytest.approx(0.5, abs=0.03)
    assert uniform_times(2000, torch.Generator().manual_seed(0)).std() > 0.27
    assert logit_normal_times(2000, torch.Generator().manual_seed(0)).std() < 0.23
