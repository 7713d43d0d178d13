"""The multi-view benchmark: its measure, its scores, and that its page says what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from multi_view_following import luck, outcomes, real_turns, summary
from multi_view_page import write_text
from nearest_views import DRAWS, ViewIndex, reduced, references
from point_cloud_following import Prompt

from modalities.training.corpora.furniture import Furniture
from modalities.training.corpora.shapes import PALETTE, Shape, Shapes
from modalities.training.corpora.solids import SOLIDS, STRETCHED
from modalities.training.corpora.turntable_views import SIDE, VIEWS, TurntableViews

ROOT = Path(__file__).resolve().parents[2]
KNOWN = [("house", "red"), ("house", "blue"), ("mug", "red"), ("mug", "green"), ("sphere", "green"), ("cone", "blue")]


@pytest.fixture(scope="module")
def corpus() -> TurntableViews:
    """Solids alone: no mesh of the package is needed."""
    none = Furniture([], np.zeros((0, 1, 3), np.float32), np.zeros((0, 1, 3), np.float32))
    return TurntableViews(Shapes(none, 4, 1, 5), np.zeros((0, VIEWS, SIDE, SIDE, 5), np.uint8), 5)


@pytest.fixture(scope="module")
def index(corpus: TurntableViews) -> ViewIndex:
    return ViewIndex.of(corpus, [Shape(noun, None, colour, None) for noun, colour in KNOWN], seed=3)


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    return [Prompt(f"p{i}", "en", noun, colour, f"{colour} {noun}") for i, (noun, colour) in enumerate(KNOWN)]


@pytest.fixture(scope="module")
def turns(corpus: TurntableViews, prompts: list[Prompt]) -> torch.Tensor:
    return real_turns(prompts, corpus)


def test_a_perfect_model_scores_high_and_luck_low(index: ViewIndex, prompts: list[Prompt], turns: torch.Tensor) -> None:
    seen = index.see(turns)
    best = summary(outcomes(prompts, seen))
    assert best["noun"] == best["colour"] == best["both"] == best["in_order"] == 1
    assert best["sides"] > 0.8
    assert 1 <= best["distinct"] < len(KNOWN), "a sphere looks the same from everywhere, a house does not"
    assert luck(prompts, seen)["noun"] == pytest.approx(4 / 30, abs=1e-4), "two houses and two mugs"
    assert luck(prompts, seen)["colour"] == pytest.approx(6 / 30, abs=1e-4), "three colours, two of each"


def test_sides_out_of_order_are_told(index: ViewIndex, prompts: list[Prompt], turns: torch.Tensor) -> None:
    mug = turns[2:3]
    assert index.see(mug).turned == [0]
    assert index.see(mug.roll(-1, dims=2)).turned == [1]
    rows = outcomes(prompts[2:3], index.see(mug.roll(-1, dims=2)))
    assert summary(rows)["in_order"] == 0
    assert index.see(turns[4:5]).turned == [None]


def test_every_size_is_compared_at_the_same_one(index: ViewIndex, turns: torch.Tensor) -> None:
    larger = turns.repeat_interleave(2, dim=3).repeat_interleave(2, dim=4)
    torch.testing.assert_close(reduced(larger), reduced(turns))
    assert index.see(larger).noun == index.see(turns).noun


def test_references_hold_every_solid_in_every_colour(corpus: TurntableViews) -> None:
    found = list(references(corpus))
    wanted = sum((3 if noun in STRETCHED else 1) * DRAWS * len(PALETTE) for noun in SOLIDS)
    assert len(found) == wanted
    assert {shape.noun for shape in found} == set(SOLIDS)


def test_the_page_says_what_was_measured(tmp_path: Path) -> None:
    source = max((ROOT / "benchmarks" / "results").glob("multi_view_following-*.json"))
    write_text(json.loads(source.read_text(encoding="utf-8")), tmp_path, source)
    written = (tmp_path / "multi_view.md").read_text(encoding="utf-8")
    assert written == (ROOT / "docs" / "multi_view.md").read_text(encoding="utf-8")
