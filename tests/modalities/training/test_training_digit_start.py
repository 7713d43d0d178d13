"""Where a DiGIT's tables start: what is alike begins alike, and a code finds the token that covers it."""

from __future__ import annotations

import torch
from torch import Tensor

from modalities.codecs.quantized_latents import QuantizedLatents
from modalities.codecs.semantic_tokens import SemanticTokenizer
from modalities.generators.digit.config import SPECIAL, DiGITConfig, StageConfig
from modalities.generators.digit.model import DiGIT
from modalities.training.digit_start import fourier, start_from_codec

TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 8, "image_size": 32}
STAGE = {"dim": 128, "layers": 2, "heads": 4, "ffn": 32}
CONFIG = DiGITConfig(
    clusters=20,
    grid=(4, 4),
    codes=30,
    code_grid=(8, 8),
    semantic=StageConfig(**STAGE, positions=17),
    decoder=StageConfig(**STAGE, positions=65),
    decoder_order="masked",
)


class Three:
    """As much of a codec as has three channels."""

    stride = (4, 4)
    channels = 3

    def encode(self, media: Tensor) -> Tensor:
        return media[..., ::4, ::4]

    def decode(self, latents: Tensor) -> Tensor:
        return latents


def started() -> tuple[DiGIT, QuantizedLatents]:
    torch.manual_seed(0)
    codec = QuantizedLatents(Three(), 30, SemanticTokenizer(TINY, 20))
    codec.codebook.copy_(torch.randn(30, 3))
    codec.tokenizer.centroids.copy_(torch.randn(20, 16))
    network = DiGIT(CONFIG)
    start_from_codec(network, codec, torch.Generator().manual_seed(1))
    return network, codec


def test_products_of_features_are_the_gaussian_of_the_distance() -> None:
    points = torch.rand(12, 2)
    found = fourier(points, 0.4, 40_000, torch.Generator().manual_seed(2))
    wanted = torch.exp(-torch.cdist(points, points).square() / (2 * 0.4**2))
    assert torch.allclose(found @ found.T / 40_000, wanted, atol=0.03)


def test_the_likeliest_id_of_a_row_is_its_own_and_then_its_neighbours() -> None:
    network, codec = started()
    for stage, centres in ((network.semantic, codec.tokenizer.centroids), (network.decoder, codec.codebook)):
        rows = slice(SPECIAL, SPECIAL + len(centres))
        logits = stage.embed_tokens.weight[rows] @ stage.output_projection.weight[rows].T
        assert torch.equal(logits.argmax(dim=1), torch.arange(len(centres)))
    distances = torch.cdist(codec.codebook, codec.codebook)
    pairs = torch.stack([distances.flatten(), logits.detach().flatten()])
    assert torch.corrcoef(pairs)[0, 1] < -0.6


def test_a_code_stands_nearest_to_the_token_that_covers_it() -> None:
    second = started()[0].decoder
    tokens, codes = second.embed_positions_1.weight[2:18], second.embed_positions.weight[3:67]
    covering = (codes @ tokens.T).argmax(dim=1).view(8, 8)
    rows = torch.arange(8) // 2
    assert torch.equal(covering, 4 * rows[:, None] + rows)


def test_attention_of_the_second_stage_begins_as_one_to_what_is_alike() -> None:
    network, _ = started()
    for layer in network.decoder.layers:
        assert torch.equal(layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight)
    assert not torch.equal(
        network.semantic.layers[0].self_attn.q_proj.weight, network.semantic.layers[0].self_attn.k_proj.weight
    )


def test_the_same_seed_gives_the_same_start() -> None:
    first, second = (started()[0].state_dict() for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
