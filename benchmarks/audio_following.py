"""Does the built-in audio model play what prompts ask? 100 prompts in ten languages, none of them a training caption.

    python benchmarks/audio_following.py [--model builtin/audio] [--steps N] [--extrapolate] [--check]

Each prompt asks for one note on one instrument and gets one sound, from a seed that follows from the prompt's id. The
pitch is right when the median of YIN's (`heard.py`) is within a semitone of the note; the family when the classifier of
`family_classifier.py`, trained in the same run, hears the family of the instrument. Both judges are first tried on
clips of the corpus, as they are and through the codec (what a perfect model would score), and on sounds compared with
other prompts (luck). The 100 are worded like training captions; 100 more in free wordings count apart. No sound may be
silent, clipped, or click at its ends. `--extrapolate` also makes sounds of 4 and 8 seconds by every method. Writes
benchmarks/results/audio_following-<date>.json and docs/audio.md with its pictures. `--check` makes the exit status 1
when a threshold is missed.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from audio_extrapolation import extrapolations
from audio_page import save_spectrogram, write_page
from builtin_image import ROOT, ImageModel, load_model, seed_of, with_steps, write_results
from family_classifier import FAMILY, HELD_SEED, FamilyClassifier, draw_notes, render, train_classifier
from following_command import following_parser, read, verdict
from heard import Heard, listen
from torch import Tensor

from modalities.training.corpora.instrument_names import INSTRUMENTS
from modalities.training.corpora.packages import RECORDINGS, SOUNDFONT, fetch
from modalities.training.corpora.sound_rendering import Renderer
from modalities.training.corpora.sound_scores import Score, note_score

PROMPTS = ROOT / "benchmarks" / "prompts" / "audio_following.csv"
THRESHOLDS = {"pitch": 0.75, "family": 0.60}
SEMITONE = 1.0
HELD_NOTES = 600
"""Real clips that the judges are tried on; a third of them through the codec too."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt, the instrument (a key of the corpus) and the MIDI number of the note that it asks for.

    form: caption (the 100: wordings of the training captions, though none of them was one) or free (other wordings).
    """

    id: str
    language: str
    form: str
    instrument: str
    note: int
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is heard in the sound of one prompt."""

    id: str
    language: str
    form: str
    text: str
    instrument: str
    asked: int
    pitch: float
    family: str
    heard_family: str
    peak: float
    rms: float
    pitch_hit: bool
    octave_hit: bool
    family_hit: bool
    is_silent: bool
    is_clipped: bool
    clicks: bool


def read_prompts(path: Path = PROMPTS) -> list[Prompt]:
    """The benchmark's prompts, in the order of the file."""
    with path.open(encoding="utf-8", newline="") as file:
        return [Prompt(**{**row, "note": int(row["note"])}) for row in csv.DictReader(file)]


def outcomes(prompts: Sequence[Prompt], heard: Sequence[Heard], families: Sequence[str]) -> list[Outcome]:
    """Compare what is heard with what prompts ask. octave_hit: the right note in any octave."""
    rows = []
    for prompt, sound, family in zip(prompts, heard, families, strict=True):
        off = sound.pitch - prompt.note
        rows.append(
            Outcome(
                id=prompt.id,
                language=prompt.language,
                form=prompt.form,
                text=prompt.text,
                instrument=prompt.instrument,
                asked=prompt.note,
                pitch=round(sound.pitch, 2),
                family=FAMILY[prompt.instrument],
                heard_family=family,
                peak=sound.peak,
                rms=sound.rms,
                pitch_hit=abs(off) <= SEMITONE,
                octave_hit=abs((off + 6) % 12 - 6) <= SEMITONE,
                family_hit=family == FAMILY[prompt.instrument],
                is_silent=sound.is_silent,
                is_clipped=sound.is_clipped,
                clicks=sound.clicks,
            )
        )
    return rows


def share(hits: Sequence[bool]) -> float:
    """The part of hits that are true."""
    return round(sum(hits) / len(hits), 4)


def summary(rows: Sequence[Outcome]) -> dict[str, Any]:
    """Shares over a set of outcomes, and the numbers of sounds that are unusable."""
    return {
        "prompts": len(rows),
        "pitch": share([row.pitch_hit for row in rows]),
        "octaves": share([row.octave_hit for row in rows]),
        "family": share([row.family_hit for row in rows]),
        "both": share([row.pitch_hit and row.family_hit for row in rows]),
        "silent": sum(row.is_silent for row in rows),
        "clipped": sum(row.is_clipped for row in rows),
        "clicks": sum(row.clicks for row in rows),
    }


def judged(prompts: Sequence[Prompt], sounds: Tensor, judge: FamilyClassifier) -> list[Outcome]:
    """Listen to sounds `[N, samples]` of prompts."""
    return outcomes(prompts, [listen(sound) for sound in sounds], judge.families(sounds))


