"""Short videos: three axes, frames before rows before columns, eight frames a second."""

from __future__ import annotations

from modalities.contracts import GenerateOptions, Modality

VIDEO = Modality(
    name="video",
    axes=("frame", "row", "column"),
    media_channels=3,
    formats=("mp4", "webm", "gif", "animated-webp", "frames", "poster", "contact-sheet"),
    codec={"kind": "per-frame", "of": "builtin/image"},
    generator={"patch": (2, 4, 4)},
    default_size=(12, 64, 64),
    largest_size=(1024, 4096, 4096),
    defaults=GenerateOptions(),
    rate=8.0,
)
