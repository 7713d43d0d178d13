"""A picture codec whose latents are replaced by the nearest of a codebook: pictures to whole numbers and back.

The codebook is what k-means finds in the latents of another codec, whose decoder then serves as a VQ decoder. Where a
tokenizer lies beside it, `encode` also answers the discriminative tokens that DiGIT's first stage is trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from modalities import catalog
from modalities.codecs.semantic_tokens import SemanticTokenizer, nearest
from modalities.contracts import Codec
from modalities.weights.checkpoint import read_tensors

CONFIG = ("codes", "tokenizer", "clusters", "layer", "whitened")


class QuantizedLatents(nn.Module):
    """A `Codec` of ids of codes, as floats `[B, 1, h, w]`; with a tokenizer `[B, 2, h, w]`, codes and tokens.

    inner: the codec whose latents are quantised. codes: rows of the codebook `[codes, inner.channels]`.
    A token stands in every cell of its patch.
    """

    codebook: Tensor

    def __init__(self, inner: Codec, codes: int, tokenizer: SemanticTokenizer | None = None) -> None:
        super().__init__()
        self.inner = [inner]  # in a list: its weights are another model's, not this module's
        self.tokenizer = tokenizer
        self.stride = inner.stride
        self.channels = 1 if tokenizer is None else 2
        self.register_buffer("codebook", torch.zeros(codes, inner.channels))

    def encode(self, media: Tensor) -> Tensor:
        """Media `[B, 3, H, W]` in -1..1 to ids `[B, channels, h, w]`, float32: codes, then tokens if there are any."""
        latents = self.inner[0].encode(media).float()
        codes = nearest(latents.movedim(1, -1), self.codebook)
        if self.tokenizer is None:
            return codes[:, None].float()
        tokens = self.tokenizer.tokens(media)
        for axis in (1, 2):
            tokens = tokens.repeat_interleave(codes.shape[axis] // tokens.shape[axis], dim=axis)
        return torch.stack([codes, tokens], dim=1).float()

    def decode(self, latents: Tensor) -> Tensor:
        """Ids `[B, C, h, w]`, the codes in the first channel, to media in -1..1; ValueError for ids beyond the book."""
        if latents.ndim != 4 or 0 in latents.shape:
            raise ValueError(f"ids of codes should be [B, 1, h, w], not {list(latents.shape)}")
        codes = latents[:, 0].round().long()
        low, high, number = int(codes.min()), int(codes.max()), len(self.codebook)
        if low < 0 or high >= number:
            raise ValueError(f"ids of codes run from {low} to {high}; this codebook has 0 to {number - 1}")
        return self.inner[0].decode(self.codebook[codes].movedim(-1, 1))


def load(spec: Mapping[str, Any], device: torch.device | str, dtype: torch.dtype) -> QuantizedLatents:
    """The codec of a description: `file`, `config` (codes; tokenizer, clusters, layer and whitened), and
    `codec`, that of the latents.

    It always computes in float32: rounding would change ids. ValueError for keys that it does not know; CheckpointError
    when the tensors do not fit the configuration.
    """
    unknown = set(spec) - {"kind", "file", "folder", "config", "of", "codec"}
    inner, config = spec.get("codec"), dict(spec.get("config", {}))
    if unknown or "file" not in spec or not isinstance(inner, Mapping) or "kind" not in inner:
        wrong = f"unknown {', '.join(sorted(unknown))}" if unknown else "`file` or `codec` is missing"
        raise ValueError(f"codec quantized-latents: {wrong}; it takes file, config, and of or codec")
    strange = set(config) - set(CONFIG)
    if strange:
        raise ValueError(f"codec quantized-latents: unknown {', '.join(sorted(strange))}; known: {', '.join(CONFIG)}")
    try:
        load_inner = cast(Callable[..., Codec], catalog.resolve("codec", str(inner["kind"])))
    except KeyError as error:
        raise ValueError(f"codec quantized-latents: {error.args[0]}") from None
    tokenizer = None
    if "tokenizer" in config:
        layer, whitened = int(config.get("layer", 1)), int(config.get("whitened", 0))
        tokenizer = SemanticTokenizer(config["tokenizer"], int(config["clusters"]), layer, whitened)
    codec = QuantizedLatents(load_inner(inner, device, dtype), int(config["codes"]), tokenizer)
    shapes = {name: tuple(value.shape) for name, value in codec.state_dict().items()}
    tensors = read_tensors(Path(str(spec["file"])), shapes)
    codec.load_state_dict({name: value.float() for name, value in tensors.items()})
    return codec.to(device).eval().requires_grad_(False)
