"""Captions of a score in ten languages and in emoji. Everything follows from (seed, index, number)."""

from __future__ import annotations

import re

import numpy as np

from modalities.training.corpora.instrument_names import INSTRUMENTS, LANGUAGES, NAMES
from modalities.training.corpora.sound_scores import Score
from modalities.training.corpora.sound_words import LETTERS, STEPS, WORDINGS, Wording

ENGLISH_SHARE = 0.28
LETTER_SHARE = 0.4
"""Letters instead of the language's own names of notes, where it knows both."""
REGISTER_SHARE = 0.18
"""Captions of a note that say low, middle or high instead of which note."""
PLAIN_SHARE = 0.25
"""Captions of chords and runs that do not name the root."""
EMOJI_SHARE = 0.06
MIDDLE_C = 60

_VOWEL = re.compile(r"\ba (?=[aeiou]|[AEF][ #♯b♭])")
_BY_KEY = {instrument.key: instrument for instrument in INSTRUMENTS}


def sound_caption(score: Score, seed: int, index: int, number: int) -> str:
    """One caption of a score; it says nothing that the score does not hold."""
    rng = np.random.default_rng((seed, index, 1, number))
    language = "en" if rng.random() < ENGLISH_SHARE else str(rng.choice(LANGUAGES[1:]))
    words = WORDINGS[language]
    name = _subject(score, language, rng)
    text = " ".join(_body(score, name, language, words, rng).split())
    if score.loudness:
        patterns = words.soft if score.loudness == "soft" else words.loud
        ends = tuple(pattern for pattern in patterns if pattern.startswith("{s}"))
        text = _pick(ends if text.startswith("a ") else patterns, rng).format(s=text)
    return _VOWEL.sub("an ", text) if language == "en" else text


def note_names(note: int, language: str, octave: bool = True) -> tuple[str, ...]:
    """What a note is called, the language's own spellings first; without `octave`, the pitch class alone."""
    words = WORDINGS[language]
    own = [(words.octave.format(n=name, o=note // 12 - 1) if octave else name) for name in _spelt(note, words)]
    if words.letters:
        number = str(note // 12 - 1) if octave else ""
        own += [f"{letter}{number}" for letter in _letters(note)]
    if octave and note == MIDDLE_C:
        own += list(words.middle_c)
    return tuple(dict.fromkeys(own))


def register(score: Score) -> int:
    """0, 1 or 2: the lowest, middle or highest third of what the instrument plays."""
    instrument = _BY_KEY[score.subject]
    return min(2, 3 * (score.note - instrument.lowest) // (instrument.highest - instrument.lowest + 1))


def _spelt(note: int, words: Wording) -> list[str]:
    step = note % 12
    if step in STEPS:
        return [words.notes[STEPS.index(step)]]
    below, above = words.notes[STEPS.index(step - 1)], words.notes[STEPS.index(step + 1)]
    flat = words.flat.format(n=above)
    # German contracts: Es and As, and says B for the flat of H, which a reader of letters would take for H itself.
    flat = {"Ees": "Es", "Aes": "As", "Hes": words.sharp.format(n=below)}.get(flat, flat)
    return [words.sharp.format(n=below), flat]


def _letters(note: int) -> list[str]:
    step = note % 12
    if step in STEPS:
        return [LETTERS[STEPS.index(step)]]
    below, above = LETTERS[STEPS.index(step - 1)], LETTERS[STEPS.index(step + 1)]
    return [f"{below}#", f"{below}♯", f"{above}b", f"{above}♭"]


def _name(note: int, language: str, octave: bool, rng: np.random.Generator) -> str:
    names = note_names(note, language, octave)
    words = WORDINGS[language]
    if octave and note == MIDDLE_C and rng.random() < 0.3:
        return _pick(words.middle_c, rng)
    own = len(_spelt(note, words))
    others = [name for name in names[own:] if name not in words.middle_c]
    return _pick(tuple(others) if others and rng.random() < LETTER_SHARE else names[:own], rng)


def _subject(score: Score, language: str, rng: np.random.Generator) -> str:
    instrument = _BY_KEY.get(score.subject)
    if instrument is not None and instrument.emoji and rng.random() < EMOJI_SHARE:
        return instrument.emoji
    names = NAMES[score.subject][language]
    return names[0] if rng.random() < 0.6 else _pick(names, rng)


def _body(score: Score, name: str, language: str, words: Wording, rng: np.random.Generator) -> str:
    if score.kind == "note":
        if rng.random() < REGISTER_SHARE:
            return _pick(words.register_note, rng).format(i=name, g=words.registers[register(score)])
        return _pick(words.note, rng).format(i=name, n=_name(score.note, language, True, rng))
    tempo = {"fast": words.fast, "slow": words.slow, "": ""}[score.tempo]
    if score.kind == "beat":
        return _pick(words.beat, rng).format(i=name, t=tempo).strip(" ,、،:") if tempo else name
    if score.kind in ("drum", "effect"):
        return _pick(words.sound, rng).format(i=name)
    plain = rng.random() < PLAIN_SHARE
    values = {"i": name, "q": words.major if score.mode == "major" else words.minor, "t": tempo}
    if not plain:
        values["r"] = _name(score.note, language, False, rng)
    if score.kind == "chord":
        return _pick(words.plain_chord if plain else words.chord, rng).format(**values)
    values["x"] = words.scale if score.shape == "scale" else words.arpeggio
    values["d"] = words.rising if score.direction == "rising" else words.falling
    return _pick(words.plain_run if plain else words.run, rng).format(**values)


def _pick(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[rng.integers(len(choices))]
