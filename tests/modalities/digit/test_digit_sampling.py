"""Draws from logits against loops that follow fairseq's and MaskGIT's rules number by number."""

from __future__ import annotations

from math import cos, floor, log, pi

import pytest
import torch
from torch import Tensor

from modalities.generators.digit.config import SPECIAL
from modalities.generators.digit.sampling import Draws, in_rounds, invert, masked_counts, sources, uniforms


def by_hand(logits: list[float], draws: Draws) -> dict[int, float]:
    """The kept ids and their probabilities by fairseq's rules: temperature, softmax, ban, top-k or top-p."""
    scaled = torch.tensor(logits, dtype=torch.float64) / draws.temperature
    chances = (scaled - scaled.max()).exp()
    ranked = sorted(enumerate((chances / chances.sum()).tolist()), key=lambda pair: -pair[1])
    kept, total = {}, 0.0
    for rank, (i, chance) in enumerate(pair for pair in ranked if pair[0] > 4):
        if (draws.top_k and rank >= draws.top_k) or total >= draws.top_p:
            break
        kept[i] = chance
        total += chance
    return kept


@pytest.mark.parametrize(
    "draws",
    [Draws(), Draws(top_k=3), Draws(top_k=99), Draws(top_p=0.4), Draws(top_p=0.05), Draws(temperature=0.3, top_k=5)],
)
def test_what_is_kept_follows_fairseq(draws: Draws):
    logits = torch.randn(4, 20, generator=torch.Generator().manual_seed(2)) * 2
    logits[0, 2] = 9.0  # an end that is nearly certain is banned, and what is left adds up to little
    kept = draws.kept(logits)
    assert kept.shape == (4, 15)
    for row, chances in zip(logits.tolist(), kept, strict=True):
        wanted = torch.zeros(15, dtype=torch.float64)
        for i, chance in by_hand(row, draws).items():
            wanted[i - 5] = chance
        assert torch.allclose(chances, wanted, atol=1e-12)


def test_a_uniform_number_decides_one_id():
    chances = torch.tensor([[0.0, 0.2, 0.0, 0.1, 0.1, 0.0]], dtype=torch.float64)
    numbers = torch.tensor([0.0, 0.49, 0.51, 0.74, 0.76, 1 - 2**-53], dtype=torch.float64)
    found = invert(chances.expand(6, -1), numbers)
    assert found.tolist() == [1, 1, 3, 3, 4, 4]


def test_draws_have_the_probabilities_they_should():
    logits = torch.tensor([[0.0] * 5 + [2.0, 1.0, 0.0, -1.0]])
    draws = Draws(temperature=0.8, top_k=3)
    kept = draws.kept(logits)
    found = invert(kept.expand(20000, -1), uniforms(sources([1]), 20000)[0])
    part = torch.bincount(found, minlength=4) / 20000
    assert torch.allclose(part.double(), kept[0] / kept.sum(), atol=0.01)


def test_the_cosine_schedule_is_the_published_one():
    assert masked_counts(8, 256) == [256, 251, 236, 212, 181, 142, 97, 49, 0]
    assert masked_counts(1, 256) == [256, 0]
    assert masked_counts(4, 4) == [4, 3, 2, 1, 0]
    for rounds in (0, 5):
        with pytest.raises(ValueError, match=f"{rounds} rounds for 4 codes"):
            masked_counts(rounds, 4)


def rounds_by_hand(logits_of, codes: int, rounds: int, seed: int) -> list[int]:
    """One sample's rounds, code by code."""
    source = torch.Generator().manual_seed(seed)
    found = [-1] * codes
    for s in range(rounds):
        r = (s + 1) / rounds
        first = torch.rand(codes, generator=source, dtype=torch.float64).tolist()
        second = torch.rand(codes, generator=source, dtype=torch.float64).tolist()
        unknown = [i for i in range(codes) if found[i] == -1]
        logits = logits_of(torch.tensor([found]))[0].double()
        sure = {}
        for i in unknown:
            chances = torch.softmax(logits[i, 5:], dim=0).tolist()
            total, code = 0.0, -1
            while total <= first[i]:
                code += 1
                total += chances[code]
            found[i] = code
            sure[i] = log(chances[code]) + 4.5 * (1 - r) * -log(-log(second[i]))
        if s < rounds - 1:
            again = max(1, min(len(unknown) - 1, floor(codes * cos(pi / 2 * r))))
            for i in sorted(sure, key=sure.__getitem__)[:again]:
                found[i] = -1
    return found


def test_rounds_follow_maskgit_and_samples_do_not_meet():
    table = torch.randn(12, 14, generator=torch.Generator().manual_seed(3)) * 2

    def plain(codes: Tensor) -> Tensor:
        shift = torch.stack([torch.roll(table, int(row.sum()) % 7, dims=1) for row in codes])
        return shift + 0.1 * codes[:, :1, None]

    found = in_rounds(
        lambda codes, where: plain(codes).gather(1, where[..., None].expand(-1, -1, 14)),
        12,
        5,
        sources([4, 9]),
        torch.device("cpu"),
    )
    assert found.tolist() == [rounds_by_hand(plain, 12, 5, seed) for seed in (4, 9)]
    assert int(found.min()) >= 0


def test_a_low_temperature_takes_the_likeliest_in_every_round():
    table = torch.randn(12, 14, generator=torch.Generator().manual_seed(3))
    found = in_rounds(lambda codes, where: table[where], 12, 5, sources([4, 9]), torch.device("cpu"), temperature=1e-4)
    assert found.tolist() == [table[:, SPECIAL:].argmax(dim=1).tolist()] * 2


@pytest.mark.parametrize(
    ("values", "message"),
    [({"temperature": 0}, "temperature is 0"), ({"top_k": -1}, "top_k is -1"), ({"top_p": 0}, "top_p is 0")],
)
def test_draws_that_mean_nothing_are_refused(values, message: str):
    with pytest.raises(ValueError, match=message):
        Draws(**values)
