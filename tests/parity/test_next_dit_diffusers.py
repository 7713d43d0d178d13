"""Next-DiT against diffusers' `LuminaNextDiT2DModel`: every parameter random, ragged text, sizes not square."""

from __future__ import annotations

from math import log, sqrt
from pathlib import Path
from typing import Any

import pytest
import torch

from modalities.contracts import CheckpointError
from modalities.generators.nextdit.config import NextDiTConfig
from modalities.generators.nextdit.inference import turns, velocity
from modalities.generators.nextdit.layers import Positions
from modalities.generators.nextdit.layouts import config_from_shapes
from modalities.generators.nextdit.model import NextDiT
from modalities.generators.nextdit.rope import exponents, grid_positions, rope_table
from modalities.generators.nextdit.weights import load_weights, save_weights, to_diffusers, to_original
from modalities.weights.checkpoint import read_tensors, write_tensors

diffusers = pytest.importorskip("diffusers")

CONFIGS = [
    {"hidden_size": 64, "num_layers": 2, "num_attention_heads": 4, "num_kv_heads": 2, "multiple_of": 32},
    {
        "hidden_size": 72,
        "num_layers": 3,
        "num_attention_heads": 6,
        "num_kv_heads": 6,
        "multiple_of": 16,
        "in_channels": 3,
    },
    {"hidden_size": 96, "num_layers": 1, "num_attention_heads": 3, "num_kv_heads": 1, "learn_sigma": False},
]


def theirs(values: dict[str, Any]) -> Any:
    facts = {"sample_size": 16, "cross_attention_dim": 32, "multiple_of": 32, **values}
    model = diffusers.LuminaNextDiT2DModel(**facts).eval()
    source = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=source))
            if "norm" in name and name.endswith("weight") and parameter.ndim == 1:
                parameter.add_(1)
        for layer in model.layers:
            layer.attn2.to_q.weight.copy_(layer.attn1.to_q.weight)
            layer.attn2.norm_q.load_state_dict(layer.attn1.norm_q.state_dict())
    return model


def ours(model: Any) -> NextDiT:
    tensors = model.state_dict()
    hints = {"in_channels": model.config.in_channels}
    config = config_from_shapes({name: tuple(tensor.shape) for name, tensor in tensors.items()}, hints)
    network = NextDiT(config)
    network.load_state_dict(to_original(tensors, "diffusers"))
    return network.eval()


@pytest.mark.parametrize("values", CONFIGS)
@pytest.mark.parametrize(("linear", "ntk"), [(1.0, 1.0), (1.5, 1.0), (1.0, 1.5)])
@pytest.mark.parametrize("base", [None, 16])
@torch.no_grad()
def test_forward(values: dict[str, Any], linear: float, ntk: float, base: int | None):
    reference = theirs(values)
    model = ours(reference)
    channels, head_dim = reference.config.in_channels, reference.head_dim
    x = torch.randn(3, channels, 12, 20, generator=torch.Generator().manual_seed(1))
    t = torch.tensor([0.05, 0.4, 0.97])
    tokens = torch.randn(3, 9, 32, generator=torch.Generator().manual_seed(2))
    mask = torch.arange(9) < torch.tensor([9, 3, 1])[:, None]
    from diffusers.models.embeddings import get_2d_rotary_pos_embed_lumina

    table = get_2d_rotary_pos_embed_lumina(head_dim, 384, 384, linear_factor=linear, ntk_factor=ntk)
    extra = {} if base is None else {"base_sequence_length": base}
    wanted = reference(x, t, tokens, mask, table, cross_attention_kwargs=extra, return_dict=False)[0][:, :channels]
    rope = rope_table((10000.0 * ntk) ** -exponents(head_dim, 2) / linear, grid_positions((6, 10)))
    where = Positions(query=rope, key=rope, attention_factor=1.0 if base is None else sqrt(log(60, base)))
    text = model.prepare(tokens, mask)
    assert wanted.std() > 0.1
    torch.testing.assert_close(model(x, t, text, where), wanted, atol=1e-5, rtol=0)
    config = model.config
    fast = velocity(model, x, t, text, where, turns(where, config.heads, config.kv_heads))
    torch.testing.assert_close(fast, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("values", CONFIGS)
def test_weights_come_back_bit_for_bit_through_both_layouts(values: dict[str, Any], tmp_path: Path):
    reference = theirs(values)
    model = ours(reference)
    save_weights(model, tmp_path / "d.safetensors", "diffusers")
    save_weights(model, tmp_path / "o.safetensors", "original")
    back = read_tensors(tmp_path / "d.safetensors")
    assert set(back) == set(reference.state_dict())
    assert all(torch.equal(tensor, back[name]) for name, tensor in reference.state_dict().items())
    diffusers.LuminaNextDiT2DModel.from_config(reference.config).load_state_dict(back, strict=True)
    for name in ("d", "o"):
        other = NextDiT(model.config)
        load_weights(other, [tmp_path / f"{name}.safetensors"])
        assert all(torch.equal(tensor, other.state_dict()[key]) for key, tensor in model.state_dict().items())
    assert to_original(to_diffusers(model.state_dict()), "here").keys() == model.state_dict().keys()


@pytest.mark.parametrize("copy", ["attn2.to_q.weight", "attn2.norm_q.bias"])
def test_copies_of_the_query_that_differ_are_refused(copy: str, tmp_path: Path):
    reference = theirs(CONFIGS[0])
    tensors = {name: tensor.clone() for name, tensor in reference.state_dict().items()}
    tensors[f"layers.1.{copy}"][0] += 1
    write_tensors(tmp_path / "m.safetensors", tensors)
    with pytest.raises(CheckpointError, match=rf"m\.safetensors: layers\.1\.attn1.* and layers\.1\.{copy} differ"):
        load_weights(ours(reference), [tmp_path / "m.safetensors"])


def test_the_released_configuration_has_the_tensors_of_the_released_file():
    with torch.device("meta"):
        released = diffusers.LuminaNextDiT2DModel(
            hidden_size=2304, num_layers=24, num_attention_heads=32, num_kv_heads=8, cross_attention_dim=2048
        )
        shapes = {name: tuple(tensor.shape) for name, tensor in released.state_dict().items()}
        assert len(shapes) == 639
        assert sum(tensor.numel() for tensor in released.state_dict().values()) == 1_754_898_976
        config = config_from_shapes(shapes)
    assert config == NextDiTConfig()