def as_prompts(scores: Sequence[Score]) -> list[Prompt]:
    """Prompts that ask for exactly what scores hold."""
    return [
        Prompt(id=str(i), language="-", form="caption", instrument=score.subject, note=score.note, text="")
        for i, score in enumerate(scores)
    ]


def luck(rows: Sequence[Outcome]) -> dict[str, float]:
    """The share of sounds that have what another prompt asks, over all other prompts."""
    pairs = [(a, b) for a in rows for b in rows if a is not b]
    return {
        "pitch": share([abs(a.pitch - b.asked) <= SEMITONE for a, b in pairs]),
        "family": share([a.heard_family == b.family for a, b in pairs]),
    }


def through_codec(model: ImageModel, sounds: Tensor) -> Tensor:
    """Sounds `[N, samples]` encoded and decoded."""
    with torch.inference_mode():
        return torch.cat([model.codec.decode(model.codec.encode(one[None, None]))[:, 0] for one in sounds])


def play(model: ImageModel, latents: Tensor) -> Tensor:
    """Sounds `[N, samples]` of latents."""
    with torch.inference_mode():
        return model.codec.decode(latents.float())[:, 0]


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmark and write the page; returns the results."""
    fetch(arguments.corpora, (SOUNDFONT, RECORDINGS))
    renderer, prompts = Renderer(arguments.corpora), read_prompts()
    judge = train_classifier(renderer)
    model = load_model(arguments.model, torch.float32)
    scores = draw_notes(HELD_NOTES, HELD_SEED)
    real = render(scores, renderer)
    asked = as_prompts(scores)
    held = summary(judged(asked, real, judge))
    coded = summary(judged(asked[::3], through_codec(model, real[::3]), judge))
    keys = {instrument.key: instrument for instrument in INSTRUMENTS}
    asking = [prompt for prompt in prompts if prompt.form == "caption"]
    ideal = render([note_score(keys[prompt.instrument], prompt.note, "") for prompt in asking], renderer)
    ideal_coded = summary(judged(asking, through_codec(model, ideal), judge))
    print(f"real clips: pitch {held['pitch']:.1%}, family {held['family']:.1%}", flush=True)

    options = with_steps(model.defaults, arguments.steps, arguments.guidance)
    began = time.process_time()
    texts = model.encode([prompt.text for prompt in prompts])
    latents = model.generate(texts, [seed_of(p.id) for p in prompts], tuple(model.description.native_size), options)
    sounds = play(model, latents)
    seconds = time.process_time() - began
    rows = judged(prompts, sounds, judge)
    worded = [row for row in rows if row.form == "caption"]
    languages = list(dict.fromkeys(prompt.language for prompt in prompts))
    results: dict[str, Any] = {
        "model": arguments.model,
        "weights": model.description.weights_hash(),
        "options": asdict(options),
        "seconds": round(seconds, 1),
        "thresholds": THRESHOLDS,
        "overall": summary(worded),
        "languages": {name: summary([row for row in worded if row.language == name]) for name in languages},
        "free": summary([row for row in rows if row.form == "free"]),
        "real": held,
        "codec": coded,
        "ideal": ideal_coded,
        "luck": luck(worded),
        "outcomes": [asdict(row) for row in rows],
    }
    if arguments.extrapolate:
        folder = ROOT / "docs" / "pictures" / "audio"
        folder.mkdir(parents=True, exist_ok=True)
        results["extrapolation"] = extrapolations(
            model,
            prompts,
            worded,
            latents,
            options,
            judge,
            lambda name, sound: save_spectrogram(sound, folder / f"{name}.webp"),
        )
    path = write_results("audio_following", results)
    if not arguments.no_page:
        write_page(results, sounds, ROOT / "docs", path)
    return results


def missed(results: dict[str, Any]) -> list[str]:
    """What the results do not reach, in words."""
    overall = results["overall"]
    faults = [
        f"{name} {overall[name]:.1%}, wanted {limit:.0%}" for name, limit in THRESHOLDS.items() if overall[name] < limit
    ]
    return faults + [f"{overall[name]} sounds: {name}" for name in ("silent", "clipped", "clicks") if overall[name]]


def main() -> int:
    parser = following_parser(__doc__, "builtin/audio")
    parser.add_argument("--extrapolate", action="store_true", help="sounds of 4 and 8 seconds by every method, too")
    parser.add_argument("--no-page", action="store_true", help="write only the results, not docs/audio.md")
    arguments = read(parser)
    results = measure(arguments)
    for name, row in {**results["languages"], **{k: results[k] for k in ("free", "overall")}}.items():
        print(f"{name:9s} pitch {row['pitch']:6.1%}  any octave {row['octaves']:6.1%}  family {row['family']:6.1%}")
    faults = missed(results)
    return verdict(faults, arguments.check)


if __name__ == "__main__":
    sys.exit(main())
