"""The codec of DiGIT: latents to the nearest code and back, and discriminative tokens beside them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from modalities.codecs.quantized_latents import QuantizedLatents, load
from modalities.codecs.semantic_tokens import SemanticTokenizer, encoder_network, nearest
from modalities.contracts import CheckpointError
from modalities.weights.checkpoint import write_tensors
from modalities.weights.described import DescriptionError
from modalities.weights.description import resolved_codec

TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2}
TINY |= {"patch_size": 8, "image_size": 32, "num_register_tokens": 1}


class Averages:
    """A codec whose latents are the mean colours of squares of 4 x 4."""

    stride = (4, 4)
    channels = 3

    def encode(self, media: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(media, 4)

    def decode(self, latents: Tensor) -> Tensor:
        return latents.repeat_interleave(4, 2).repeat_interleave(4, 3)


def codec(tokenizer: SemanticTokenizer | None = None) -> QuantizedLatents:
    found = QuantizedLatents(Averages(), 5, tokenizer)
    found.codebook.copy_(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).tanh())
    return found


def tokenizer(clusters: int = 7) -> SemanticTokenizer:
    torch.manual_seed(1)
    found = SemanticTokenizer(TINY, clusters).eval().requires_grad_(False)
    found.centroids.copy_(torch.randn(clusters, 16))
    return found


def test_nearest_is_the_nearest_in_a_plain_loop() -> None:
    vectors, centres = torch.randn(2, 3, 4), torch.randn(6, 4)
    wanted = [[int((centres - v).square().sum(1).argmin()) for v in row] for row in vectors]
    assert nearest(vectors, centres).tolist() == wanted


def test_codes_come_back_as_their_rows_of_the_book() -> None:
    found = codec()
    ids = torch.randint(0, 5, (2, 1, 4, 4)).float()
    media = found.decode(ids)
    assert torch.equal(media[:, :, ::4, ::4], found.codebook[ids[:, 0].long()].movedim(-1, 1))
    assert torch.equal(found.encode(media), ids)


def test_tokens_stand_in_every_cell_of_their_patch() -> None:
    known = tokenizer()
    media = torch.rand(3, 3, 32, 32) * 2 - 1
    found = codec(known).encode(media)
    assert found.shape == (3, 2, 8, 8)
    assert torch.equal(found[:, 1, ::2, ::2], found[:, 1, 1::2, 1::2])
    assert torch.equal(found[:, 1, ::2, ::2].long(), known.tokens(media))
    assert torch.equal(found[:, :1], codec().encode(media))


def test_features_are_the_patches_in_raster_order_without_class_and_registers() -> None:
    known = tokenizer()
    media = torch.rand(2, 3, 32, 32) * 2 - 1
    whole = known.encoder(media).last_hidden_state
    assert whole.shape[1] == 1 + 1 + 16
    assert torch.allclose(known.features(media), whole[:, 2:].view(2, 4, 4, 16), atol=1e-6)
    one_by_one = torch.cat([known.tokens(part) for part in media.split(1)])
    assert torch.equal(one_by_one, known.tokens(media))


def test_whitened_features_are_uncorrelated_have_unit_variance_and_know_no_place() -> None:
    torch.manual_seed(2)
    known = SemanticTokenizer(TINY, 7, whitened=6).eval().requires_grad_(False)
    media = torch.rand(96, 3, 32, 32) * 2 - 1
    known.whiten(known.patch_features(media))
    found = known.features(media)
    assert found.shape == (96, 4, 4, 6)
    assert found.mean(dim=0).abs().max() < 1e-4
    flat = found.flatten(0, 2)
    assert torch.allclose(flat.T @ flat / len(flat), torch.eye(6), atol=1e-3)
    assert known.centroids.shape == (7, 6)
    assert known.tokens(media).shape == (96, 4, 4)


def test_whitening_keeps_the_largest_components() -> None:
    known = SemanticTokenizer(TINY, 7, whitened=2).eval().requires_grad_(False)
    found = torch.randn(64, 4, 4, 16, generator=torch.Generator().manual_seed(3)) * torch.arange(1, 17)
    known.whiten(found)
    assert known.whitening.abs().argmax(dim=0).tolist() == [14, 15]


@pytest.mark.parametrize("whitened", [-1, 17])
def test_more_components_than_features_are_refused(whitened: int) -> None:
    with pytest.raises(ValueError, match=rf"whitened is {whitened}; the tokenizer's features have 16 components"):
        SemanticTokenizer(TINY, 7, whitened=whitened)


def test_features_that_do_not_vary_cannot_be_whitened() -> None:
    known = SemanticTokenizer(TINY, 7, whitened=3)
    with pytest.raises(ValueError, match="fewer than the 3 directions to keep"):
        known.whiten(torch.ones(8, 4, 4, 16) * torch.randn(8, 1, 1, 1))


def test_whitened_features_of_another_size_are_refused() -> None:
    known = SemanticTokenizer(TINY, 7, whitened=3).eval()
    with pytest.raises(ValueError, match="whitened for 4 x 4 patches"):
        known.features(torch.zeros(1, 3, 64, 64))


def test_an_earlier_block_gives_the_features_after_the_last_norm() -> None:
    known = tokenizer()
    early = SemanticTokenizer(TINY, 7, layer=2).eval()
    early.load_state_dict(known.state_dict())
    media = torch.rand(2, 3, 32, 32) * 2 - 1
    hidden = known.encoder(media, output_hidden_states=True).hidden_states[1]
    assert torch.allclose(early.features(media), known.encoder.layernorm(hidden)[:, 2:].view(2, 4, 4, 16), atol=1e-6)
    with pytest.raises(ValueError, match="layer is 3; the tokenizer has 2"):
        SemanticTokenizer(TINY, 7, layer=3)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="ids of codes run from 0 to 5; this codebook has 0 to 4"):
        codec().decode(torch.tensor([[[[0.0, 5.0]]]]))
    with pytest.raises(ValueError, match=r"\[B, 1, h, w\]"):
        codec().decode(torch.zeros(2, 4, 4))
    with pytest.raises(ValueError, match="divisible by 8"):
        tokenizer().tokens(torch.zeros(1, 3, 30, 32))
    with pytest.raises(ValueError, match="unknown hidden"):
        encoder_network({"hidden": 3})
    with pytest.raises(ValueError, match="`file` or `codec` is missing"):
        load({"kind": "quantized-latents", "config": {"codes": 5}}, "cpu", torch.float32)


def test_it_is_loaded_from_a_model_folder(tmp_path: Path) -> None:
    known = QuantizedLatents(Averages(), 6, tokenizer())
    known.inner[0].channels = 4
    known.codebook = torch.randn(6, 4)
    write_tensors(tmp_path / "codec.safetensors", known.state_dict())
    config = {"codes": 6, "clusters": 7, "tokenizer": TINY}
    spec = resolved_codec({"kind": "quantized-latents", "of": "builtin/image", "config": config}, tmp_path)
    found = load(spec, "cpu", torch.float32)
    media = torch.rand(1, 3, 32, 32) * 2 - 1
    assert found.stride == (4, 4)
    assert found.encode(media).shape == (1, 2, 8, 8)
    assert found.decode(found.encode(media)).shape == media.shape
    assert torch.equal(found.codebook, known.codebook)
    with pytest.raises(CheckpointError, match="codebook"):
        load({**spec, "config": {**config, "codes": 5}}, "cpu", torch.float32)
    with pytest.raises(ValueError, match="unknown clutsers"):
        load({**spec, "config": {**config, "clutsers": 5}}, "cpu", torch.float32)
    (tmp_path / "codec.safetensors").unlink()
    with pytest.raises(DescriptionError, match=r"codec\.safetensors"):
        resolved_codec({"kind": "quantized-latents", "of": "builtin/image", "config": config}, tmp_path)
