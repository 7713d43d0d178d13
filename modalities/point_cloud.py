"""Coloured point clouds: one axis of points without order; channels x, y, z, red, green, blue in -1..1."""

from __future__ import annotations

from modalities.contracts import GenerateOptions, Modality

POINT_CLOUD = Modality(
    name="point-cloud",
    axes=("point",),
    media_channels=6,
    formats=("ply", "pcd", "xyz", "glb", "mesh", "still", "turntable"),
    codec={"kind": "points"},
    generator={"patch": (1,), "unordered": True, "coordinates": 3, "fourier_bands": 6},
    default_size=(256,),
    largest_size=(65_536,),
    defaults=GenerateOptions(),
    is_bytes=False,
    enlargement="repetition",
)
