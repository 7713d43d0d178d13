"""Prompts outside what a model knows: found, with the nearest thing that it does know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from planning import GOOD

from modalities.text.builtin import load
from modalities.weights.description import describe
from orchestrator.__main__ import main
from orchestrator.errors import ModelError
from orchestrator.plan import Prompt
from orchestrator.stages.prompt_check import check_prompts, read_concepts

CONCEPTS = {
    "🍎": {"en": ["apple"], "de": ["roter Apfel", "Apfel"], "ru": ["красное яблоко", "яблоко"], "ja": ["りんご"]},
    "🐘": {"en": ["elephant"], "fr": ["éléphant"], "zh": ["大象", "象"], "ar": ["فيل"]},
    "🎸": {"en": ["guitar"], "es": ["guitarra"], "de": ["Gitarre"]},
    "🚀": {"en": ["rocket"], "fr": ["fusée"]},
}


def write_concepts(folder: Path, threshold: float = 0.68) -> None:
    rows = [{"emoji": emoji, "name": names["en"][0], "names": names} for emoji, names in CONCEPTS.items()]
    values = {"format": "parhelion-concepts/1", "threshold": threshold, "concepts": rows}
    (folder / "concepts.json").write_text(json.dumps(values), encoding="utf-8")


@pytest.fixture(scope="module")
def encoder():
    return load({"kind": "builtin"}, "cpu", torch.float32)


@pytest.mark.parametrize(
    "prompt",
    [
        "an APPLE on a table",
        "three apples",
        "zwei rote Äpfel und ein Apfel",
        "Всё чёрное, кроме яблок",
        "赤いりんごの絵",
        "un éléphant gris",
        "灰色的大象",
        "الفيل على خلفية زرقاء",
        "dos guitarras",
        "🍎🍎 on white",
        "une fusée rouge",
    ],
)
def test_known_names_are_found_in_every_language_without_the_encoder(folder, prompt):
    write_concepts(folder / "tiny")
    concepts = read_concepts(folder / "tiny")
    assert concepts is not None
    assert concepts.names_one(prompt)


@pytest.mark.parametrize("prompt", ["a courtroom", "ein Zahnarzt", "расписание поездов", "地下鉄の駅", "un miroir"])
def test_other_things_are_no_known_names(folder, prompt):
    write_concepts(folder / "tiny")
    concepts = read_concepts(folder / "tiny")
    assert concepts is not None
    assert not concepts.names_one(prompt)


def test_outside_prompts_are_reported_with_the_nearest_concept(folder, encoder):
    write_concepts(folder / "tiny")
    texts = ["a red apple", "two lawyers in a courtroom", "eine elektrische Gitarre", "a spaceship", "ein Zahnarzt"]
    prompts = [Prompt(f"p{n}", text) for n, text in enumerate(texts)]
    found = check_prompts(prompts, describe(folder / "tiny"), encoder, "image")
    assert "p1" in [report.prompt_id for report in found]
    assert "p4" in [report.prompt_id for report in found]
    assert not {"p0", "p2"} & {report.prompt_id for report in found}
    lines = {report.prompt_id: str(report) for report in found}
    assert lines["p1"].startswith("p1 `two lawyers in a courtroom`: model `image` knows nothing like it; nearest: ")
    assert "Alpha-VLLM/Lumina-Next-SFT-diffusers" in lines["p1"]


def test_meaning_counts_where_names_do_not(folder, encoder):
    write_concepts(folder / "tiny")
    description = describe(folder / "tiny")
    prompts = [Prompt("a", "un cohete"), Prompt("b", "une pomme")]
    assert check_prompts(prompts, description, encoder) == []
    write_concepts(folder / "tiny", threshold=1.1)
    nearest = {report.prompt_id: report.nearest for report in check_prompts(prompts, description, encoder)}
    assert nearest == {"a": "rocket", "b": "apple"}


def test_a_model_without_concepts_knows_everything(folder, encoder):
    assert check_prompts([Prompt("a", "a courtroom")], describe(folder / "tiny"), encoder) == []


def test_damaged_concepts_are_a_model_error(folder):
    (folder / "tiny" / "concepts.json").write_text("{}")
    with pytest.raises(ModelError, match=r"concepts\.json: damaged"):
        read_concepts(folder / "tiny")


def test_plan_lists_them(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    write_concepts(folder / "tiny")
    (folder / "w.yaml").write_text(GOOD.replace("赤いりんご", "two lawyers in a courtroom"), encoding="utf-8")
    assert main(["plan", "w.yaml", "--check-prompts"]) == 0
    output = capsys.readouterr().out
    assert "prompts outside what the models know: 1 of 2" in output
    assert "p00001 `two lawyers in a courtroom`" in output
    assert main(["plan", "w.yaml", "--check-prompts", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["prompts_outside"][0]["prompt_id"] == "p00001"
    (folder / "w.yaml").write_text(GOOD, encoding="utf-8")
    assert main(["plan", "w.yaml", "--check-prompts"]) == 0
    assert "prompts: all 2 are within what the models know" in capsys.readouterr().out
