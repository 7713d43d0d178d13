"""The page of the audio benchmark: tables, spectrograms, longer sounds, and every miss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from following_page import LANGUAGES
from heard import RATE
from PIL import Image
from torch import Tensor

from modalities.training.corpora.sound_captions import note_names
from orchestrator.exporters.spectrogram import spectrogram_picture

SHOWN = 8
"""Spectrograms on the page, spread over the prompts."""


def write_page(results: Mapping[str, Any], sounds: Tensor, docs: Path, source: Path) -> None:
    """Write docs/audio.md and docs/pictures/audio/."""
    folder = docs / "pictures" / "audio"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for row in results["outcomes"] if row["form"] == "caption"]
    shown = [(i * len(rows)) // SHOWN for i in range(SHOWN)]
    for i in shown:
        save_spectrogram(sounds[i], folder / f"{rows[i]['id']}.webp")
    parts = [_head(results, source), _tables(results), _pictures(rows, shown)]
    if "extrapolation" in results:
        parts.append(_longer(results["extrapolation"]))
    parts.append(_misses(rows))
    (docs / "audio.md").write_text("\n".join(parts), encoding="utf-8")


def save_spectrogram(sound: Tensor, path: Path) -> None:
    """The spectrogram of samples `[N]` as WebP."""
    picture = spectrogram_picture(sound.double(), RATE)
    Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()).save(path, quality=80, method=6)


def _percent(value: float) -> str:
    return f"{value:.1%}"


def _line(name: str, row: Mapping[str, Any]) -> str:
    shares = " | ".join(_percent(row[key]) for key in ("pitch", "octaves", "family", "both"))
    return f"| {name} | {row['prompts']} | {shares} | {row['silent']} | {row['clipped']} | {row['clicks']} |"


HEAD = (
    "| sounds | number | pitch | in any octave | family | pitch and family | silent | clipped | clicks |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
)


def _head(results: Mapping[str, Any], source: Path) -> str:
    overall, limits, options, luck = (results[key] for key in ("overall", "thresholds", "options", "luck"))
    return f"""# Sound: the built-in audio model, measured

Written by `python benchmarks/audio_following.py --extrapolate`; the numbers are in
`benchmarks/results/{source.name}`. Do not edit.

{overall["prompts"]} prompts in {len(results["languages"])} languages each ask for one note on one instrument. They are
`benchmarks/prompts/audio_following.csv`; they are worded like training captions, but none is one. Each gets one sound
of two seconds, from a seed that follows from its id: nothing was chosen by hand. 100 more prompts ask for the same
notes in free wordings ("Play me the note D sharp 4 on a piano"), which the model has seen nothing like; they count
apart.

**{_percent(overall["pitch"])} have the pitch that was asked for**, within a semitone (wanted:
{limits["pitch"]:.0%}; luck with the same sounds: {_percent(luck["pitch"])}), and
**{_percent(overall["family"])} the family of instruments** (wanted: {limits["family"]:.0%}; luck:
{_percent(luck["family"])}). {overall["silent"]} are silent, {overall["clipped"]} clip, {overall["clicks"]} click at
an end.

Octaves are counted as in scientific pitch notation in every language: C4 is middle C, A4 has 440 Hz.

Model `{results["model"]}`, weights `{results["weights"][:12]}`, {options["sampler"]} with {options["steps"]} steps,
schedule {options["schedule"]}, guidance {options["guidance"]["scale"]:g}; {results["seconds"]:.0f} s of processor time
for all, the vocoder (Griffin-Lim) included.
"""


def _tables(results: Mapping[str, Any]) -> str:
    lines = [_line(LANGUAGES.get(name, name), row) for name, row in results["languages"].items()]
    lines.append(_line("**all**", results["overall"]))
    lines.append(_line("free wordings", results["free"]))
    return f"""## By language

{HEAD}{chr(10).join(lines)}

## The judges themselves

Pitch is judged by YIN, the family by a small classifier that the benchmark trains on clips of the corpus in some
seconds. Tried on clips that neither the model nor the classifier has seen:

{HEAD}{_line("real clips", results["real"])}
{_line("real clips through the codec", results["codec"])}
{_line("real clips of just these notes, through the codec", results["ideal"])}
"""


def _pictures(rows: Sequence[Mapping[str, Any]], shown: Sequence[int]) -> str:
    parts = ["## How they look", ""]
    for i in shown:
        row = rows[i]
        heard = f"heard: {row['heard_family']}, MIDI {row['pitch']:.1f} (asked: {row['family']}, {row['asked']})"
        parts += [f"{row['text']} — {heard}", "", f"![{row['id']}](pictures/audio/{row['id']}.webp)", ""]
    return "\n".join(parts)


def _longer(found: Mapping[str, Any]) -> str:
    parts = [
        "## Longer than it was trained",
        "",
        f"The model was trained on sounds of 2.016 seconds and nothing else. {len(found['prompts'])} prompts whose",
        "sound is right are made longer in every way. **pitch**: the median pitch is right; **steady**: the share of",
        "the loud frames with the right pitch; **family**: heard rightly in the first two seconds; **sounding**: the",
        "share of the time that is loud; **lasts**: seconds from the first loud frame to the last; **strokes**: how",
        'often the sound starts anew. "strength 0.7" starts from the native latents, stretched and re-noised to',
        "t = 0.3.",
        "",
    ]
    for length, table in found["lengths"].items():
        parts += [
            f"### {int(length) / RATE:g} seconds",
            "",
            "| way | pitch | steady | family | sounding | lasts, s | strokes | s a sound |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        for row in table:
            shares = " | ".join(f"{row[key]:.0%}" for key in ("pitch", "steady", "family", "sounding"))
            line = f"| {row['way']} | {shares} | {row['last']:.1f} | {row['strokes']:.1f} | {row['seconds']:.1f} |"
            parts.append(line)
        parts.append("")
    for name in found.get("pictures", ()):
        parts += [f"{name}:", "", f"![{name}](pictures/audio/{name}.webp)", ""]
    return "\n".join(parts)


def _misses(rows: Sequence[Mapping[str, Any]]) -> str:
    missed = [row for row in rows if not (row["pitch_hit"] and row["family_hit"])]
    if not missed:
        return "## Misses\n\nNone.\n"
    parts = ["## Misses", "", "| prompt | asked | heard |", "| --- | --- | --- |"]
    for row in missed:
        pitch = "no pitch" if row["pitch"] != row["pitch"] else f"{row['pitch']:.1f}"
        asked = f"{row['family']}, {row['asked']} ({note_names(row['asked'], 'en')[0]})"
        parts.append(f"| {row['text']} | {asked} | {row['heard_family']}, {pitch} |")
    return "\n".join(parts) + "\n"
