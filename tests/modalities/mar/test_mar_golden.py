"""MAR against the formulas, on tiny random weights in the published layout; nothing is left at zero."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from modalities.contracts import Conditioning
from modalities.generators.mar import diffusion
from modalities.generators.mar.config import SIZES, MARConfig, config_from_shapes, expected_shapes
from modalities.generators.mar.loss import hidden_tokens, loss, sketch_loss
from modalities.generators.mar.model import MAR, Condition
from modalities.generators.mar.sampling import Iterations, sample, still_hidden
from modalities.generators.mar.tokens import from_tokens, to_tokens
from tests.modalities.mar import reference

CLASSES = MARConfig(
    trained_tokens=(4, 4),
    in_channels=6,
    dim=32,
    layers=2,
    heads=4,
    decoder_dim=24,
    decoder_layers=2,
    decoder_heads=3,
    buffer=5,
    classes=7,
    head_dim=20,
    head_layers=2,
    dropout=0.0,
)
TEXT = replace(CLASSES, classes=0, cap_feat_dim=10)
HEADS = (4, 3)


def randomised(config: MARConfig, seed: int = 0) -> MAR:
    """Every parameter random, of the size that keeps numbers near one."""
    model, source = MAR(config), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 1.3 / math.sqrt(parameter.shape[-1]) if parameter.ndim > 1 and "weight" in name else 0.3
            parameter.copy_(scale * torch.randn(parameter.shape, generator=source))
            if ("norm" in name and name.endswith("weight")) or name.endswith(("ln.weight", "z_proj_ln.weight")):
                parameter.add_(1.0)
    return model.eval()


def arrays(model: MAR) -> dict[str, np.ndarray]:
    return {name: value.double().numpy() for name, value in model.state_dict().items()}


def classes(*numbers: int) -> Conditioning:
    tokens = torch.tensor(numbers, dtype=torch.float32)[:, None, None]
    return Conditioning(tokens=tokens, mask=torch.ones(len(numbers), 1, dtype=torch.bool))


def told_by(model: MAR, told: Conditioning) -> Condition:
    with torch.no_grad():
        return model.condition(told.tokens, told.mask)


@pytest.mark.parametrize("known", [0, 1, 7, 15])
def test_the_network_is_that_of_the_formulas(known: int) -> None:
    model = randomised(CLASSES)
    source = torch.Generator().manual_seed(known)
    tokens = torch.randn(2, 16, 6, generator=source)
    order = torch.rand(2, 16, generator=source).argsort(1)
    where, wanted = order[:, :known].sort(1).values, order[:, known:]
    with torch.no_grad():
        found = model(told_by(model, classes(3, -1)), tokens, where, wanted)
    w = arrays(model)
    for i, condition in enumerate((w["class_emb.weight"][3], w["fake_latent"][0])):
        hidden = np.ones(16, bool)
        hidden[where[i].numpy()] = False
        z = reference.trunk(w, condition, tokens[i].double().numpy(), hidden, HEADS)[wanted[i].numpy()]
        np.testing.assert_allclose(found[i].numpy(), z, atol=1e-5, rtol=1e-5)


def test_tokens_that_are_not_known_change_nothing() -> None:
    model = randomised(CLASSES)
    tokens = torch.randn(1, 16, 6, generator=torch.Generator().manual_seed(1))
    where, wanted = torch.arange(0, 16, 2)[None], torch.arange(1, 16, 2)[None]
    rows = told_by(model, classes(2))
    with torch.no_grad():
        first = model(rows, tokens, where, wanted)
        tokens[:, 1::2] = 77.0
        assert torch.equal(model(rows, tokens, where, wanted), first)


@pytest.mark.parametrize("t", [0, 1, 500, 999])
def test_the_head_is_that_of_the_formulas(t: int) -> None:
    model = randomised(CLASSES)
    source = torch.Generator().manual_seed(t)
    x, z = torch.randn(9, 6, generator=source), torch.randn(9, 24, generator=source)
    head = model.head
    with torch.no_grad():
        noise, share = head(x, head.time_embed(torch.tensor([t])) + head.cond_embed(z))
    wanted = reference.head(arrays(model), x.double().numpy(), t, z.double().numpy())
    np.testing.assert_allclose(noise.numpy(), wanted[0], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(share.numpy(), wanted[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("iterations", "guidance", "schedule", "steps", "temperature"),
    [
        (4, 3.0, "linear", 5, 0.95),
        (16, 2.0, "constant", 4, 1.0),
        (1, 1.0, "linear", 7, 1.0),
        (6, 1.5, "linear", 12, 0.0),
    ],
)
def test_sampled_tokens_are_those_of_the_formulas(
    iterations: int, guidance: float, schedule: str, steps: int, temperature: float
) -> None:
    model = randomised(CLASSES).double()
    how = Iterations(
        iterations=iterations, guidance=guidance, schedule=schedule, temperature=temperature, head_steps=steps
    )
    told, without = told_by(model, classes(1, 5)), told_by(model, classes(-1, -1))
    found = sample(model, told, without, [torch.Generator().manual_seed(seed) for seed in (8, 9)], how)
    w = arrays(model)
    for i, (number, seed) in enumerate(((1, 8), (5, 9))):
        source = torch.Generator().manual_seed(seed)
        order = torch.randperm(16, generator=source).numpy()
        wanted = reference.sample(
            w,
            w["class_emb.weight"][number],
            w["fake_latent"][0] if guidance != 1 else None,
            HEADS,
            order,
            lambda n, source=source: torch.randn((steps, n, 6), generator=source).double().numpy(),
            iterations=iterations,
            guidance=guidance,
            schedule=schedule,
            steps=steps,
            temperature=temperature,
        )
        largest = np.abs(wanted).max()
        np.testing.assert_allclose(found[i].double().numpy() / largest, wanted / largest, atol=1e-4)


def test_a_sample_does_not_depend_on_its_batch_mates() -> None:
    model = randomised(CLASSES)
    how = Iterations(iterations=5, guidance=2.0, head_steps=4)

    def draw(numbers: list[int], seeds: list[int]) -> Tensor:
        away = told_by(model, classes(*[-1] * len(numbers)))
        sources = [torch.Generator().manual_seed(seed) for seed in seeds]
        return sample(model, told_by(model, classes(*numbers)), away, sources, how)

    both, alone = draw([4, 2], [1, 2]), draw([2], [2])
    torch.testing.assert_close(both[1:] / alone.abs().max(), alone / alone.abs().max(), atol=1e-4, rtol=0)


def test_iterations_draw_as_many_tokens_as_published() -> None:
    def drawn(iterations: int) -> list[int]:
        left = [256, *still_hidden(256, iterations)]
        left[-1] = 0
        return [before - after for before, after in pairwise(left)]

    assert drawn(256) == [1] * 256
    assert drawn(8) == [5, 15, 24, 31, 39, 45, 48, 49]
    assert drawn(16)[0] == 2
    assert max(drawn(16)) == 25
    assert drawn(32)[:5] == [1, 1, 1, 2, 3]
    assert max(drawn(64)) == 7
    assert all(sum(drawn(n)) == 256 for n in (1, 2, 3, 64, 255))
    with pytest.raises(ValueError, match=r"257 iterations for 256 tokens.* expected 1 to 256"):
        still_hidden(256, 257)
    with pytest.raises(ValueError, match="0 iterations"):
        still_hidden(256, 0)


def test_linear_guidance_grows_with_the_tokens_that_are_known() -> None:
    how = Iterations(guidance=4.0)
    scales = [how.scale(256, left) for left in still_hidden(256, 64)]
    assert scales[:2] == pytest.approx([1.0117, 1.0234], abs=1e-4)
    assert scales[-1] == pytest.approx(3.988, abs=1e-3)
    assert {replace(how, schedule="constant").scale(256, left) for left in (255, 1)} == {4.0}
    with pytest.raises(ValueError, match="unknown guidance_schedule `cosine`; known: constant, linear"):
        Iterations(schedule="cosine")


def test_the_chain_is_respaced_as_published() -> None:
    chain = diffusion.tables(100)
    assert chain.times[:8].tolist() == [0, 10, 20, 30, 40, 50, 61, 71]
    assert chain.times[-1] == 999
    assert float(diffusion.tables().kept[999]) == pytest.approx(2.4287669e-9, rel=1e-6)
    with pytest.raises(ValueError, match="1 steps; expected 2 to 1000"):
        diffusion.tables(1)


@pytest.mark.parametrize("t", [0, 3, 400, 999])
def test_the_loss_of_a_token_is_that_of_the_formulas(t: int) -> None:
    source = torch.Generator().manual_seed(t)
    x, eps, guess, share = (0.8 * torch.randn(40, 6, generator=source, dtype=torch.float64) for _ in range(4))
    found = diffusion.loss(x, eps, guess, share, torch.full((40,), t), diffusion.tables())
    rows = zip(guess.numpy(), share.numpy(), x.numpy(), eps.numpy(), strict=True)
    wanted = [reference.loss_of_token(*row, t) for row in rows]
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6)


def test_weights_of_times_are_those_of_a_velocity_up_to_a_bound() -> None:
    x, eps, guess, share = (torch.randn(1000, 6, dtype=torch.float64) for _ in range(4))
    chain, times = diffusion.tables(), torch.arange(1000)
    plain = diffusion.loss(x, eps, guess, share, times, chain)
    weighted = diffusion.loss(x, eps, guess, share, times, chain, 10.0)
    weights = 1 + (weighted - plain) / (eps - guess).square().mean(-1)
    kept = np.array(KEPT)
    wanted = np.minimum(1 / kept, 10) / np.minimum(1 / kept, 10).mean()
    np.testing.assert_allclose(weights.numpy(), wanted, rtol=1e-6)


def test_foreseen_tokens_stay_in_the_bound() -> None:
    def far(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        return -5 * x, torch.zeros_like(x)

    chain = diffusion.tables(6)
    noise = torch.randn(6, 50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert diffusion.reverse(far, noise, chain, 1.0).abs().max() > 100
    assert diffusion.reverse(far, noise, chain, 1.0, 2.5).abs().max() <= 2.5


def test_the_bound_trains_the_variance_alone() -> None:
    guess, share = (torch.zeros(5, 6).requires_grad_() for _ in range(2))
    x, eps = torch.ones(5, 6), torch.ones(5, 6)
    diffusion.loss(x, eps, guess, share, torch.arange(5) * 100, diffusion.tables()).sum().backward()
    assert guess.grad is not None
    torch.testing.assert_close(guess.grad, torch.full((5, 6), -2 / 6), atol=1e-6, rtol=0)
    assert share.grad is not None
    assert (share.grad != 0).all()


@pytest.mark.parametrize(("repeats", "looked_at"), [(1, 0), (3, 0), (2, 4)])
def test_the_loss_of_a_batch_is_the_mean_over_its_hidden_tokens(repeats: int, looked_at: int) -> None:
    model = randomised(replace(CLASSES, head_repeats=repeats, head_tokens=looked_at))
    latents = torch.randn(3, 6, 4, 4, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        found = loss(model, latents, classes(0, 6, -1), torch.Generator().manual_seed(5))
    source = torch.Generator().manual_seed(5)
    count = hidden_tokens(16, 0.7, source)
    order = torch.rand(3, 16, generator=source).argsort(1)
    number = looked_at or count
    times = torch.randint(1000, (3 * number * repeats,), generator=source)
    noise = torch.randn(3 * number * repeats, 6, generator=source).double().numpy()
    w = arrays(model)
    tokens = latents.flatten(2).transpose(1, 2).double().numpy()
    total, at = 0.0, 0
    for _ in range(repeats):
        for i, condition in enumerate((w["class_emb.weight"][0], w["class_emb.weight"][6], w["fake_latent"][0])):
            hidden = np.zeros(16, bool)
            hidden[order[i, :count].numpy()] = True
            z = reference.trunk(w, condition, tokens[i], hidden, HEADS)
            for place in order[i, :number].tolist():
                t, eps, x = int(times[at]), noise[at], tokens[i, place]
                noisy = math.sqrt(KEPT[t]) * x + math.sqrt(1 - KEPT[t]) * eps
                guess, share = reference.head(w, noisy[None], t, z[place : place + 1])
                total += reference.loss_of_token(guess[0], share[0], x, eps, t)
                at += 1
    assert float(found) == pytest.approx(total / at, rel=1e-4)


KEPT = reference.kept_by_training()


def test_the_part_that_is_hidden_has_its_distribution() -> None:
    source = torch.Generator().manual_seed(0)
    parts = np.array([hidden_tokens(10_000, 0.7, source) for _ in range(3000)]) / 10_000
    x = np.linspace(0.7, 1, 2001)
    density = np.exp(-0.5 * ((x - 1) / 0.25) ** 2)
    assert parts.min() >= 0.7
    assert parts.max() <= 1
    assert parts.mean() == pytest.approx((x * density).sum() / density.sum(), abs=0.005)


@pytest.mark.parametrize(
    ("name", "count", "tensors"), [("base", 207_924_768, 364), ("large", 478_326_304, 476), ("huge", 942_403_104, 604)]
)
def test_published_sizes_are_counted_exactly(name: str, count: int, tensors: int) -> None:
    with torch.device("meta"):
        state = MAR(SIZES[name]).state_dict()
    assert sum(value.numel() for value in state.values()) == count
    assert len(state) == tensors
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    assert shapes == expected_shapes(SIZES[name])
    assert config_from_shapes(shapes) == SIZES[name]


@pytest.mark.parametrize("config", [CLASSES, TEXT])
def test_expected_shapes_are_those_of_the_network(config: MARConfig) -> None:
    shapes = {key: tuple(value.shape) for key, value in MAR(config).state_dict().items()}
    assert shapes == expected_shapes(config)


def test_tokens_hold_the_channel_slowest() -> None:
    latents = torch.arange(2 * 3 * 4 * 6.0).reshape(2, 3, 4, 6)
    tokens = to_tokens(latents, (2, 3))
    assert tokens.shape == (2, 4, 18)
    for i, (row, column) in enumerate([(0, 0), (0, 3), (2, 0), (2, 3)]):
        assert torch.equal(tokens[1, i], latents[1, :, row : row + 2, column : column + 3].flatten())
    assert torch.equal(from_tokens(tokens, (2, 2), (2, 3)), latents)


@pytest.mark.parametrize("known", [0, 6])
def test_a_model_told_by_text_is_that_of_the_formulas(known: int) -> None:
    model, source = randomised(TEXT), torch.Generator().manual_seed(known)
    text, tokens = torch.randn(1, 4, 10, generator=source), torch.randn(1, 16, 6, generator=source)
    order = torch.rand(1, 16, generator=source).argsort(1)
    where, wanted = order[:, :known].sort(1).values, order[:, known:]
    told = told_by(model, Conditioning(tokens=text, mask=torch.ones(1, 4, dtype=torch.bool)))
    assert told.sketch is not None
    with torch.no_grad():
        found = model(told, tokens, where, wanted)
    w, words = arrays(model), text[0].double().numpy()
    rows, sketch = reference.text_rows(w, words, HEADS[0]), reference.text_sketch(w, words, 16)
    np.testing.assert_allclose(told.rows[0].numpy(), rows, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(told.sketch[0].numpy(), sketch, atol=1e-5, rtol=1e-5)
    hidden = np.ones(16, bool)
    hidden[where[0].numpy()] = False
    z = reference.trunk(w, rows, tokens[0].double().numpy(), hidden, HEADS, sketch)[wanted[0].numpy()]
    np.testing.assert_allclose(found[0].numpy(), z, atol=1e-5, rtol=1e-5)


def test_padding_of_a_prompt_changes_nothing() -> None:
    model = randomised(TEXT)
    tokens = torch.randn(1, 3, 10, generator=torch.Generator().manual_seed(1))
    alone = Conditioning(tokens=tokens, mask=torch.ones(1, 3, dtype=torch.bool))
    first, second = told_by(model, alone), told_by(model, Conditioning.stack([alone], 9))
    for one, other in ((first.rows, second.rows), (first.sketch, second.sketch)):
        assert one is not None
        assert other is not None
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
    changed = told_by(model, replace(alone, tokens=tokens.flip(2)))
    assert not torch.allclose(changed.rows, first.rows, atol=0.01)


def test_a_sketch_is_trained_by_regression() -> None:
    model = randomised(TEXT)
    latents = torch.randn(2, 6, 4, 4, generator=torch.Generator().manual_seed(4))
    told = Conditioning(tokens=torch.ones(2, 3, 10), mask=torch.ones(2, 3, dtype=torch.bool))
    found = sketch_loss(model, latents, told)
    sketch = reference.text_sketch(arrays(model), np.ones((3, 10)), 16)[:, :6]
    tokens = latents.flatten(2).transpose(1, 2).double().numpy()
    assert float(found.detach()) == pytest.approx(((sketch - tokens) ** 2).mean(), rel=1e-5)
    found.backward()
    moved = {name.split(".")[0] for name, each in model.named_parameters() if each.grad is not None}
    assert moved == {"sketch"}
    with pytest.raises(ValueError, match="a MAR of classes has no sketch"):
        sketch_loss(randomised(CLASSES), latents, classes(1, 2))


def test_the_first_numbers_of_z_are_trained_to_foresee_the_token() -> None:
    latents = torch.randn(2, 6, 4, 4, generator=torch.Generator().manual_seed(4))
    plain, both = (randomised(replace(CLASSES, foresight=weight)) for weight in (0.0, 0.5))
    with torch.no_grad():
        more = [loss(m, latents, classes(0, 1), torch.Generator().manual_seed(5)) for m in (plain, both)]
    source = torch.Generator().manual_seed(5)
    count = hidden_tokens(16, 0.7, source)
    wanted = torch.rand(2, 16, generator=source).argsort(1)
    where, wanted = wanted[:, count:].sort(1).values, wanted[:, :count]
    tokens = to_tokens(latents, (1, 1))
    with torch.no_grad():
        z = plain(told_by(plain, classes(0, 1)), tokens, where, wanted)
    missed = (z[..., :6] - tokens.gather(1, wanted[..., None].expand(-1, -1, 6))).square().mean()
    assert float(more[1] - more[0]) == pytest.approx(0.5 * float(missed), rel=1e-4)
