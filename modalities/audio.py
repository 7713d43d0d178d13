"""Sounds: one axis of samples, 16,000 a second, one channel."""

from __future__ import annotations

from modalities.contracts import GenerateOptions, Modality

AUDIO = Modality(
    name="audio",
    axes=("sample",),
    media_channels=1,
    formats=("wav", "flac", "ogg", "spectrogram"),
    default_size=(32_256,),
    largest_size=(16_000 * 600,),
    defaults=GenerateOptions(),
    rate=16_000.0,
    is_bytes=False,
    enlargement="latents",
)
