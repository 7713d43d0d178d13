"""What `parhelion train` says of an objective that cannot be trained with, before it computes anything."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from modalities.training.command import train_from_yaml


def training_file(folder: Path, **changes: object) -> Path:
    """A training whose codec is not there, so that whatever needs it would say so."""
    values = {"train": "generator", "name": "tiny", "modality": "image", "corpus": "sprites", "objective": "sliced"}
    values |= {"folder": str(folder / "run"), "export": str(folder / "out"), "codec": str(folder / "nowhere")}
    values |= {"corpora": str(folder / "corpora"), "loop": {"steps": 1}} | changes
    path = folder / "training.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def test_sliced_score_matching_of_a_compiled_network_is_refused_before_the_pool(tmp_path):
    with pytest.raises(ValueError, match="`sliced` differentiates the network twice, which a compiled network cannot"):
        train_from_yaml(training_file(tmp_path), {"device": "cpu", "compile": True})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["training.yaml"], "nothing was fetched or written"


def test_what_can_be_trained_goes_on_to_its_codec(tmp_path):
    for name, compiled in (("sliced", False), ("lcss", True), ("lcss-plain", True)):
        with pytest.raises(ValueError, match="train the codec first"):
            train_from_yaml(training_file(tmp_path, objective=name), {"device": "cpu", "compile": compiled})


def test_an_unknown_objective_has_the_nearest_named(tmp_path):
    with pytest.raises(ValueError, match="unknown objective `lccs`; did you mean `lcss`"):
        train_from_yaml(training_file(tmp_path, objective="lccs"), {"device": "cpu"})


def test_a_generator_with_a_loss_of_its_own_takes_no_objective(tmp_path):
    with pytest.raises(ValueError, match="objective `lcss` is for a velocity or score, and generator `mar`"):
        train_from_yaml(training_file(tmp_path, objective="lcss", family="mar"), {"device": "cpu"})
