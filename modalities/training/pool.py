"""The training set of a generator, computed beforehand: latents of composed pictures and conditionings of their
captions.

Two safetensors files, read by memory mapping, so that training reads nothing but finished numbers.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from modalities.contracts import Codec, Conditioning
from modalities.training.corpora.captions import caption, free_caption
from modalities.training.corpora.compose import compose, draw_scene, to_media
from modalities.training.corpora.names import Names
from modalities.training.corpora.sprites import Sprites

CHUNK = 512


@dataclass(frozen=True, slots=True)
class Pool:
    """latents `[N, C, *axes]` float16; captions `[N, K]` rows into the conditionings.

    tokens `[total, D]` float16: the conditionings laid end to end; the one of caption i is
    tokens[starts[i]:starts[i+1]]. Caption 0 is the empty prompt.
    """

    latents: Tensor
    captions: Tensor
    tokens: Tensor
    starts: Tensor

    def __len__(self) -> int:
        return self.latents.shape[0]

    def conditioning(self, rows: Tensor, length: int) -> Conditioning:
        """The conditionings of captions `rows`, padded (or, if longer, cut) to `length` tokens."""
        first = self.starts[rows]
        counts = (self.starts[rows + 1] - first).clamp(max=length)
        columns = torch.arange(length)
        mask = columns < counts[:, None]
        where = first[:, None] + torch.where(mask, columns, torch.zeros_like(columns))
        tokens = self.tokens[where].float() * mask[..., None]
        return Conditioning(tokens=tokens, mask=mask)


def scene_captions(
    names: Names, concepts: int, number: int, seed: int, each: int, free: int
) -> tuple[list[str], Tensor]:
    """Unique captions (the empty one first) of the scenes 0..number-1, and their rows `[number, each + free]`.

    each: captions of every scene from `phrases.py`. free: further ones in the wordings of `paraphrases.py`.
    """
    known: dict[str, int] = {"": 0}
    rows = torch.zeros(number, each + free, dtype=torch.long)
    for index in range(number):
        scene = draw_scene(seed, index, concepts)
        for i in range(each + free):
            plain = i < each
            text = (caption if plain else free_caption)(scene, names, seed, index, i if plain else i - each)
            rows[index, i] = known.setdefault(text, len(known))
    return list(known), rows


def scene_latents(
    codec: Codec, sprites: Sprites, number: int, seed: int, jitter: float, device: torch.device | str
) -> Tensor:
    """Latents `[number, C, h, w]` (float16, on the CPU) of the scenes 0..number-1."""
    parts = []
    for first in range(0, number, CHUNK):
        indices = range(first, min(first + CHUNK, number))
        pictures = np.stack([compose(draw_scene(seed, i, len(sprites)), sprites, seed, i, jitter) for i in indices])
        with torch.inference_mode():
            media = torch.from_numpy(to_media(pictures)).to(device)
            parts.append(codec.encode(media).to("cpu", torch.float16))
    return torch.cat(parts).clone()


def encode_captions(captions: Sequence[str], spec: dict[str, object], workers: int) -> tuple[Tensor, Tensor]:
    """Tokens (float16, end to end) and starts of the conditionings of `captions`; 0 workers: in this process."""
    shares = [captions[i : i + 4096] for i in range(0, len(captions), 4096)]
    if workers == 0:
        found = [_encode_share(share, spec) for share in shares]
    else:
        with ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            found = list(pool.map(_encode_share, shares, [spec] * len(shares)))
    counts = torch.cat([counts for _, counts in found])
    starts = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
    return torch.cat([tokens for tokens, _ in found]), starts


def _encode_share(captions: Sequence[str], spec: dict[str, object]) -> tuple[Tensor, Tensor]:
    from modalities.catalog import resolve

    load = resolve("text encoder", str(spec["kind"]))
    encoder = load(spec, "cpu", torch.float32)  # type: ignore[operator]
    tokens, counts = [], []
    for text in captions:
        found = encoder.encode([text]).tokens[0]
        tokens.append(found.to(torch.float16))
        counts.append(len(found))
    return torch.cat(tokens), torch.tensor(counts)


def write_pool(folder: Path, pool: Pool, captions: Sequence[str], note: dict[str, object]) -> None:
    """Write a pool into a folder: two tensor files and `pool.json` with its captions and the settings that made it."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"latents": pool.latents, "captions": pool.captions}, folder / "scenes.safetensors")
    save_file({"tokens": pool.tokens, "starts": pool.starts}, folder / "captions.safetensors")
    (folder / "pool.json").write_text(
        json.dumps({"note": note, "captions": list(captions)}, ensure_ascii=False), "utf-8"
    )


def read_pool(folder: Path, note: dict[str, object]) -> Pool | None:
    """The pool in a folder, or None when there is none or other settings made it."""
    path = folder / "pool.json"
    if not path.exists() or json.loads(path.read_text("utf-8"))["note"] != note:
        return None
    scenes, texts = load_file(folder / "scenes.safetensors"), load_file(folder / "captions.safetensors")
    return Pool(scenes["latents"], scenes["captions"], texts["tokens"], texts["starts"])
