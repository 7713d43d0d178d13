"""The mel spectrogram of a sound as a picture with axes: seconds across, Hertz upwards, decibels as colours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from modalities.codecs.mel_spectrogram import MelConfig, MelSpectrogram
from orchestrator.exporters.audio import sound_of
from orchestrator.exporters.image import write_png

BINS = 160
RANGE = 80.0
"""Decibels below the loudest point that are still drawn."""
HEIGHT = 320
WIDTHS = (480, 1600)
"""Least and largest width of the drawing, without its axes; 240 pixels for a second in between."""
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 12, 44
BACKGROUND, INK = (255, 255, 255), (40, 40, 40)
COLOURS = (
    (0, 0, 4),
    (40, 11, 84),
    (101, 21, 110),
    (159, 42, 99),
    (212, 72, 66),
    (245, 125, 21),
    (250, 193, 39),
    (252, 255, 164),
)
"""From quiet to loud: dark violet, red, orange, pale yellow; lightness grows evenly."""
FREQUENCIES = (125, 250, 500, 1000, 2000, 4000, 8000, 16000)


def write_spectrogram(media: Tensor, path: Path, facts: Mapping[str, Any]) -> None:
    """A PNG of the mel spectrogram of `[1, samples]` in -1..1, with what made it inside."""
    samples, rate = sound_of(media, facts)
    write_png(spectrogram_picture(samples, rate), path, facts)


def spectrogram_picture(samples: Tensor, rate: int) -> Tensor:
    """The picture `[3, height, width]` in uint8 of samples `[N]`."""
    config = MelConfig(rate=rate, mels=BINS, highest=rate / 2)
    mel = _mel(samples, config)
    seconds = len(samples) / rate
    width = min(max(round(240 * seconds), WIDTHS[0]), WIDTHS[1])
    canvas = Image.new("RGB", (LEFT + width + RIGHT, TOP + HEIGHT + BOTTOM), BACKGROUND)
    canvas.paste(_coloured(mel).resize((width, HEIGHT), Image.Resampling.BILINEAR), (LEFT, TOP))
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=13)
    draw.rectangle((LEFT - 1, TOP - 1, LEFT + width, TOP + HEIGHT), outline=INK)
    _draw_times(draw, font, seconds, width)
    _draw_frequencies(draw, font, config)
    return torch.from_numpy(np.array(canvas)).permute(2, 0, 1).contiguous()


def _mel(samples: Tensor, config: MelConfig) -> Tensor:
    """Decibels `[bins, frames]` relative to the loudest point, -RANGE..0; low filters that no bin falls into are
    filled from their neighbours."""
    whole = -(-max(len(samples), 2 * config.window) // config.hop) * config.hop
    padded = torch.nn.functional.pad(samples.float(), (0, whole - len(samples)))
    transform = MelSpectrogram(config)
    found: Tensor = 20 * transform(padded[None, None])[0, :, : -(-len(samples) // config.hop)]
    is_empty = transform.filters.sum(dim=0) == 0
    last = torch.where(is_empty, -1, torch.arange(config.mels)).cummax(dim=0).values
    first = int((~is_empty).nonzero()[0])
    found = found[last.clamp_min(first)]
    return (found - found.max()).clamp_min(-RANGE)


def _coloured(decibels: Tensor) -> Image.Image:
    """Decibels `[bins, frames]` as a picture of that size, high bins at the top."""
    place = (decibels.flip(0) / RANGE + 1).numpy() * (len(COLOURS) - 1)
    channels = [np.interp(place, np.arange(len(COLOURS)), [colour[i] for colour in COLOURS]) for i in range(3)]
    return Image.fromarray(np.stack(channels, axis=-1).round().astype(np.uint8))


def _draw_times(draw: ImageDraw.ImageDraw, font: Any, seconds: float, width: int) -> None:
    step = next((step for step in (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120) if seconds / step <= 10), 300.0)
    bottom = TOP + HEIGHT
    for i in range(int(seconds / step + 1e-6) + 1):
        x = LEFT + round(i * step / seconds * width)
        draw.line((x, bottom, x, bottom + 5), fill=INK)
        draw.text((x, bottom + 7), f"{i * step:g}", fill=INK, font=font, anchor="ma")
    draw.text((LEFT + width // 2, bottom + 24), "seconds", fill=INK, font=font, anchor="ma")


def _draw_frequencies(draw: ImageDraw.ImageDraw, font: Any, config: MelConfig) -> None:
    top = float(mel_of(config.highest))
    for frequency in (value for value in FREQUENCIES if value <= config.highest):
        y = TOP + HEIGHT - round(mel_of(frequency) / top * HEIGHT)
        draw.line((LEFT - 5, y, LEFT, y), fill=INK)
        draw.text((LEFT - 9, y), f"{frequency}", fill=INK, font=font, anchor="rm")
    draw.text((4, TOP + HEIGHT + 7), "Hz", fill=INK, font=font)


def mel_of(frequency: float) -> float:
    """Slaney's mel of a frequency in Hz: linear to 1000 Hz, logarithmic above."""
    if frequency < 1000:
        return frequency * 3 / 200
    return 15 + float(np.log(frequency / 1000)) * 27 / float(np.log(6.4))
