"""Sounds to mels and back: exact frames, the published mel, pitch kept, no clicks, nothing of the batch in a sound."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from modalities.codecs.griffin_lim import (
    griffin_lim,
    inverse,
    nonnegative_spectrum,
    overlap_add,
    spectrum,
    start_phase,
    window_weight,
)
from modalities.codecs.mel_spectrogram import (
    LOUDEST,
    MelConfig,
    MelGriffinLimConfig,
    MelSpectrogram,
    faded,
    load,
)
from modalities.weights.configuration import config_from, plain_values

RATE = 16000


def codec(**config: object):
    return load({"kind": "mel-griffin-lim", "config": config}, "cpu", torch.float32)


def tones(*frequencies: float, samples: int = 16128) -> torch.Tensor:
    """A harmonic sound of each frequency, `[N, 1, samples]`."""
    time = torch.arange(samples) / RATE
    parts = [sum(0.2 / k * torch.sin(2 * math.pi * k * f * time) for k in range(1, 7)) for f in frequencies]
    return torch.stack(parts)[:, None]


def pitch(sound: torch.Tensor) -> float:
    """The pitch of a sound `[N]` in Hz, 60 to 1200: the first clear peak of its autocorrelation, 8 times as fine."""
    size, rate = len(sound), 8 * RATE
    window = torch.hann_window(size, dtype=torch.float64)
    powers = (torch.fft.rfft(part, n=2 * size).abs().square() for part in (sound.double() * window, window))
    alike, weight = (torch.fft.irfft(power, n=16 * size)[: rate // 60] for power in powers)
    alike = (alike / weight)[rate // 1200 :]
    peaks = (alike[1:-1] > alike[:-2]) & (alike[1:-1] >= alike[2:]) & (alike[1:-1] > 0.85 * alike.max())
    return rate / (int(peaks.nonzero()[0]) + 1 + rate // 1200)


def slaney(frequency: float) -> float:
    return frequency * 3 / 200 if frequency < 1000 else 15 + math.log(frequency / 1000) / (math.log(6.4) / 27)


def test_it_is_the_mel_of_the_released_models():
    # next-dit.md 6.2, computed plainly in float64: reflected by 384, frames not centred, Slaney filters of unit area.
    sound = 0.3 * torch.randn(1, 1, 4096, generator=torch.Generator().manual_seed(0))
    padded = np.pad(sound[0, 0].double().numpy(), 384, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    frames = np.stack([padded[i * 256 : i * 256 + 1024] * window for i in range(16)])
    magnitudes = np.sqrt(np.abs(np.fft.rfft(frames)) ** 2 + 1e-9)
    edges = np.linspace(0, slaney(8000), 82)
    hertz = np.where(edges < 15, edges * 200 / 3, 1000 * np.exp((edges - 15) * math.log(6.4) / 27))
    bins = np.arange(513) * RATE / 1024
    filters = np.zeros((513, 80))
    for m in range(80):
        rising = (bins - hertz[m]) / (hertz[m + 1] - hertz[m])
        falling = (hertz[m + 2] - bins) / (hertz[m + 2] - hertz[m + 1])
        filters[:, m] = np.maximum(0, np.minimum(rising, falling)) * 2 / (hertz[m + 2] - hertz[m])
    expected = np.log10(np.maximum(magnitudes @ filters, 1e-5)).T
    found = MelSpectrogram(MelConfig())(sound)
    assert found.shape == (1, 80, 16)
    np.testing.assert_allclose(found[0].numpy(), expected, atol=2e-4)


def test_latents_are_normalised_by_the_configuration():
    mean, std = [0.1 * i for i in range(80)], [1 + 0.01 * i for i in range(80)]
    sound = tones(440.0)
    plain, scaled = codec().encode(sound), codec(mean=mean, std=std).encode(sound)
    torch.testing.assert_close(scaled, (plain - torch.tensor(mean)[:, None]) / torch.tensor(std)[:, None])
    restored = codec(mean=mean, std=std).mel.raw(scaled)
    torch.testing.assert_close(restored, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("frequency", [130.8, 261.6, 440.0, 987.8])
def test_a_sound_comes_back_at_its_pitch(frequency: float):
    both = codec()
    sound = tones(frequency)
    back = both.decode(both.encode(sound))
    assert back.shape == sound.shape
    assert pitch(sound[0, 0]) == pytest.approx(frequency, rel=0.005)
    assert pitch(back[0, 0]) == pytest.approx(frequency, rel=0.02)
    wanted, found = (both.encode(wave)[:, :, 4:-4] for wave in (sound, back))
    loud = wanted > wanted.max() - 2  # within 40 dB; between the harmonics of a pure tone there is nothing to restore
    assert 20 * (found - wanted)[loud].abs().mean() < 3.0


def test_a_sound_does_not_depend_on_its_batch():
    both = codec(steps=3)
    sounds = tones(200.0, 300.0, 500.0)
    latents = both.encode(sounds)
    torch.testing.assert_close(both.encode(sounds[1:2]), latents[1:2], rtol=0, atol=0)
    decoded = both.decode(latents)
    for i in range(3):
        torch.testing.assert_close(both.decode(latents[i : i + 1])[0], decoded[i], rtol=0, atol=0)


def test_decoded_sounds_neither_clip_nor_click_whatever_the_latents_are():
    both = codec(steps=2)
    wild = torch.stack([torch.full((80, 8), 9.0), torch.full((80, 8), -9.0)])
    found = both.decode(wild)
    assert found.isfinite().all()
    assert found.abs().max() <= LOUDEST + 1e-6
    assert found[:, 0, 0].abs().max() == 0
    assert found[:, 0, -1].abs().max() < 1e-3


def test_fades_begin_and_end_at_zero_and_leave_the_middle():
    found = faded(torch.ones(100), 10, 20)
    assert found[0] == 0
    assert found[-1] == pytest.approx(0, abs=1e-6)
    assert (found[10:80] == 1).all()
    assert (found[:10].diff() > 0).all()
    assert len(faded(torch.ones(5), 10, 20)) == 5


def test_overlap_add_undoes_the_frames():
    window = torch.hann_window(32)
    samples = torch.randn(32 + 8 * 9, generator=torch.Generator().manual_seed(0))
    frames = spectrum(samples, window, 8)
    back = inverse(frames, window, 8, window_weight(window, 8, frames.shape[1]))
    torch.testing.assert_close(back[8:-8], samples[8:-8], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(overlap_add(torch.ones(3, 4), 2), torch.tensor([1.0, 1, 2, 2, 2, 2, 1, 1]))


def test_griffin_lim_comes_closer_with_every_step():
    window = torch.hann_window(256)
    sound = tones(300.0, samples=4096)[0, 0]
    wanted = spectrum(sound, window, 64).abs()
    errors = []
    for steps in (0, 4, 32):
        found = spectrum(griffin_lim(wanted, window, 64, steps, 0.99), window, 64).abs()
        errors.append(float((found - wanted).norm() / wanted.norm()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.1


def test_the_start_phase_turns_with_the_frequency():
    window = torch.hann_window(256)
    time = torch.arange(4096) / RATE
    magnitudes = spectrum(torch.sin(2 * math.pi * 1000 * time), window, 64).abs()
    phase = start_phase(magnitudes, 64)[16]
    step = (phase.diff() + math.pi) % (2 * math.pi) - math.pi
    expected = (2 * math.pi * 1000 * 64 / RATE + math.pi) % (2 * math.pi) - math.pi
    assert float(step.median()) == pytest.approx(expected, abs=0.05)
    torch.testing.assert_close(start_phase(magnitudes, 64), start_phase(magnitudes, 64), rtol=0, atol=0)


def test_magnitudes_are_not_negative_and_have_the_mels():
    filters = MelSpectrogram(MelConfig()).filters
    true = torch.rand(513, 3, generator=torch.Generator().manual_seed(0))
    found = nonnegative_spectrum(filters.T @ true, filters, 30)
    assert (found >= 0).all()
    assert float((filters.T @ (found - true)).norm() / (filters.T @ true).norm()) < 0.02


@pytest.mark.parametrize("shape", [(1, 2, 512), (1, 1, 500), (1, 1, 256), (512,)])
def test_media_of_another_shape_are_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match="a multiple of 256"):
        codec().encode(torch.zeros(shape))


def test_latents_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\[B, 80, frames\]"):
        codec().decode(torch.zeros(1, 79, 4))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"hop": 300}, "multiple of hop"),
        ({"highest": 9000}, "0..8000 Hz"),
        ({"mean": [0.0]}, "mean has 1"),
        ({"std": [0.0] * 80}, "above 0"),
        ({"mells": 80}, "unknown mells"),
    ],
)
def test_a_wrong_configuration_is_named(config: dict, words: str):
    with pytest.raises(ValueError, match=words):
        codec(**config)


def test_a_description_with_a_file_is_refused():
    with pytest.raises(ValueError, match="unknown file"):
        load({"kind": "mel-griffin-lim", "file": "x"}, "cpu", torch.float32)


def test_a_configuration_survives_json():
    config = MelGriffinLimConfig(mean=(0.5,) * 80, steps=7)
    assert config_from(MelGriffinLimConfig, plain_values(config), "mel") == config
