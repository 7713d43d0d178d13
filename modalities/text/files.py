"""Files of the built-in text encoder: names, and a reader of the compressed ones that says which file is wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from modalities.contracts import CheckpointError

TABLE_FILE = "table.safetensors"
NETWORK_FILE = "network.safetensors"
TOKENIZER_FILE = "tokenizer.json.gz"
EMOJI_FILE = "emoji.json.gz"
LEXICON_FILE = "lexicon.json.gz"


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
