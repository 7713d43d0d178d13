"""The corpus of sounds: clips follow from their number, captions say what is played, names are complete."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from modalities.training.corpora import instruments
from modalities.training.corpora.instrument_names import BEATS, DRUMS, INSTRUMENTS, LANGUAGES, NAMES, NOISES, RECORDINGS
from modalities.training.corpora.packages import SOUNDFONT
from modalities.training.corpora.sound_captions import note_names, register, sound_caption
from modalities.training.corpora.sound_rendering import EFFECT_PEAK, SAMPLES, Renderer
from modalities.training.corpora.sound_scores import (
    KINDS,
    PEAKS,
    SECONDS,
    beat_score,
    chord_score,
    draw_score,
    lowest_root,
    note_score,
    run_score,
)
from modalities.training.corpora.sound_words import WORDINGS

CORPORA = Path(__file__).parents[3] / ".corpora"
PIANO, TUBA = INSTRUMENTS[0], next(one for one in INSTRUMENTS if one.key == "tuba")


@pytest.fixture(scope="module")
def corpus() -> instruments.Instruments:
    pytest.importorskip("tinysoundfont")
    if not (CORPORA / SOUNDFONT.stem).is_dir():
        pytest.skip("the packages of the corpus are not there: python -m modalities.training.corpora.packages")
    return instruments.load(CORPORA, clips=50, captions=3, seed=5)


def test_everything_has_a_name_in_every_language():
    keys = [one.key for one in INSTRUMENTS] + [*DRUMS, *BEATS, *RECORDINGS, *NOISES]
    assert sorted(keys) == sorted(NAMES)
    assert set(WORDINGS) == set(LANGUAGES)
    for key in keys:
        assert list(NAMES[key]) == list(LANGUAGES)
        assert all(name == name.strip() != "" for names in NAMES[key].values() for name in names)


def test_no_name_means_two_things():
    seen: dict[tuple[str, str], str] = {}
    for key, languages in NAMES.items():
        for language, names in languages.items():
            for name in names:
                assert seen.setdefault((language, name.lower()), key) == key


def test_notes_are_called_as_musicians_call_them():
    assert note_names(60, "en") == ("C 4", "C4", "middle C")
    assert note_names(61, "fr")[:2] == ("do dièse 4", "ré bémol 4")
    assert note_names(66, "de") == ("Fis4", "Ges4")
    assert note_names(63, "de")[1] == "Es4"
    assert note_names(71, "de") == ("H4",)
    assert note_names(70, "de") == ("Ais4",)
    assert note_names(69, "ru")[0] == "ля 4"
    assert "A4" in note_names(69, "zh")
    assert note_names(69, "it", octave=False) == ("la", "A")


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_notes_have_a_name_in_common(language: str):
    for octave in (True, False):
        seen: dict[str, int] = {}
        for note in range(36, 84) if octave else range(60, 72):
            for name in note_names(note, language, octave):
                assert seen.setdefault(name, note) == note


def test_a_score_follows_from_its_number_and_fits_its_clip():
    scores = [draw_score(5, index) for index in range(400)]
    assert scores == [draw_score(5, index) for index in range(400)]
    assert {score.kind for score in scores} == set(KINDS)
    for score in scores:
        assert all(0 <= tone.start < SECONDS and 20 < tone.key < 110 for tone in score.tones)
        if score.kind == "note":
            instrument = next(one for one in INSTRUMENTS if one.key == score.subject)
            assert instrument.lowest <= score.note <= instrument.highest


def test_chords_and_runs_have_the_right_tones():
    chord = chord_score(PIANO, 9, "minor", "")
    assert [tone.key for tone in chord.tones] == [69, 72, 76]
    falling = run_score(PIANO, 0, "major", "scale", "falling", "fast", "")
    assert [tone.key for tone in falling.tones] == [72, 71, 69, 67, 65, 64, 62, 60]
    slow = run_score(PIANO, 0, "minor", "arpeggio", "rising", "slow", "")
    assert [tone.key for tone in slow.tones] == [60, 63, 67, 72]
    assert slow.tones[1].start - slow.tones[0].start > 2 * (falling.tones[1].start - falling.tones[0].start) - 0.01
    assert lowest_root(TUBA, 0) == 48
    assert len(beat_score("rock beat", "fast", "").tones) > len(beat_score("rock beat", "slow", "").tones)


def test_registers_are_thirds_of_what_an_instrument_plays():
    assert [register(note_score(PIANO, note, "")) for note in (48, 59, 60, 71, 72, 83)] == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_captions_say_what_is_played(kind: str):
    scores = [(i, s) for i in range(600) if (s := draw_score(5, i)).kind == kind][:25]
    for index, score in scores:
        every = {name for names in NAMES[score.subject].values() for name in names}
        every |= {one.emoji for one in INSTRUMENTS if one.key == score.subject and one.emoji}
        for number in range(3):
            text = sound_caption(score, 5, index, number)
            assert text == sound_caption(score, 5, index, number)
            assert any(name in text for name in every)
            assert "{" not in text
            assert "  " not in text


def test_english_articles_fit():
    texts = [sound_caption(draw_score(5, index), 5, index, 0) for index in range(2000)]
    assert any(" an " in text or text.startswith("an ") for text in texts)
    assert not [text for text in texts if " a E " in text or " a o" in text or "loud a " in text or "soft a " in text]


def test_clips_do_not_depend_on_what_was_made_before(corpus: instruments.Instruments):
    clips = corpus.media(0, 12)
    assert clips.shape == (12, 1, SAMPLES)
    torch.testing.assert_close(corpus.media(7, 9), clips[7:9], rtol=0, atol=0)
    assert len(corpus) == 50
    assert len(corpus.captions(3)) == 3
    assert corpus.concepts()["piano"]["en"][0] == "piano"


def test_clips_are_as_loud_as_asked_and_have_no_clicks(corpus: instruments.Instruments):
    for index in range(25):
        score, clip = corpus.score(index), corpus.media(index, index + 1)[0, 0]
        wanted = EFFECT_PEAK if score.kind == "effect" else PEAKS[score.loudness]
        assert float(clip.abs().max()) == pytest.approx(wanted, rel=1e-4)
        assert clip[0] == 0
        assert float(clip[-1].abs()) < 1e-3


def test_a_note_sounds_at_its_pitch(corpus: instruments.Instruments):
    renderer = Renderer(CORPORA)
    for note in (57, 69):
        sound = renderer.render(note_score(next(one for one in INSTRUMENTS if one.key == "clarinet"), note, ""))
        frequencies = np.abs(np.fft.rfft(sound)).argmax() * 16000 / len(sound)
        assert frequencies == pytest.approx(440 * 2 ** ((note - 69) / 12), rel=0.02)


def test_without_tinysoundfont_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "tinysoundfont", None)
    with pytest.raises(ValueError, match="pip install --no-deps tinysoundfont"):
        Renderer(tmp_path)


def test_without_the_soundfont_the_error_names_it(tmp_path: Path):
    pytest.importorskip("tinysoundfont")
    with pytest.raises(ValueError, match="FluidR3Mono_GM"):
        Renderer(tmp_path)


def test_a_corpus_of_nothing_is_refused():
    with pytest.raises(ValueError, match="0 clips"):
        instruments.Instruments(CORPORA, clips=0, captions=1, seed=0)
    with pytest.raises(ValueError, match="thin is 0"):
        instruments.Instruments(CORPORA, clips=1, captions=1, seed=0, thin=0)


def test_thinning_keeps_every_note_and_a_third_of_the_others():
    everything, some = (instruments.kept(5, 900, thin) for thin in (1, 3))
    assert everything == list(range(900))
    kinds = Counter(draw_score(5, index).kind for index in everything)
    left = Counter(draw_score(5, index).kind for index in some)
    assert left["note"] == kinds["note"]
    assert len(some) - left["note"] == (900 - kinds["note"]) // 3
    assert set(left) == set(kinds)
