"""Images as PNG, JPEG and WebP, with what made them written inside, and read back.

The facts are one JSON object in UTF-8. PNG holds it in an iTXt chunk called `parhelion`; JPEG and WebP in the Exif tag
UserComment, marked `UNICODE` and therefore UTF-16. Equal pictures with equal facts give equal files.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import ExifTags, Image, PngImagePlugin
from torch import Tensor

_KEYWORD = "parhelion"
TOLD = ("modality", "rate", "options")
"""What an exporter is told beside the facts that it writes."""
_UNICODE = b"UNICODE\x00"
_LONGEST_EXIF = 65_000
"""A JPEG's Exif segment holds 65,535 bytes at most."""


def write_png(media: Tensor, path: Path, facts: Mapping[str, Any]) -> None:
    """Write `[3, height, width]` uint8 losslessly."""
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt(_KEYWORD, as_json(facts))
    prompt = facts.get("prompt")
    if isinstance(prompt, str):
        chunks.add_itxt("Description", prompt)
    _save(media, path, format="PNG", pnginfo=chunks, compress_level=6)


def write_jpeg(media: Tensor, path: Path, facts: Mapping[str, Any]) -> None:
    """Write `[3, height, width]` uint8 at the option quality (92) without chroma subsampling."""
    _save(media, path, format="JPEG", quality=_quality(facts), subsampling=0, exif=exif_of(facts))


def write_webp(media: Tensor, path: Path, facts: Mapping[str, Any]) -> None:
    """Write `[3, height, width]` uint8 at the option quality (92)."""
    _save(media, path, format="WEBP", quality=_quality(facts), method=4, exif=exif_of(facts))


def read_facts(path: Path) -> dict[str, Any]:
    """What one of the writers above wrote inside a file. ValueError when the file holds nothing of the kind."""
    with Image.open(path) as picture:
        picture.load()
        text = picture.info.get(_KEYWORD) if picture.format == "PNG" else text_of(picture.getexif())
    if not isinstance(text, str):
        raise ValueError(f"{path}: holds no facts written by parhelion")
    facts: dict[str, Any] = json.loads(text)
    return facts


def _quality(facts: Mapping[str, Any]) -> int:
    return int(facts.get("options", {}).get("quality", 92))


def _save(media: Tensor, path: Path, **options: Any) -> None:
    """Encode in memory first: Pillow's own writing hides why it failed, and a full disk is no fault of the picture."""
    if media.dtype != torch.uint8 or media.dim() != 3 or media.shape[0] != 3:
        raise ValueError(f"an image is [3, height, width] in uint8; got {list(media.shape)} in {media.dtype}")
    encoded = io.BytesIO()
    Image.fromarray(media.permute(1, 2, 0).contiguous().numpy()).save(encoded, **options)
    path.write_bytes(encoded.getvalue())


def as_json(facts: Mapping[str, Any]) -> str:
    """What is written inside a file: all facts but those that only tell the writer what to do."""
    kept = {name: value for name, value in facts.items() if name not in TOLD}
    return json.dumps(kept, ensure_ascii=False, sort_keys=True)


def exif_of(facts: Mapping[str, Any]) -> Image.Exif:
    """Facts as Exif. ValueError when they are too long even without the workflow."""
    comment = _to_comment(as_json(facts))
    if len(comment) > _LONGEST_EXIF and "workflow" in facts:
        shorter = {name: value for name, value in facts.items() if name != "workflow"}
        comment = _to_comment(as_json({**shorter, "workflow": "left out: too long for Exif; see workflow.yaml"}))
    if len(comment) > _LONGEST_EXIF:
        raise ValueError("prompt and options are too long for Exif metadata; use the format png")
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    return exif


def _to_comment(text: str) -> bytes:
    """Exif's UserComment: eight bytes that name the encoding, then the text. Little-endian, as Exif readers expect."""
    return _UNICODE + text.encode("utf-16-le")


def text_of(exif: Image.Exif) -> str | None:
    """The facts that `exif_of` wrote, as JSON; None when there are none."""
    comment = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    if not isinstance(comment, bytes) or not comment.startswith(_UNICODE):
        return None
    return comment[len(_UNICODE) :].decode("utf-16-le")
