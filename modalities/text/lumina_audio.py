"""The two text encoders of Lumina's audio model side by side: CLAP's BERT on the caption, T5 on what sounds when.

The released model reads 77 + 77 tokens: CLAP's states of the caption, projected to the width of T5, and T5 v1.1's
states of a structured caption, `<event& time>@<event& time>` with the times all, start, mid and end. A prompt may hold
both, parted by a bar: `a dog barks in the rain | <dog barking& start>@<rain falling& all>`. Without a bar the caption
in lower case stands for all of it, `<a dog barks in the rain, all>`, as in the release's own preparation of data.
Padding is read and attended to like words in both, because the model was trained so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalities.contracts import CheckpointError, Conditioning
from modalities.text.huggingface import HuggingFaceEncoder, tokenizer_key
from modalities.text.huggingface import load as load_huggingface
from modalities.weights.checkpoint import check_tensors, read_tensors

TOKENS = 77
"""Tokens of each of the two encoders."""
BERT = "bert-base-uncased"
HEAD_WIDTH = 64


class Projection(nn.Module):
    """CLAP's way from BERT's width to the shared one: norm(a + W2 gelu(a)) with a = W1 x."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(inputs, outputs, bias=False)
        self.linear2 = nn.Linear(outputs, outputs, bias=False)
        self.layer_norm = nn.LayerNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., inputs]` to `[..., outputs]`."""
        first = self.linear1(x)
        out: Tensor = self.layer_norm(first + self.linear2(F.gelu(first)))
        return out


class ClapText(nn.Module):
    """CLAP's text encoder, token by token; its keys are the published ones after `caption_encoder.`."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """shapes: of the checkpoint, which say how large the BERT in it is. KeyError for another layout."""
        from transformers import BertConfig, BertModel

        super().__init__()
        words, width = shapes["base.embeddings.word_embeddings.weight"]
        layers = {name.split(".")[3] for name in shapes if name.startswith("base.encoder.layer.")}
        config = BertConfig(
            vocab_size=words,
            hidden_size=width,
            num_hidden_layers=len(layers),
            num_attention_heads=max(1, width // HEAD_WIDTH),
            intermediate_size=shapes["base.encoder.layer.0.intermediate.dense.weight"][0],
            max_position_embeddings=shapes["base.embeddings.position_embeddings.weight"][0],
            type_vocab_size=shapes["base.embeddings.token_type_embeddings.weight"][0],
        )
        self.base = BertModel(config, add_pooling_layer=False)
        self.projection = Projection(width, shapes["projection.linear1.weight"][0])

    def forward(self, ids: Tensor) -> Tensor:
        """Token ids `[B, L]`, padding included, to `[B, L, width]`."""
        out: Tensor = self.projection(self.base(input_ids=ids).last_hidden_state)
        return out


class LuminaAudioEncoder:
    """CLAP's and T5's tokens of each prompt, one after the other, as `TextEncoder`. Prompts are run one by one."""

    def __init__(
        self, clap: ClapText, tokenizer: Any, t5: HuggingFaceEncoder, *, dtype: torch.dtype, fingerprint: str
    ) -> None:
        """tokenizer: of CLAP's BERT. t5: with the preset lumina-music. ValueError when their widths differ."""
        self.clap, self.tokenizer, self.t5 = clap.eval().requires_grad_(False), tokenizer, t5
        self.dtype, self.fingerprint = dtype, fingerprint
        self.width = clap.projection.layer_norm.normalized_shape[0]
        if self.width != t5.width:
            raise ValueError(f"CLAP's tokens are {self.width} wide and T5's {t5.width}; they should be equally wide")

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Prompts to `[B, 154, width]`; every token counts, padding included."""
        rows = [self._row(prompt) for prompt in prompts]
        tokens = torch.cat(rows)
        return Conditioning(tokens=tokens, mask=torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device))

    def unknown_words(self, prompt: str) -> list[str]:
        """Words of the caption that T5's tokenizer does not know."""
        return self.t5.unknown_words(captions(prompt)[0])

    def _row(self, prompt: str) -> Tensor:
        caption, structure = captions(prompt)
        device = next(self.clap.parameters()).device
        found = self.tokenizer(caption, truncation=True, max_length=TOKENS, padding="max_length")["input_ids"]
        heard = self.clap(torch.tensor([found], device=device))
        return torch.cat([heard.to(self.dtype), self.t5.encode([structure]).tokens.to(self.dtype)], dim=1)


def captions(prompt: str) -> tuple[str, str]:
    """Caption and structured caption of a prompt; both are empty for an empty prompt."""
    caption, bar, structure = (part.strip() for part in prompt.partition("|"))
    if not bar:
        structure = f"<{caption.lower()}, all>" if caption else ""
    return caption, structure


def load(spec: Mapping[str, Any], device: torch.device | str, dtype: torch.dtype) -> LuminaAudioEncoder:
    """The encoder of `{"kind": "lumina-audio", "file": CLAP's weights, "source": T5, "tokenizer": of BERT}`.

    file: safetensors as `parhelion convert` writes them. source: folder or hub id of T5. tokenizer: folder or hub id,
    bert-base-uncased by default. CheckpointError when the weights are missing or not CLAP's.
    """
    from transformers import AutoTokenizer

    unknown = set(spec) - {"kind", "file", "source", "tokenizer"}
    if unknown or not {"file", "source"} <= set(spec):
        wrong = f"unknown {', '.join(sorted(unknown))}" if unknown else "no `file` or no `source`"
        raise ValueError(f"text encoder lumina-audio: {wrong}; it takes file, source and tokenizer")
    file = Path(spec["file"])
    tensors = read_tensors(file)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    try:
        clap = ClapText(shapes)
    except KeyError as error:
        raise CheckpointError(f"{file}: not the text encoder of CLAP; it lacks {error}") from None
    check_tensors(tensors, {name: tuple(each.shape) for name, each in clap.state_dict().items()}, str(file))
    clap.load_state_dict(tensors)
    source = str(spec.get("tokenizer", BERT))
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"tokenizer `{source}` cannot be read: {str(error).splitlines()[0]}") from error
    t5 = load_huggingface(
        {"kind": "huggingface", "source": str(spec["source"]), "preset": "lumina-music"}, device, dtype
    )
    with file.open("rb") as opened:
        weights = hashlib.file_digest(opened, "sha256").hexdigest()
    parts = f"{weights} {tokenizer_key(tokenizer)} {t5.fingerprint} {dtype}"
    fingerprint = hashlib.sha256(parts.encode()).hexdigest()
    return LuminaAudioEncoder(clap.to(device), tokenizer, t5, dtype=dtype, fingerprint=fingerprint)
