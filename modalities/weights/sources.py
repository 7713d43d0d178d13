"""Where models are: in the package, in a folder, or in the local cache of the Hugging Face hub. No torch."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from modalities.weights.headers import DescriptionError, refuse_pickle

BUILTIN = Path(__file__).parent
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
KNOWN_HUB_MODELS = ("Alpha-VLLM/Lumina-Next-SFT-diffusers", "Alpha-VLLM/Lumina-Next-SFT", "Alpha-VLLM/Lumina-Next-T2I")


def builtin_models() -> list[str]:
    """Sources of the models in the package."""
    return sorted(f"builtin/{path.parent.name}" for path in BUILTIN.glob("*/model.json"))


def find_folder(source: str, *, fetch: bool) -> Path | None:
    """The folder of a source; None for a hub id that is not on this machine and may not be fetched."""
    if source.startswith("builtin/"):
        folder = BUILTIN / source.removeprefix("builtin/")
        if not (folder / "model.json").is_file():
            raise DescriptionError(f"no built-in model `{source}`; {nearest(source, builtin_models())}")
        return folder
    path = Path(source).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.is_file():
        refuse_pickle(path)
        raise DescriptionError(f"{path}: a file; name the folder that holds the model")
    if not HUB_ID.fullmatch(source):
        raise DescriptionError(f"{source}: no such folder, and not a hub id (org/name); {nearest(source, _known())}")
    cached = _cached(source)
    if cached is None and fetch:
        from huggingface_hub import snapshot_download

        patterns = ["*.json", "*.safetensors", "*.model", "*.txt"]
        cached = Path(snapshot_download(source, allow_patterns=patterns))
    return cached


def _cached(hub_id: str) -> Path | None:
    """The newest snapshot of a hub repository in the local cache, found without the hub's library."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub")).expanduser()
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    reference = repository / "refs" / "main"
    if not reference.is_file():
        return None
    snapshot = repository / "snapshots" / reference.read_text().strip()
    return snapshot if snapshot.is_dir() else None


def nearest(name: str, known: Iterable[str]) -> str:
    """What to say after an unknown name: the nearest known one, and all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return (f"did you mean `{close[0]}`? " if close else "") + f"known: {', '.join(names) or 'none'}"


def _known() -> list[str]:
    return [*builtin_models(), *KNOWN_HUB_MODELS]
