"""Generation with both stages: the draws of a reference that keeps nothing, batch mates, guidance, bad input."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from modalities.contracts import Extrapolation, GenerateOptions, Generator, Guidance
from modalities.generators.digit.generate import DiGITGenerator
from modalities.generators.digit.model import read_prompt
from modalities.generators.digit.objective import masked_loss, random_mask
from modalities.generators.digit.sampling import Draws, sources
from tests.modalities.digit.tiny_digit import OPT, PUBLISHED, TEXT, class_ids, plain_ids, sentences, tiny_digit

PLAIN = GenerateOptions(sampler="autoregressive", guidance=Guidance(scale=1.0))


def with_options(guidance: float = 1.0, **options: float) -> GenerateOptions:
    return replace(PLAIN, guidance=Guidance(scale=guidance), sampler_options=options)


def one_after_the_other(logits_of, number: int, draws: Draws, source: torch.Generator) -> Tensor:
    """Codes of one sample, each drawn by a running sum over the reference's probabilities; nothing is kept."""
    numbers = torch.rand(number, generator=source, dtype=torch.float64).tolist()
    found: list[int] = []
    for u in numbers:
        chances = draws.kept(logits_of(torch.tensor([found], dtype=torch.long))[:, -1])[0]
        target = u * float(chances.sum())
        found.append(next(code for code, total in enumerate(accumulate(chances.tolist())) if total > target))
    return torch.tensor([found])


@pytest.mark.parametrize("options", [{"top_k": 6}, {"top_p": 0.7, "temperature": 1.3, "decoder_top_p": 0.5}, {}])
def test_drawn_codes_are_those_of_a_reference_without_a_cache(options: dict[str, float]):
    model = tiny_digit(replace(PUBLISHED, classes=4))
    first, second = OPT(model.semantic, dtype=torch.float64), OPT(model.decoder, prefix=16, dtype=torch.float64)
    draws = Draws(**{name: value for name, value in options.items() if name != "decoder_top_p"})
    wanted = []
    for seed, start in ((11, 35 + 2), (12, 35 + 0)):
        source = torch.Generator().manual_seed(seed)
        tokens = one_after_the_other(lambda ids, s=start: first.logits(_ids(ids, s)), 16, draws, source)
        before = tokens + 5 + 45
        last = Draws(top_p=options.get("decoder_top_p", 0.8))
        logits = lambda ids, b=before: second.logits(torch.cat([b, _ids(ids)], dim=1))  # noqa: E731
        wanted.append(one_after_the_other(logits, 16, last, source).view(1, 4, 4))
    found = DiGITGenerator(model, (16, 16)).generate(class_ids(2, 0), None, (64, 64), [11, 12], with_options(**options))
    assert found.dtype == torch.float32
    assert torch.equal(found, torch.stack(wanted).float())


def _ids(codes: Tensor, start: int = 2) -> Tensor:
    return torch.cat([torch.tensor([[start]]), codes + 5], dim=1)


@pytest.mark.parametrize(("guidance", "steps"), [(1.0, 1), (3.0, 5), (0.0, 16)])
def test_a_sample_does_not_depend_on_its_batch_mates(guidance: float, steps: int):
    generator = DiGITGenerator(tiny_digit(TEXT), (4, 4))
    options = with_options(guidance, top_k=7, decoder_steps=steps)
    prompts, negative = sentences(3, 8, 2), sentences(2, seed=9)
    together = generator.generate(prompts, negative, (16, 16), [1, 2, 3], options)
    alone = [
        generator.generate(prompt, negative, (16, 16), [seed], options)
        for prompt, seed in zip(prompts.split(), (1, 2, 3), strict=True)
    ]
    assert torch.equal(together, torch.cat(alone))
    assert together.shape == (3, 1, 4, 4)
    assert len(torch.unique(together)) > 5


def test_guidance_moves_logits_away_from_the_negative_prompt():
    model = tiny_digit(TEXT)
    generator = DiGITGenerator(model, (4, 4))
    prompt, negative = sentences(3), sentences(4, seed=9)
    tokens = generator.semantic_tokens(prompt, negative, [torch.Generator().manual_seed(1)], Draws(top_k=1), 2.5)
    wanted, without = (model.semantic_logits(tokens, read_prompt(TEXT, each))[0] for each in (prompt, negative))
    guided = without + 2.5 * (wanted - without)
    assert torch.equal(guided[:-1, 5:].argmax(dim=1), tokens[0])
    assert not torch.equal(wanted[:-1, 5:].argmax(dim=1), tokens[0])


