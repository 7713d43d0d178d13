"""The audio benchmark's judges are right about sounds that are known, and its prompts are no training captions."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import yaml
from audio_extrapolation import strokes, ways
from audio_following import Prompt, luck, outcomes, read_prompts, summary
from family_classifier import FAMILIES, FAMILY, FamilyClassifier, draw_notes
from heard import Heard, listen, pitch_track

from modalities.training.corpora.instrument_names import INSTRUMENTS, LANGUAGES
from modalities.training.corpora.sound_captions import sound_caption
from modalities.training.corpora.sound_scores import draw_score

RATE = 16000
TRAINING = Path(__file__).parents[2] / "workflows" / "train" / "audio.yaml"
DATA = yaml.safe_load(TRAINING.read_text(encoding="utf-8"))["data"]


def tone(note: float, seconds: float = 1.0, harmonics: int = 5) -> torch.Tensor:
    time = torch.arange(int(seconds * RATE)) / RATE
    frequency = 440 * 2 ** ((note - 69) / 12)
    sound = sum(0.2 / k * torch.sin(2 * math.pi * k * frequency * time) for k in range(1, harmonics + 1))
    return sound * torch.hann_window(len(time), periodic=False).clamp_max(0.5)


@pytest.mark.parametrize("note", [40, 48, 57.3, 69, 76, 83])
def test_the_pitch_of_a_tone_is_heard(note: float):
    assert listen(tone(note)).pitch == pytest.approx(note, abs=0.1)


def test_a_missing_fundamental_is_heard_too():
    time = torch.arange(RATE) / RATE
    sound = sum(torch.sin(2 * math.pi * 220 * k * time) for k in (2, 3, 4, 5)) / 8
    assert listen(sound).pitch == pytest.approx(57, abs=0.1)


def test_noise_has_hardly_a_pitch_and_frames_without_sound_are_not_listened_to():
    sound = torch.cat([tone(60), torch.zeros(RATE)])
    pitches, loud = pitch_track(sound)
    assert not loud[-20:].any()
    assert float(pitches[loud].median()) == pytest.approx(60, abs=0.1)


def test_silence_clipping_and_clicks_are_noticed():
    assert listen(torch.full((RATE,), 1e-5)).is_silent
    assert not listen(tone(60)).is_silent
    assert listen(tone(60) * 10).peak > 1
    assert listen((tone(60) * 10).clamp(-1, 1)).is_clipped
    assert not listen(tone(60)).clicks
    assert listen(tone(60)[3000:]).clicks


def test_strokes_are_counted():
    stroke = torch.exp(-torch.arange(RATE // 2) / 1500) * torch.sin(torch.arange(RATE // 2) * 0.3)
    assert strokes(stroke) == 1
    assert strokes(stroke.repeat(4)) == 4


def test_outcomes_compare_what_is_heard_with_what_is_asked():
    prompts = [
        Prompt(id="a", language="en", form="caption", instrument="piano", note=60, text="x"),
        Prompt(id="b", language="en", form="caption", instrument="violin", note=72, text="y"),
    ]
    fine = {"peak": 0.5, "rms": 0.1, "sounding": 1.0, "is_silent": False, "is_clipped": False, "clicks": False}
    heard = [Heard(pitch=60.9, **fine), Heard(pitch=60.1, **fine)]
    rows = outcomes(prompts, heard, ["keyboard", "brass"])
    assert [(row.pitch_hit, row.octave_hit, row.family_hit) for row in rows] == [
        (True, True, True),
        (False, True, False),
    ]
    found = summary(rows)
    assert (found["pitch"], found["octaves"], found["family"], found["both"]) == (0.5, 1.0, 0.5, 0.5)
    assert luck(rows) == {"pitch": 0.5, "family": 0.0}
    nothing = outcomes(prompts[:1], [Heard(pitch=math.nan, **fine)], ["keyboard"])[0]
    assert (nothing.pitch_hit, nothing.octave_hit) == (False, False)


def test_the_prompts_are_a_hundred_notes_and_a_hundred_in_free_wordings():
    prompts = read_prompts()
    assert len({prompt.id for prompt in prompts}) == len(prompts) == 200
    ranges = {one.key: range(one.lowest, one.highest + 1) for one in INSTRUMENTS}
    for form in ("caption", "free"):
        chosen = [prompt for prompt in prompts if prompt.form == form]
        assert len(chosen) == 100
        assert {prompt.language for prompt in chosen} == set(LANGUAGES)
        assert all(prompt.note in ranges[prompt.instrument] for prompt in chosen)


def test_no_prompt_is_a_training_caption():
    prompts = read_prompts()
    asked = {(prompt.instrument, prompt.note) for prompt in prompts}
    captions = set()
    for index in range(DATA["clips"]):
        score = draw_score(DATA["seed"], index)
        if (score.subject, score.note) in asked:
            captions |= {sound_caption(score, DATA["seed"], index, number) for number in range(DATA["captions"])}
    assert len(captions) > 1000
    assert not captions & {prompt.text for prompt in prompts}


def test_every_instrument_has_a_family_and_notes_are_drawn_evenly():
    assert set(FAMILY.values()) == set(FAMILIES)
    scores = draw_notes(2 * len(INSTRUMENTS), 1)
    assert [score.subject for score in scores[: len(INSTRUMENTS)]] == [one.key for one in INSTRUMENTS]
    assert scores == draw_notes(2 * len(INSTRUMENTS), 1)


def test_the_classifier_sees_no_loudness():
    model = FamilyClassifier()
    sounds = torch.stack([tone(60, 2.016), 0.1 * tone(60, 2.016)])
    loud, soft = model.features(model.mels(sounds))
    torch.testing.assert_close(loud, soft, rtol=0.02, atol=0.02)


def test_every_extrapolation_method_is_compared():
    from modalities.catalog import EXTRAPOLATIONS

    assert {way.extrapolation.method for way in ways() if way.strength == 1} == set(EXTRAPOLATIONS)
