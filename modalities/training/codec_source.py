"""Where the codec of a training comes from: a folder that a codec's training exported to, or a mapping with `kind`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch

from modalities import catalog
from modalities.contracts import Codec
from modalities.weights.description import describe, resolved_codec
from modalities.weights.headers import file_hash, read_json


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecSource:
    """A codec and what `model.json` says of it.

    spec: what `codec` of model.json holds. file: its weights; None for a codec that has none, or takes another model's.
    training: how it was trained, if it was.
    """

    spec: Mapping[str, Any]
    file: Path | None = None
    training: Mapping[str, Any] = field(default_factory=dict)

    def load(self, device: torch.device | str) -> Codec:
        """The codec on a device, in float32."""
        spec = resolved_codec(self.spec)
        if self.file is not None:
            spec["file"] = str(self.file)
        try:
            load = cast(Callable[..., Codec], catalog.resolve("codec", str(spec["kind"])))
        except KeyError as error:
            raise ValueError(error.args[0]) from None
        return load(spec, device, torch.float32)

    def identity(self) -> dict[str, Any]:
        """What decides the latents: the spec, and the hash of the weights."""
        of = self.spec.get("of")
        weights = [self.file] if self.file is not None else []
        if of is not None:
            weights.append(Path(describe(str(of)).codec["file"]))
        return {**self.spec, "weights": [file_hash(path) for path in weights]}


def codec_source(value: str | Mapping[str, Any]) -> CodecSource:
    """Read the `codec` of a training file; ValueError when the folder holds none yet or the mapping has no kind."""
    if isinstance(value, str):
        folder = Path(value)
        if not (folder / "codec.json").is_file():
            raise ValueError(f"{folder}: no codec.json; train the codec first (workflows/train/image_codec.yaml)")
        found = read_json(folder / "codec.json")
        spec: dict[str, Any] = {key: found[key] for key in ("kind", "of", "config") if key in found}
        return CodecSource(spec=spec, file=folder / "codec.safetensors", training=found.get("training", {}))
    if "kind" not in value:
        raise ValueError(f"codec should be a folder, or a mapping with `kind`; known: {', '.join(catalog.CODECS)}")
    return CodecSource(spec=dict(value))