def test_prompts_and_seeds_matter_and_repeat():
    generator = DiGITGenerator(tiny_digit(TEXT), (4, 4))
    options = with_options(decoder_steps=3)

    def make(prompt, seed: int) -> Tensor:
        return generator.generate(prompt, None, (16, 16), [seed], options)

    assert torch.equal(make(sentences(3), 1), make(sentences(3), 1))
    assert not torch.equal(make(sentences(3), 1), make(sentences(3), 2))
    assert not torch.equal(make(sentences(3), 1), make(sentences(3, seed=6), 1))


def test_half_the_bits_draw_from_nearly_the_same_logits():
    model = tiny_digit(TEXT)
    narrow = DiGITGenerator(tiny_digit(TEXT).to(torch.bfloat16), (4, 4))
    assert isinstance(narrow, Generator)
    prompts = sentences(3, 2)
    codes = narrow.generate(prompts, sentences(2), (16, 16), [1, 2], with_options(2.0, decoder_steps=4))
    assert codes.dtype == torch.float32
    assert 0 <= int(codes.min()) <= int(codes.max()) < 40
    tokens = torch.zeros(2, 6, dtype=torch.long)
    wanted = model.semantic_logits(tokens, read_prompt(TEXT, prompts))
    found = narrow.model.semantic_logits(tokens, read_prompt(TEXT, prompts))
    assert found.dtype == torch.float32
    assert (found - wanted).abs().mean() < 0.03 * wanted.abs().mean()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": (16, 20)}, "makes \\(16, 16\\) alone"),
        ({"seeds": [1, 2]}, "1 prompts but 2 seeds"),
        ({"negative": sentences(2, 2)}, "2 negative prompts"),
        ({"options": GenerateOptions()}, "`midpoint` follows a velocity"),
        ({"options": with_options(top_q=3)}, "does not take top_q"),
        ({"options": with_options(top_k=0.5)}, "top_k is 0.5"),
        ({"options": with_options(decoder_steps=17)}, "decoder_steps is 17, but there are 16 codes"),
        ({"options": with_options(decoder_steps=0)}, "trained to draw codes in rounds"),
        ({"options": with_options(2.0), "negative": None}, "needs the conditioning of a negative prompt"),
        ({"options": replace(PLAIN, strength=0.5)}, "strength is 0.5"),
        ({"options": replace(PLAIN, extrapolation=Extrapolation(method="ntk-aware"))}, "those of a DiGIT are learned"),
        ({"options": replace(PLAIN, guidance=Guidance(scale=1.0, interval=(0.1, 1.0)))}, "no interval or channels"),
    ],
)
def test_what_the_family_has_not_is_refused(change, message: str):
    generator = DiGITGenerator(tiny_digit(TEXT), (4, 4))
    values = {"negative": sentences(2), "size": (16, 16), "seeds": [1], "options": PLAIN} | change
    with pytest.raises(ValueError, match=message):
        generator.generate(sentences(3), **values)


@pytest.mark.parametrize(
    ("options", "message"),
    [(with_options(3.0), "no null condition"), (with_options(decoder_steps=8), "one code after the other; expected 0")],
)
def test_what_a_published_model_has_not_is_refused(options: GenerateOptions, message: str):
    generator = DiGITGenerator(tiny_digit(), (16, 16))
    with pytest.raises(ValueError, match=message):
        generator.generate(class_ids(-1), class_ids(-1), (64, 64), [1], options)


