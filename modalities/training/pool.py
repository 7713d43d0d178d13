"""The training set of a generator, computed beforehand: latents of a corpus and conditionings of its captions.

Two files, read by memory mapping, so that training reads nothing but finished numbers and a large pool needs no memory
of its own.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.lib.format import open_memmap
from safetensors.torch import load_file
from torch import Tensor

from modalities.catalog import resolve
from modalities.contracts import Codec, Conditioning, Modality, TextEncoder
from modalities.training.codec_source import codec_source
from modalities.training.corpus import Corpus, load_corpus
from modalities.weights.checkpoint import write_tensors
from modalities.weights.loading import load_text_encoder

CHUNK = 64
"""Samples that are made and encoded together."""
LATENTS, CAPTIONS, NOTE = "latents.npy", "captions.safetensors", "pool.json"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSource:
    """What a pool is made from. corpora: folder of the corpora's packages. data: keywords of the corpus's load.

    codec, text_encoder: as in a training file.
    """

    modality: str
    corpus: str
    corpora: str
    data: Mapping[str, Any]
    codec: str | Mapping[str, Any]
    text_encoder: Mapping[str, Any]

    def key(self) -> str:
        """All of it as text."""
        return json.dumps(asdict(self), sort_keys=True)

    def note(self, text_fingerprint: str) -> dict[str, Any]:
        """What decides the numbers of the pool."""
        note = {"modality": self.modality, "corpus": self.corpus, "data": dict(self.data)}
        note |= {"codec": codec_source(self.codec).identity(), "text_encoder": text_fingerprint}
        return cast(dict[str, Any], json.loads(json.dumps(note)))


def read_or_make_pool(folder: Path, source: PoolSource, text_fingerprint: str, workers: int) -> Pool:
    """The pool in a folder when the same settings made it; otherwise it is made. 0 workers: in this process."""
    note = source.note(text_fingerprint)
    pool = read_pool(folder, note)
    if pool is not None:
        return pool
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NOTE).unlink(missing_ok=True)
    captions, rows = unique_captions(corpus_of(source))
    write_latents(folder / LATENTS, source, len(rows), workers)
    tokens, starts = encode_captions(captions, source.text_encoder, workers)
    write_tensors(folder / CAPTIONS, {"captions": rows, "tokens": tokens, "starts": starts})
    del tokens
    text = json.dumps({"note": note, "captions": captions}, ensure_ascii=False)
    (folder / NOTE).write_text(text, encoding="utf-8")
    pool = read_pool(folder, note)
    assert pool is not None
    return pool


def read_pool(folder: Path, note: Mapping[str, Any]) -> Pool | None:
    """The pool in a folder, or None when there is none or other settings made it."""
    path = folder / NOTE
    if not path.exists() or json.loads(path.read_text("utf-8"))["note"] != note:
        return None
    texts = load_file(folder / CAPTIONS)
    # Copy on write: torch knows no read-only tensors, and nothing writes.
    latents = torch.from_numpy(np.load(folder / LATENTS, mmap_mode="c", allow_pickle=False))
    return Pool(latents, texts["captions"], texts["tokens"], texts["starts"])


def corpus_of(source: PoolSource) -> Corpus:
    """The corpus of a source; loaded once in a process."""
    return _parts(source.key())[0]


def unique_captions(corpus: Corpus) -> tuple[list[str], Tensor]:
    """The different captions of a corpus, the empty prompt first, and the rows `[N, K]` of each sample's."""
    known: dict[str, int] = {"": 0}
    rows = [[known.setdefault(text, len(known)) for text in corpus.captions(i)] for i in range(len(corpus))]
    if not rows or len({len(row) for row in rows}) != 1 or not rows[0]:
        raise ValueError("a corpus should have samples, and the same number of captions (at least one) for each")
    return list(known), torch.tensor(rows)


