"""Where the tables of a DiGIT start: at what its codec knows of tokens, codes and places before any training.

Every table begins as random Fourier features (Rahimi and Recht 2007), sqrt(2) cos(W x / s + b), whose products
approximate exp(-|x - y|^2 / 2 s^2): of the centres of clusters and codes, in tables of ids and in outputs, so that what
is alike begins alike and the likeliest id is that of the nearest centre; and of places on the picture, the same for
tokens and for codes, so that attention finds the token that covers a code.
"""

from __future__ import annotations

import torch
from torch import Tensor

from modalities.codecs.quantized_latents import QuantizedLatents
from modalities.generators.digit.config import POSITION_OFFSET, SPECIAL
from modalities.generators.digit.model import DiGIT

NEAR = 0.125
"""Distance over which places on a picture are alike, as a part of its side."""
SOME = 512
"""Centres whose distances say what is near among them."""


@torch.no_grad()
def start_from_codec(network: DiGIT, codec: QuantizedLatents, generator: torch.Generator) -> None:
    """Set the tables of a new network on the CPU; `generator` draws the features. The codec has a tokenizer.

    Queries and keys of the second stage begin alike, which makes its attention one to what is alike.
    """
    assert codec.tokenizer is not None
    config, first, second = network.config, network.semantic, network.decoder
    tokens, codes = codec.tokenizer.centroids.cpu(), codec.codebook.cpu()
    for stage, centres in ((first, tokens), (second, codes)):
        rows = fourier(centres, _near(centres), stage.stage.dim, generator)
        for table in (stage.embed_tokens.weight, stage.output_projection.weight):
            table[SPECIAL : SPECIAL + len(centres)] = rows / stage.stage.dim**0.5
    rows = fourier(tokens, _near(tokens), second.stage.dim, generator)
    after = config.code_ids + SPECIAL
    second.embed_tokens.weight[after : after + len(tokens)] = rows / second.stage.dim**0.5
    slot = POSITION_OFFSET + 1  # the first place is that of the slot before a sequence
    grid, code_grid = _places(config.grid), _places(config.code_grid)
    first.embed_positions.weight[slot : slot + len(grid)] = fourier(grid, NEAR, first.stage.dim, generator)
    both = fourier(torch.cat([grid, code_grid]), NEAR, second.stage.dim, generator)
    second.embed_positions_1.weight[POSITION_OFFSET : POSITION_OFFSET + len(grid)] = both[: len(grid)]
    second.embed_positions.weight[slot : slot + len(code_grid)] = both[len(grid) :]
    for name, weight in second.named_parameters():
        if name.endswith("k_proj.weight"):
            weight.copy_(second.get_parameter(name.replace("k_proj", "q_proj")))


def fourier(points: Tensor, near: float, dim: int, generator: torch.Generator) -> Tensor:
    """Features `[N, dim]` of unit variance of points `[N, D]`; `near` is the distance s of the module's formula."""
    waves = torch.randn((points.shape[1], dim), generator=generator) / near
    phase = 2 * torch.pi * torch.rand(dim, generator=generator)
    return 2**0.5 * torch.cos(points.float() @ waves + phase)


def _near(centres: Tensor) -> float:
    """Half of the middle distance between two centres."""
    return float(torch.pdist(centres[:SOME].float()).median()) / 2


def _places(grid: tuple[int, int]) -> Tensor:
    """The middles `[rows * columns, 2]` of the cells of a grid, in 0..1."""
    rows, columns = ((torch.arange(n) + 0.5) / n for n in grid)
    return torch.cartesian_prod(rows, columns)
