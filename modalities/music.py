"""Music: sounds that last longer and follow the prompt harder."""

from __future__ import annotations

from modalities.contracts import GenerateOptions, Modality

MUSIC = Modality(
    name="music",
    axes=("sample",),
    media_channels=1,
    formats=("wav", "flac", "ogg", "spectrogram"),
    default_size=(128_000,),
    largest_size=(16_000 * 1200,),
    defaults=GenerateOptions(),
    rate=16_000.0,
    is_bytes=False,
    enlargement="latents",
)