def write_latents(path: Path, source: PoolSource, number: int, workers: int) -> None:
    """Write the latents of all samples, `[number, C, *axes]` float16, chunk by chunk as they come."""
    aside = path.with_name(path.name + ".part")
    target: np.memmap[Any, Any] | None = None
    first = 0
    for part in latent_chunks(source, number, workers):
        if target is None:
            target = open_memmap(aside, mode="w+", dtype=np.float16, shape=(number, *part.shape[1:]))
        target[first : first + len(part)] = part.numpy()
        first += len(part)
    assert target is not None
    target.flush()
    aside.replace(path)


def latent_chunks(source: PoolSource, number: int, workers: int) -> Iterator[Tensor]:
    """Latents of the samples in order, `CHUNK` at a time."""
    spans = [(first, min(first + CHUNK, number)) for first in range(0, number, CHUNK)]
    keys = [source.key()] * len(spans)
    if workers == 0:
        yield from map(encode_span, keys, spans)
        return
    with _processes(workers) as processes:
        yield from processes.map(encode_span, keys, spans)


def encode_span(key: str, span: tuple[int, int]) -> Tensor:
    """Latents (float16, on the CPU) of the samples first..last-1 of the source with a key; ValueError if unusable."""
    corpus, codec, modality = _parts(key)
    media = corpus.media(*span)
    wanted = (span[1] - span[0], modality.media_channels)
    if tuple(media.shape[:2]) != wanted or media.ndim != 2 + len(modality.axes):
        form = f"[{wanted[0]}, {wanted[1]}, {', '.join(modality.axes)}]"
        raise ValueError(f"samples {span[0]} to {span[1] - 1} of the corpus are {list(media.shape)}; expected {form}")
    if not bool(media.isfinite().all()) or float(media.abs().max()) > 1.001:
        raise ValueError(f"samples {span[0]} to {span[1] - 1} of the corpus are not all finite and in -1..1")
    with torch.inference_mode():
        latents = codec.encode(media).to("cpu", torch.float16)
    if not bool(latents.isfinite().all()):
        raise ValueError(f"samples {span[0]} to {span[1] - 1}: the codec gives latents that float16 cannot hold")
    return latents.clone()


@lru_cache(maxsize=1)
def _parts(key: str) -> tuple[Corpus, Codec, Modality]:
    source = PoolSource(**json.loads(key))
    corpus = load_corpus(source.corpus, Path(source.corpora), source.data)
    return corpus, codec_source(source.codec).load("cpu"), cast(Modality, resolve("modality", source.modality))


def encode_captions(captions: Sequence[str], spec: Mapping[str, Any], workers: int) -> tuple[Tensor, Tensor]:
    """Tokens (float16, end to end) and starts of the conditionings of `captions`; 0 workers: in this process."""
    shares = [captions[i : i + 1024] for i in range(0, len(captions), 1024)]
    specs = [dict(spec)] * len(shares)
    if workers == 0:
        found = [_encode_share(share, spec) for share in shares]
    else:
        with _processes(workers) as pool:
            found = list(pool.map(_encode_share, shares, specs))
    counts = torch.cat([counts for _, counts in found])
    starts = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
    return torch.cat([tokens for tokens, _ in found]), starts


def _encode_share(captions: Sequence[str], spec: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    encoder = text_encoder(spec)
    found = [encoder.encode([text]).tokens[0].to(torch.float16) for text in captions]
    return torch.cat(found), torch.tensor([len(tokens) for tokens in found])


def text_encoder(spec: Mapping[str, Any]) -> TextEncoder:
    """The text encoder of a training file, on the CPU; loaded once in a process."""
    return _text_encoder(json.dumps(dict(spec)))


@lru_cache(maxsize=1)
def _text_encoder(spec: str) -> TextEncoder:
    return load_text_encoder(json.loads(spec), "cpu", torch.float32)


def _processes(workers: int) -> ProcessPoolExecutor:
    """Processes that compute with one thread each."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, initializer=torch.set_num_threads, initargs=(1,))
