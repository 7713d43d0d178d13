"""What is played in clip number i of the instrument corpus: everything follows from (seed, index)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modalities.training.corpora.instrument_names import (
    BEATS,
    DRUMS,
    INSTRUMENTS,
    NOISES,
    RECORDINGS,
    TEMPOS,
    Instrument,
)

SECONDS = 2.016
START = 0.032
"""Seconds of silence before the first tone."""

HELD = 1.45
"""Seconds that a note or a chord is held; its release rings until the clip ends."""

KINDS = {"note": 0.56, "chord": 0.09, "run": 0.11, "drum": 0.07, "beat": 0.05, "effect": 0.12}
VELOCITIES = {"soft": 50, "": 90, "loud": 122}
PEAKS = {"soft": 0.06, "": 0.25, "loud": 0.8}
"""Largest sample of a clip, by its loudness."""

MODES = {"major": (0, 2, 4, 5, 7, 9, 11, 12), "minor": (0, 2, 3, 5, 7, 8, 10, 12)}
TRIADS = {"major": (0, 4, 7), "minor": (0, 3, 7)}


@dataclass(frozen=True, slots=True)
class Tone:
    """One key pressed at `start` for `length` seconds."""

    start: float
    length: float
    key: int
    velocity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One clip. subject: key of `instrument_names.NAMES`. drums: the tones are keys of the drum channel.

    program: General MIDI program, or -1 for a recording, whose `take` (0..1) chooses among its files and offsets.
    note: MIDI number of a single note, or the root of a chord or run; -1 where there is none.
    """

    kind: str
    subject: str
    program: int
    tones: tuple[Tone, ...] = ()
    drums: bool = False
    take: tuple[float, float] = (0.0, 0.0)
    note: int = -1
    mode: str = ""
    shape: str = ""
    direction: str = ""
    tempo: str = ""
    loudness: str = ""


def draw_score(seed: int, index: int) -> Score:
    """The score of clip `index`."""
    rng = np.random.default_rng((seed, index, 0))
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    loudness = str(rng.choice(("soft", "loud", ""), p=(0.2, 0.2, 0.6))) if kind != "effect" else ""
    if kind == "note":
        instrument = INSTRUMENTS[rng.integers(len(INSTRUMENTS))]
        return note_score(instrument, int(rng.integers(instrument.lowest, instrument.highest + 1)), loudness)
    if kind == "chord":
        playing = [one for one in INSTRUMENTS if one.chords]
        instrument = playing[rng.integers(len(playing))]
        return chord_score(instrument, int(rng.integers(12)), str(rng.choice(list(TRIADS))), loudness)
    if kind == "run":
        instrument = INSTRUMENTS[rng.integers(len(INSTRUMENTS))]
        shape, direction = str(rng.choice(("scale", "arpeggio"))), str(rng.choice(("rising", "falling")))
        mode, tempo = str(rng.choice(("major", "minor"), p=(0.7, 0.3))), str(rng.choice(("fast", "slow")))
        return run_score(instrument, int(rng.integers(12)), mode, shape, direction, tempo, loudness)
    if kind == "drum":
        return drum_score(str(rng.choice(list(DRUMS))), loudness)
    if kind == "beat":
        return beat_score(str(rng.choice(BEATS)), str(rng.choice(list(TEMPOS))), loudness)
    subject = str(rng.choice([*RECORDINGS, *NOISES]))
    return effect_score(subject, (float(rng.random()), float(rng.random())))


def note_score(instrument: Instrument, note: int, loudness: str) -> Score:
    """One held note."""
    tones = (Tone(START, HELD, note, VELOCITIES[loudness]),)
    return Score(
        kind="note", subject=instrument.key, program=instrument.program, tones=tones, note=note, loudness=loudness
    )


