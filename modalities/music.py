"""Music: sounds that last longer and follow the prompt harder.

Guidance is that of the released Lumina music demonstration. A model of short sounds is stretched to this length, so
positions are rescaled unless the model says otherwise.
"""

from __future__ import annotations

from modalities.contracts import Extrapolation, GenerateOptions, Guidance, Modality

MUSIC = Modality(
    name="music",
    axes=("sample",),
    media_channels=1,
    formats=("wav", "flac", "ogg", "spectrogram"),
    codec={"kind": "mel-griffin-lim"},
    generator={"patch": (2,)},
    default_size=(128_000,),
    largest_size=(16_000 * 1200,),
    defaults=GenerateOptions(
        guidance=Guidance(scale=5.0),
        extrapolation=Extrapolation(method="time-aware", proportional_attention=True),
    ),
    rate=16_000.0,
    is_bytes=False,
    enlargement="latents",
)
