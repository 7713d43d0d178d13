"""Corpora small enough to draw in a test, in the folders and files of the real packages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modalities.codecs.image_autoencoder import ImageAutoencoder, ImageAutoencoderConfig
from modalities.training.corpora.concepts import CONCEPTS
from modalities.training.corpora.packages import CLDR, CLDR_DERIVED, FLUENT, NOTO
from modalities.training.corpora.phrases import LANGUAGES
from modalities.training.corpora.sprites import SIDE, Sprites
from modalities.weights.checkpoint import write_tensors


def disc(colour: tuple[int, int, int], radius: float) -> np.ndarray:
    """A disc on a transparent square, as an RGBA array."""
    row, column = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    inside = row**2 + column**2 < (radius * SIDE) ** 2
    return np.where(inside[..., None], (*colour, 255), 0).astype(np.uint8)


@pytest.fixture(scope="session")
def sprites() -> Sprites:
    """Three concepts in two styles: discs whose colour says the concept and whose radius says the style."""
    colours = ((200, 30, 30), (30, 200, 30), (30, 30, 200))
    return np.stack([np.stack([disc(colour, radius) for radius in (0.4, 0.33)]) for colour in colours])


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All concepts as discs and with made-up names, laid out as the unpacked packages are."""
    folder = tmp_path_factory.mktemp("corpora")
    three_d, flat = folder / FLUENT.stem / "assets", folder / NOTO.stem / "img" / "google" / "64"
    three_d.mkdir(parents=True)
    flat.mkdir(parents=True)
    for i, emoji in enumerate(CONCEPTS):
        picture = Image.fromarray(disc((i, 255 - i, 90), 0.5)).resize((24, 24))
        ending = "-fe0f" if i % 5 == 0 else ""
        picture.save(three_d / f"{ord(emoji):04x}{ending}.webp", lossless=True)
        picture.save(flat / f"{ord(emoji):04x}{ending}.png")
    for package, key in ((CLDR, "annotations"), (CLDR_DERIVED, "annotationsDerived")):
        for language in LANGUAGES:
            place = folder / package.stem / key / language
            place.mkdir(parents=True)
            rows = {e: {"tts": [f"{language} {i}"], "default": ["shared", f"word {i}"]} for i, e in enumerate(CONCEPTS)}
            table = {key: {"annotations": rows if package is CLDR else {}}}
            (place / "annotations.json").write_text(json.dumps(table), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def codec_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny untrained image autoencoder, as its training exports one."""
    folder = tmp_path_factory.mktemp("codec")
    config = ImageAutoencoderConfig(width=(8, 8), encoder_blocks=(1, 1), decoder_blocks=(1, 1))
    write_tensors(folder / "codec.safetensors", ImageAutoencoder(config).state_dict())
    note = {"kind": "image-autoencoder", "config": config.to_mapping()}
    (folder / "codec.json").write_text(json.dumps(note), encoding="utf-8")
    return folder