@pytest.mark.parametrize("config", [PUBLISHED, TEXT])
@pytest.mark.parametrize("stage", ["semantic", "decoder"])
def test_a_sample_that_is_no_number_is_said_to_be_none(config, stage: str):
    model = tiny_digit(config)
    table = getattr(model, stage).embed_tokens.weight
    prompts = sentences(2, 2) if config.text_width else class_ids(-1, -1)
    generator = DiGITGenerator(model, (4, 4))
    sound = generator.generate(prompts, None, (16, 16), [1, 2], PLAIN)
    tokens = generator.semantic_tokens(prompts, None, sources([1, 2]), Draws())
    only = sorted(set(tokens[0, :-1].tolist()) - set(tokens[1].tolist()))
    assert only  # a token that the first sample alone has, and that something comes after
    table[only[0] + 5 + (config.code_ids if stage == "decoder" else 0)] = torch.nan
    found = generator.generate(prompts, None, (16, 16), [1, 2], PLAIN)
    assert found[0].isnan().all()
    assert torch.equal(found[1], sound[1])


def smoothed(logits: Tensor, wanted: list[int]) -> float:
    """0.9 of the negative log-likelihood less 0.1 of the mean log probability, over all positions, in float64."""
    log_p = torch.log_softmax(logits.double(), dim=-1)
    terms = [0.9 * -log_p[i, one] - 0.1 * log_p[i].mean() for i, one in enumerate(wanted)]
    return float(torch.stack(terms).mean())


def test_the_loss_is_that_of_both_stages():
    model = tiny_digit()
    generator = torch.Generator().manual_seed(1)
    latents = torch.stack([torch.randint(40, (4, 4)), torch.randint(30, (4, 4))])[None].float()
    codes, tokens = (latents[0, i].flatten().long() for i in (0, 1))
    first = OPT(model.semantic).logits(plain_ids(tokens[None]))[0]
    second = OPT(model.decoder, prefix=16).logits(_ids(codes[None]).new_tensor([[*(tokens + 50), 2, *(codes + 5)]]))
    wanted = smoothed(first, [*(tokens + 5).tolist(), 2]) + smoothed(second[0, 16:], [*(codes + 5).tolist(), 2])
    found = DiGITGenerator(model, (16, 16)).loss(latents, class_ids(-1), generator=generator)
    assert float(found) == pytest.approx(wanted, rel=1e-5)


def test_a_token_may_cover_several_codes():
    config = replace(TEXT, grid=(2, 2), clusters=30)
    generator = DiGITGenerator(tiny_digit(config), (4, 4))
    tokens = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    latents = torch.stack([torch.arange(16.0).view(4, 4), tokens.repeat_interleave(2, 0).repeat_interleave(2, 1)])
    codes, found = generator.split(latents[None])
    assert codes.tolist() == [list(range(16))]
    assert found.tolist() == [[1, 2, 3, 4]]
    with pytest.raises(ValueError, match="should be"):
        generator.split(latents[None, :1])
    with pytest.raises(ValueError, match="does not divide"):
        DiGITGenerator(tiny_digit(TEXT), (4, 4)).split(latents[None])


def test_the_masked_loss_is_of_masked_codes_alone():
    model = tiny_digit(TEXT)
    codes, tokens = torch.randint(40, (3, 16)), torch.randint(30, (3, 6))
    mask = random_mask(3, 16, torch.Generator().manual_seed(8))
    logits = model.masked_logits(torch.where(mask, -1, codes), tokens)
    wanted = F.cross_entropy(logits[mask], codes[mask] + 5)
    found = masked_loss(model, codes, tokens, torch.Generator().manual_seed(8), smoothing=0.0)
    assert float(found) == pytest.approx(float(wanted), rel=1e-6)


def test_masks_have_the_cosine_share():
    counts = random_mask(4000, 64, torch.Generator().manual_seed(1)).sum(dim=1).double()
    assert counts.min() >= 1
    assert counts.max() <= 64
    # floor(64 cos(u pi / 2) + 1) has the mean 64 * 2 / pi + 1/2, but for the rounding at the ends.
    assert float(counts.mean()) == pytest.approx(64 * 2 / torch.pi + 0.5, abs=1.0)


def test_both_stages_learn():
    config = replace(TEXT, grid=(2, 2))
    model = tiny_digit(config).requires_grad_(True)
    generator = DiGITGenerator(model, (4, 4))
    latents = torch.randint(30, (2, 2, 4, 4)).float()
    latents[:, 1] = latents[:, 1, ::2, ::2].repeat_interleave(2, 1).repeat_interleave(2, 2)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for step in range(16):
        loss = generator.loss(latents, sentences(3, 5), generator=torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])
