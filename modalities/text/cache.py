"""Conditioning kept by content: what was encoded once is never encoded again, in this process or from a folder.

The key is a hash of the encoder's fingerprint and the prompt; the value is the exact tensor, so a cached run gives the
bytes of an uncached one.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from modalities.contracts import Conditioning, TextEncoder

DEFAULT_BYTES = 256 * 1024 * 1024


class CachedTextEncoder:
    """A text encoder that remembers. Least recently used prompts leave memory first; files in the folder stay.

    folder: where to keep conditioning on disk too; None keeps it in memory alone. Several processes may share one.
    max_bytes: of tensors in memory.
    """

    def __init__(self, encoder: TextEncoder, folder: Path | None = None, max_bytes: int = DEFAULT_BYTES) -> None:
        if max_bytes < 0:
            raise ValueError(f"max_bytes is a number of bytes from 0 on; got {max_bytes}")
        self.encoder, self.folder, self.max_bytes = encoder, folder, max_bytes
        self.width, self.fingerprint = encoder.width, encoder.fingerprint
        self._memory: OrderedDict[str, Tensor] = OrderedDict()
        self._bytes = 0

    def key(self, prompt: str) -> str:
        """The content address of a prompt: sha256 of the encoder's fingerprint and the prompt."""
        return hashlib.sha256(f"{self.fingerprint}\0{prompt}".encode("utf-8", "surrogatepass")).hexdigest()

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """As the encoder's own `encode`, on the CPU; only prompts that were never seen are computed, each once."""
        found: dict[str, Tensor] = {}
        for prompt in dict.fromkeys(prompts):
            tokens = self._recall(self.key(prompt))
            if tokens is not None:
                found[prompt] = tokens
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in found]
        if missing:
            for prompt, part in zip(missing, self.encoder.encode(missing).to("cpu").split(), strict=True):
                found[prompt] = part.tokens
                self._remember(self.key(prompt), part.tokens)
                self._write(self.key(prompt), part.tokens)
        return Conditioning.stack([_whole(found[prompt]) for prompt in prompts])

    def unknown_words(self, prompt: str) -> list[str]:
        """The encoder's own answer."""
        return self.encoder.unknown_words(prompt)

    @property
    def bytes_in_memory(self) -> int:
        """Bytes of the tensors held in memory."""
        return self._bytes

    def _recall(self, key: str) -> Tensor | None:
        if key in self._memory:
            self._memory.move_to_end(key)
            return self._memory[key]
        if self.folder is None:
            return None
        try:
            tokens = load_file(self._path(key))["tokens"]
        except FileNotFoundError:
            return None
        except (SafetensorError, KeyError, OSError):
            self._path(key).unlink(missing_ok=True)
            return None
        self._remember(key, tokens)
        return tokens

    def _remember(self, key: str, tokens: Tensor) -> None:
        if tokens.nbytes > self.max_bytes:
            return
        self._memory[key] = tokens
        self._bytes += tokens.nbytes
        while self._bytes > self.max_bytes:
            _, old = self._memory.popitem(last=False)
            self._bytes -= old.nbytes

    def _path(self, key: str) -> Path:
        folder = self.folder if self.folder is not None else Path()
        return folder / key[:2] / f"{key}.safetensors"

    def _write(self, key: str, tokens: Tensor) -> None:
        """Write beside the place and rename, so that no reader ever sees half a file."""
        if self.folder is None:
            return
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        os.close(handle)
        save_file({"tokens": tokens.contiguous()}, name)
        Path(name).replace(path)


def _whole(tokens: Tensor) -> Conditioning:
    return Conditioning(tokens=tokens, mask=torch.ones(tokens.shape[:2], dtype=torch.bool))
