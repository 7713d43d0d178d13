"""The six modality values, and that the catalog tells planning the same."""

from __future__ import annotations

from dataclasses import fields

import pytest

from modalities.catalog import CODECS, MODALITIES, resolve
from modalities.contracts import GenerateOptions, Modality
from modalities.generators.nextdit.config import NextDiTConfig
from modalities.weights.description import modality_defaults

VALUES = {name: resolve("modality", name) for name in MODALITIES}


@pytest.mark.parametrize("name", sorted(MODALITIES))
def test_the_catalog_says_what_the_value_says(name: str):
    value, facts = VALUES[name], MODALITIES[name].facts
    assert isinstance(value, Modality)
    assert value.name == name
    assert len(value.axes) == len(str(facts["axes"]).split()) == len(value.default_size) == len(value.largest_size)
    assert tuple(int(n) for n in str(facts["default"]).split()) == value.default_size
    assert tuple(int(n) for n in str(facts["largest"]).split()) == value.largest_size
    assert facts["channels"] == value.media_channels
    assert facts.get("rate", 0) == value.rate
    assert all(d <= most for d, most in zip(value.default_size, value.largest_size, strict=True))


@pytest.mark.parametrize("name", sorted(MODALITIES))
def test_the_catalog_tells_every_default_that_differs_from_the_general_ones(name: str):
    value, plain = VALUES[name], GenerateOptions()
    assert isinstance(value, Modality)
    told = modality_defaults(name)
    for field in fields(GenerateOptions):
        own, general = getattr(value.defaults, field.name), getattr(plain, field.name)
        assert (own != general) == (field.name in told), field.name
        if field.name in ("guidance", "extrapolation") and field.name in told:
            assert type(own)(**told[field.name]) == own
        elif field.name in told:
            assert told[field.name] == own


@pytest.mark.parametrize("name", sorted(MODALITIES))
def test_its_codec_and_generator_fit_its_axes_and_its_size(name: str):
    value = VALUES[name]
    assert isinstance(value, Modality)
    config = NextDiTConfig.from_mapping(
        {"dim": 48, "heads": 4, "kv_heads": 2, "in_channels": 80, "trained_tokens": (2,) * len(value.axes)}
        | dict(value.generator)
    )
    assert config.axes == len(value.axes)
    assert config.unordered == MODALITIES[name].facts.get("unordered", False) == (name == "point-cloud")
    entry = CODECS[str(value.codec["kind"])]
    stride = (4, 4) if "of" in value.codec else (int(entry.facts["stride"]),)
    whole = (1,) * (len(value.axes) - len(stride)) if "of" in value.codec else ()
    strides = (*whole, *stride) if "of" in value.codec else stride * len(value.axes)
    units = [s * p for s, p in zip(strides, config.patch, strict=True)]
    assert not [n % u for n, u in zip(value.default_size, units, strict=True) if n % u]


def test_music_is_longer_and_guided_harder_than_sound():
    audio, music = VALUES["audio"], VALUES["music"]
    assert isinstance(audio, Modality)
    assert isinstance(music, Modality)
    assert music.default_size[0] > 3 * audio.default_size[0]
    assert music.defaults.guidance.scale > audio.defaults.guidance.scale
    assert (audio.axes, audio.rate, audio.media_channels) == (music.axes, music.rate, music.media_channels)