def chord_score(instrument: Instrument, root: int, mode: str, loudness: str) -> Score:
    """A held triad on pitch class `root`."""
    base = lowest_root(instrument, root)
    tones = tuple(Tone(START, HELD, base + step, VELOCITIES[loudness]) for step in TRIADS[mode])
    return Score(
        kind="chord",
        subject=instrument.key,
        program=instrument.program,
        tones=tones,
        note=base,
        mode=mode,
        loudness=loudness,
    )


def run_score(
    instrument: Instrument, root: int, mode: str, shape: str, direction: str, tempo: str, loudness: str
) -> Score:
    """A scale (five slow tones or eight fast ones) or an arpeggio (four slow tones, or the four twice, fast)."""
    scale = MODES[mode][:5] if tempo == "slow" else MODES[mode]
    steps: tuple[int, ...] = scale if shape == "scale" else (*TRIADS[mode], 12)
    steps = steps if direction == "rising" else steps[::-1]
    steps = steps * 2 if shape == "arpeggio" and tempo == "fast" else steps
    pace = 1.72 / len(steps)
    base = lowest_root(instrument, root)
    tones = tuple(Tone(START + i * pace, 0.9 * pace, base + step, VELOCITIES[loudness]) for i, step in enumerate(steps))
    return Score(
        kind="run",
        subject=instrument.key,
        program=instrument.program,
        tones=tones,
        note=base,
        mode=mode,
        shape=shape,
        direction=direction,
        tempo=tempo,
        loudness=loudness,
    )


def lowest_root(instrument: Instrument, root: int) -> int:
    """Where chords and runs on a pitch class begin: from middle C where the instrument reaches an octave above it."""
    lowest = 60 if instrument.lowest <= 60 and instrument.highest >= 77 else instrument.lowest
    return lowest + (root - lowest) % 12


def drum_score(subject: str, loudness: str) -> Score:
    """One stroke."""
    tones = tuple(Tone(START, 0.5, key, VELOCITIES[loudness]) for key in DRUMS[subject])
    return Score(kind="drum", subject=subject, program=0, tones=tones, drums=True, loudness=loudness)


def beat_score(subject: str, tempo: str, loudness: str) -> Score:
    """A drum pattern that fills the clip, in quavers; the jazz beat swings."""
    beat = 60 / TEMPOS[tempo]
    tones = []
    for quaver in range(16):
        late = quaver % 2 * (1 / 6 if subject == "jazz beat" else 0)
        start = START + (quaver / 2 + late) * beat
        if start < SECONDS - 0.1:
            tones += [Tone(start, 0.1, key, hard) for key, hard in _strokes(subject, quaver)]
    return Score(
        kind="beat", subject=subject, program=0, tones=tuple(tones), drums=True, tempo=tempo, loudness=loudness
    )


def _strokes(subject: str, quaver: int) -> list[tuple[int, int]]:
    """Keys and velocities at a quaver: bass drum 36, snare 38 or 40, hi-hat 42, 44, 46, clap 39, ride 51."""
    beat, between = quaver // 2 % 4, quaver % 2 == 1
    if subject == "rock beat":
        found = [(42, 80)]
        found += [(36, 115)] if quaver % 8 in (0, 4, 5) else []
        return found + ([(38, 110)] if beat in (1, 3) and not between else [])
    if subject == "dance beat":
        return [(46, 90)] if between else [(36, 120), *([(39, 100)] if beat in (1, 3) else [])]
    if subject == "jazz beat":
        if between:
            return [(51, 70)] if beat in (1, 3) else []
        return [(51, 95), *([(44, 85)] if beat in (1, 3) else [(36, 50)])]
    return [(38, 75)] if between else [(38, 115 if beat in (0, 2) else 90), *([(36, 110)] if beat in (0, 2) else [])]


def effect_score(subject: str, take: tuple[float, float]) -> Score:
    """A recorded sound, or an effect of the soundfont."""
    if subject in RECORDINGS:
        return Score(kind="effect", subject=subject, program=-1, take=take)
    tones = (Tone(START, SECONDS, 60, 100),)
    return Score(kind="effect", subject=subject, program=NOISES[subject], tones=tones)
