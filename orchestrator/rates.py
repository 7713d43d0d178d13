"""How fast this machine is: what earlier runs measured, else a cautious constant for its kind of device.

Rates are kept in `~/.cache/parhelion/rates.json` (or under XDG_CACHE_HOME), written by `parhelion run`. They are only
used to predict times; nothing that is made depends on them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CONSTANTS: Mapping[str, float] = {
    "cpu/generate": 15e9,
    "cpu/encode:builtin": 60.0,
    "cpu/encode": 1.0,
    "cpu/decode:image-autoencoder": 1e6,
    "cpu/decode": 4e4,
    "cpu/export": 3e6,
    "cuda/generate": 20e12,
    "cuda/encode:builtin": 60.0,
    "cuda/encode": 40.0,
    "cuda/decode:image-autoencoder": 2e7,
    "cuda/decode": 3e6,
    "cuda/export": 3e6,
}
"""Units a second of one worker: model FLOPs for generate and extrapolate, prompts for encode, pixels for the others."""

START_SECONDS = 8.0
"""Importing torch and loading models, on a machine of two cores."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Units a second, and whether they were measured here."""

    per_second: float
    is_measured: bool


def rates_file() -> Path:
    """Where measured rates are kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "parhelion" / "rates.json"


def read_rates() -> dict[str, float]:
    """What was measured on this machine; empty when there is nothing, or nothing readable."""
    try:
        values = json.loads(rates_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(values, dict):
        return {}
    return {key: float(rate) for key, rate in values.items() if isinstance(rate, int | float) and rate > 0}


def write_rates(measured: Mapping[str, float]) -> None:
    """Add rates to what is kept, in place of older ones of the same name. A cache that is read-only is no fault."""
    path = rates_file()
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps({**read_rates(), **measured}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)


def rate_of(kind: str, stage: str, part: str, measured: Mapping[str, float]) -> Rate:
    """The rate of a stage with a part (model source, text encoder, codec or format) on a kind of device."""
    key = rate_key(kind, stage, part)
    if key in measured:
        return Rate(measured[key], True)
    family = "generate" if stage == "extrapolate" else stage
    return Rate(CONSTANTS.get(f"{kind}/{family}:{part}", CONSTANTS[f"{kind}/{family}"]), False)


def rate_key(kind: str, stage: str, part: str) -> str:
    """The name of a measured rate."""
    return f"{kind}/{stage}/{part}"
