"""Views of one object from all around: three axes, views before rows before columns.

More views than trained are meant to be the same turn in smaller steps, which interpolated positions make of them. By
most other methods they go around twice (docs/multi_view.md).
"""

from __future__ import annotations

from modalities.contracts import Extrapolation, GenerateOptions, Modality

MULTI_VIEW = Modality(
    name="multi-view",
    axes=("view", "row", "column"),
    media_channels=3,
    formats=("frames", "contact-sheet", "gif", "mp4"),
    codec={"kind": "per-frame", "of": "builtin/image"},
    generator={"patch": (1, 4, 4)},
    default_size=(8, 64, 64),
    largest_size=(64, 4096, 4096),
    defaults=GenerateOptions(extrapolation=Extrapolation(method="position-interpolation")),
)
