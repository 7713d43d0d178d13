"""Sounds: one axis of samples, 16,000 a second, one channel.

Guidance is that of the released Lumina audio demonstration.
"""

from __future__ import annotations

from modalities.contracts import GenerateOptions, Guidance, Modality

AUDIO = Modality(
    name="audio",
    axes=("sample",),
    media_channels=1,
    formats=("wav", "flac", "ogg", "spectrogram"),
    codec={"kind": "mel-griffin-lim"},
    generator={"patch": (2,)},
    default_size=(32_256,),
    largest_size=(16_000 * 600,),
    defaults=GenerateOptions(guidance=Guidance(scale=3.0)),
    rate=16_000.0,
    is_bytes=False,
    enlargement="latents",
)
