"""Files of the built-in text encoder: names, and readers that say which file is wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from modalities.contracts import CheckpointError

TABLE_FILE = "table.safetensors"
NETWORK_FILE = "network.safetensors"
TOKENIZER_FILE = "tokenizer.json.gz"
EMOJI_FILE = "emoji.json.gz"
LEXICON_FILE = "lexicon.json.gz"


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file; CheckpointError names the file that is missing or damaged."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"text encoder file {path} is missing; install the package again") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"text encoder file {path} is damaged: {error}") from error


def read_json(path: Path) -> Any:
    """What `write_json` wrote."""
    try:
        return json.loads(gzip.decompress(path.read_bytes()))
    except FileNotFoundError:
        raise CheckpointError(f"text encoder file {path} is missing; install the package again") from None
    except (OSError, EOFError, ValueError) as error:
        raise CheckpointError(f"text encoder file {path} is damaged: {error}") from error


def write_json(value: Any, path: Path) -> None:
    """Write a JSON value, compressed; equal values give equal bytes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    path.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))
