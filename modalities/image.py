"""Still pictures: two axes, rows before columns."""

from __future__ import annotations

from modalities.contracts import GenerateOptions, Modality

IMAGE = Modality(
    name="image",
    axes=("row", "column"),
    media_channels=3,
    formats=("png", "jpeg", "webp"),
    codec={"kind": "image-autoencoder"},
    generator={"patch": (2, 2)},
    default_size=(64, 64),
    largest_size=(16_384, 16_384),
    defaults=GenerateOptions(),
)
