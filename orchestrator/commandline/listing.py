"""`parhelion list`: every name that a workflow or a training file may use, one line each."""

from __future__ import annotations

from collections.abc import Mapping

from modalities import catalog as modality_catalog
from modalities.catalog import Entry, outside_entries
from modalities.weights.description import DescriptionError, builtin_models, describe
from orchestrator.catalog import EXECUTORS, EXPORTERS, STAGES
from orchestrator.sizes import shown_size, words_of

TABLES: Mapping[str, tuple[Mapping[str, Entry], str]] = {
    "modalities": (modality_catalog.MODALITIES, "modality"),
    "samplers": (modality_catalog.SAMPLERS, "sampler"),
    "schedules": (modality_catalog.SCHEDULES, "schedule"),
    "extrapolations": (modality_catalog.EXTRAPOLATIONS, "extrapolation"),
    "formats": (EXPORTERS, ""),
    "steps": (STAGES, ""),
    "executors": (EXECUTORS, ""),
    "encoders": (modality_catalog.TEXT_ENCODERS, "text encoder"),
    "codecs": (modality_catalog.CODECS, "codec"),
    "corpora": (modality_catalog.CORPORA, "corpus"),
}
"""What can be listed, beside `models` -> entries, and the table that other packages may add to."""

KINDS = ("models", *TABLES)


def lines_of(kind: str) -> list[str]:
    """One line for each name of a kind, names aligned."""
    rows = _models() if kind == "models" else _entries(kind)
    width = max((len(name) for name, _ in rows), default=0)
    return [f"{name:<{width}}  {summary}" for name, summary in rows]


def _entries(kind: str) -> list[tuple[str, str]]:
    entries, table = TABLES[kind]
    found = {**entries, **(outside_entries(table) if table else {})}
    rows = []
    for name, entry in found.items():
        rows.append((name, "; ".join([entry.summary, *_facts(kind, entry.facts)])))
    return rows


def _facts(kind: str, facts: Mapping[str, float | str | bool]) -> list[str]:
    """What else a line says: options; of formats and samplers what they are for, of a modality how sizes are said."""
    found = []
    if kind == "formats":
        found.append(f"for {' and '.join(str(facts['modality']).split())}")
    if kind == "modalities" and "axes" in facts:
        axes = str(facts["axes"]).split()
        words = words_of(axes, float(facts.get("rate", 0)))
        found.append(f"size: [{', '.join(axes)}]" + "".join(f", or {word}" for word in words))
    if "families" in facts:
        found.append(f"for {' and '.join(str(facts['families']).split())}")
    options = str(facts.get("options", "")).split()
    return [*found, f"options: {', '.join(options)}"] if options else found


def _models() -> list[tuple[str, str]]:
    rows = []
    for source in builtin_models():
        try:
            found = describe(source)
        except DescriptionError as error:
            rows.append((source, f"cannot be used: {error}"))
            continue
        size = shown_size(found.native_size, found.modality)
        rows.append((source, f"{found.modality}, {found.family}, {found.parameters / 1e6:.1f} M parameters, {size}"))
    rows.append(("./folder", "a model folder: ours, one of LuminaPipeline.save_pretrained, or original Lumina weights"))
    rows.append(("org/name", "a hub id, for example Alpha-VLLM/Lumina-Next-SFT-diffusers (image, 2B, 1024 x 1024)"))
    return rows
