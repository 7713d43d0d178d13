"""Sound files: round trips, loudness as asked, equal bytes for equal input, unusable sounds named."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from orchestrator.catalog import EXPORTERS, resolve
from orchestrator.exporters import image
from orchestrator.exporters.audio import as_int16, prepared, read_facts, with_serial
from orchestrator.exporters.loudness import high_pass, integrated_loudness, shelf, true_peak

RATE = 16000
FACTS = {
    "id": "p0",
    "prompt": '🎹 do dièse 4 — "quoted" العربية\nsecond line',
    "seed": 2**62 + 1,
    "workflow": "name: x\nprompts: [🎹]\n",
    "rate": 16000.0,
    "modality": "audio",
    "options": {},
}
KEPT = {name: FACTS[name] for name in ("id", "prompt", "seed", "workflow")}
SOUNDS = ("wav", "flac", "ogg")


def tone(seconds: float = 1.0, frequency: float = 440.0, height: float = 0.3, rate: int = RATE) -> torch.Tensor:
    time = torch.arange(int(seconds * rate)) / rate
    return (height * torch.sin(2 * math.pi * frequency * time))[None]


def written(name: str, folder: Path, media: torch.Tensor | None = None, **options: object) -> Path:
    path = folder / "aside.part"
    resolve(EXPORTERS, name)(tone() if media is None else media, path, {**FACTS, "options": options})
    return path


def read(path: Path) -> torch.Tensor:
    samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
    assert rate == RATE
    return torch.from_numpy(samples[:, 0].copy())


@pytest.mark.parametrize("name", SOUNDS)
def test_a_file_holds_the_sound_and_what_made_it(name: str, tmp_path: Path):
    path = written(name, tmp_path)
    assert read_facts(path) == KEPT
    expected, _ = prepared(tone(), FACTS)
    error = (read(path) - expected).abs().max()
    assert error < (0.01 if name == "ogg" else 1 / 32000)


def test_wav_and_flac_hold_the_same_whole_numbers(tmp_path: Path):
    expected = as_int16(prepared(tone(), FACTS)[0]).numpy()
    for name in ("wav", "flac"):
        found, _ = soundfile.read(written(name, tmp_path), dtype="int16")
        np.testing.assert_array_equal(found, expected)


def test_wav_in_float32_is_exact(tmp_path: Path):
    path = written("wav", tmp_path, samples="float32")
    assert soundfile.info(path).subtype == "FLOAT"
    torch.testing.assert_close(read(path).float(), prepared(tone(), FACTS)[0].float(), rtol=0, atol=0)


def test_equal_input_gives_equal_bytes_in_any_process(tmp_path: Path):
    names = [*SOUNDS, "spectrogram"]
    here = {name: written(name, tmp_path).read_bytes() for name in names}
    code = "import sys, pathlib; from tests.orchestrator.test_exporters_audio import written;"
    code += (
        "[written(name, pathlib.Path(sys.argv[1])).rename(pathlib.Path(sys.argv[1], name)) for name in sys.argv[2:]]"
    )
    (tmp_path / "there").mkdir()
    command = [sys.executable, "-c", code, str(tmp_path / "there"), *names]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    assert {name: (tmp_path / "there" / name).read_bytes() for name in names} == here


def test_the_checksum_of_an_ogg_page_is_the_librarys_own(tmp_path: Path):
    data = written("ogg", tmp_path).read_bytes()
    soundfile.write(tmp_path / "own.ogg", np.zeros(RATE), RATE, format="OGG", subtype="VORBIS")
    own = (tmp_path / "own.ogg").read_bytes()
    assert with_serial(own, int.from_bytes(own[14:18], "little")) == own
    assert data[14:18] == bytes.fromhex("48524150")


@pytest.mark.parametrize("loudness", [-35.0, -23.0, -18.0])
@pytest.mark.parametrize("name", ["wav", "flac"])
def test_a_sound_is_brought_to_the_loudness(name: str, loudness: float, tmp_path: Path):
    found = read(written(name, tmp_path, loudness=loudness))
    assert integrated_loudness(found, RATE) == pytest.approx(loudness, abs=0.05)


@pytest.mark.parametrize("peak", [-1.0, -6.0])
def test_a_peak_limits_the_loudness_and_nothing_clips(peak: float, tmp_path: Path):
    click = torch.zeros(1, RATE)
    click[0, 100:104] = torch.tensor([0.2, 0.9, -0.9, 0.1])
    found = read(written("wav", tmp_path, click, loudness=-5.0, peak=peak))
    assert 20 * math.log10(true_peak(found)) == pytest.approx(peak, abs=0.01)
    assert integrated_loudness(found, RATE) < -5


def test_as_made_only_makes_room_for_the_peak():
    quiet, loud = tone(height=0.01), tone(height=1.5)
    for asked in ({"loudness": "as-made"}, {}):
        options = {**FACTS, "options": asked}
        torch.testing.assert_close(prepared(quiet, options)[0], quiet[0].double())
        assert true_peak(prepared(loud, options)[0]) == pytest.approx(10 ** (-1 / 20), rel=1e-6)


def test_a_sine_at_full_scale_has_the_loudness_of_the_recommendation():
    # BS.1770-4, annex 1: 0 dBFS at 997 Hz in one channel is -3.01 LKFS.
    for rate in (16000, 44100, 48000):
        found = integrated_loudness(tone(2.0, 997.0, 1.0, rate)[0].double(), rate)
        assert found == pytest.approx(-3.01, abs=0.02)


def test_the_filters_are_those_of_the_recommendation_at_48_khz():
    (b, a), (_, c) = shelf(48000), high_pass(48000)
    assert b == pytest.approx((1.53512485958697, -2.69169618940638, 1.19839281085285), abs=1e-10)
    assert a == pytest.approx((1.0, -1.69065929318241, 0.73248077421585), abs=1e-10)
    assert c == pytest.approx((1.0, -1.99004745483398, 0.99007225036621), abs=1e-10)


def test_loudness_agrees_with_torchaudio():
    from torchaudio.transforms import Loudness

    noise = torch.randn(1, 8000, generator=torch.Generator().manual_seed(3)) * 0.1
    expected = float(Loudness(RATE)(noise))
    assert integrated_loudness(noise[0].double(), RATE) == pytest.approx(expected, abs=0.3)


def test_quiet_parts_do_not_count():
    tones = torch.cat([tone(2.0), torch.zeros(1, 3 * RATE)], dim=1)[0].double()
    assert integrated_loudness(tones, RATE) == pytest.approx(integrated_loudness(tones[: 2 * RATE], RATE), abs=0.35)


@pytest.mark.parametrize("name", [*SOUNDS, "spectrogram"])
@pytest.mark.parametrize(
    ("media", "words"),
    [
        (torch.zeros(1, 0), "at least one sample"),
        (torch.zeros(2, 100), r"got \[2, 100\]"),
        (torch.zeros(1, 100, dtype=torch.uint8), "torch.uint8"),
        (torch.full((1, 100), math.nan), "100 of 100 samples are not finite"),
    ],
)
def test_what_is_no_sound_is_refused(name: str, media: torch.Tensor, words: str, tmp_path: Path):
    with pytest.raises(ValueError, match=words):
        written(name, tmp_path, media)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", SOUNDS)
def test_silence_is_refused(name: str, tmp_path: Path):
    with pytest.raises(ValueError, match="silent"):
        written(name, tmp_path, torch.full((1, RATE), 1e-6))


def test_a_rate_is_needed(tmp_path: Path):
    with pytest.raises(ValueError, match="0 samples a second"):
        resolve(EXPORTERS, "wav")(tone(), tmp_path / "x", {**FACTS, "rate": 0})


def test_very_short_sounds_can_be_written(tmp_path: Path):
    for name in SOUNDS:
        assert len(read(written(name, tmp_path, tone(0.01)))) == 160


def test_other_files_hold_no_facts(tmp_path: Path):
    path = tmp_path / "x.wav"
    path.write_bytes(b"RIFF but no sound")
    with pytest.raises(ValueError, match="no sound with facts"):
        read_facts(path)
    soundfile.write(path, np.zeros(100), RATE)
    with pytest.raises(ValueError, match="no sound with facts"):
        read_facts(path)


def test_a_spectrogram_is_bright_where_the_tone_is(tmp_path: Path):
    path = written("spectrogram", tmp_path, tone(2.0, 1000.0))
    assert image.read_facts(path) == KEPT
    with Image.open(path) as found:
        pixels = np.asarray(found.convert("RGB")).astype(int)
    drawing = pixels[12:332, 64 : 64 + 480].sum(axis=2)
    row = int(drawing.mean(axis=1).argmax())
    assert 320 - row == pytest.approx(320 * 15 / 45.2, abs=5)


def test_a_spectrogram_of_a_very_short_sound_is_drawn(tmp_path: Path):
    assert written("spectrogram", tmp_path, tone(0.002)).stat().st_size > 1000
