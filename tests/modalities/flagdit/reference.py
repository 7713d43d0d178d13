"""A Flag-DiT written straight from the published description, as slowly and plainly as possible, to be compared with.

It takes a flat state dict under published names and knows nothing of the package.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

State = dict[str, Tensor]


def linear(state: State, name: str, x: Tensor) -> Tensor:
    out = x @ state[f"{name}.weight"].T
    return out + state[f"{name}.bias"] if f"{name}.bias" in state else out


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def rms(x: Tensor, weight: Tensor) -> Tensor:
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-5) * weight


def layer_norm(x: Tensor, eps: float) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + eps)


def time_embedding(state: State, step: Tensor) -> Tensor:
    # At step 999 the last bit of a frequency is 1e-4 of a turn, so the frequencies too are made as they were released.
    angles = step[:, None] * torch.exp(-math.log(10000) * torch.arange(128, dtype=torch.float32) / 128)
    features = torch.cat([torch.cos(angles), torch.sin(angles)], dim=1)
    return linear(state, "t_embedder.mlp.2", silu(linear(state, "t_embedder.mlp.0", features)))


def rotated(x: Tensor) -> Tensor:
    """`[B, N, heads, E]`: pair p of token n turned by n * 10000^(-2p/E)."""
    width = x.shape[-1]
    powers = [10000.0 ** (-2 * p / width) for p in range(width // 2)]
    angles = torch.tensor([[n * power for power in powers] for n in range(x.shape[1])], dtype=torch.float64)
    turns = torch.polar(torch.ones_like(angles), angles)[None, :, None]
    pairs = torch.complex(x[..., 0::2].double(), x[..., 1::2].double()) * turns
    return torch.stack([pairs.real, pairs.imag], dim=-1).flatten(-2).to(x.dtype)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = torch.einsum("bnhe,bmhe->bhnm", q, k) / math.sqrt(q.shape[-1])
    return torch.einsum("bhnm,bmhe->bnhe", torch.softmax(weights, dim=-1), v)


def attention(state: State, name: str, x: Tensor, y: Tensor) -> Tensor:
    heads = state[f"{name}.gate"].shape[0]

    def split(part: str, source: Tensor) -> Tensor:
        return linear(state, f"{name}.{part}", source).unflatten(-1, (heads, -1))

    q = rotated(split("wq", x))
    own = attend(q, rotated(split("wk", x)), split("wv", x))
    told = attend(q, split("wk_y", y), split("wv_y", y))
    mixed = own + torch.tanh(state[f"{name}.gate"])[:, None] * told
    return linear(state, f"{name}.wo", mixed.flatten(-2))


def block(state: State, name: str, x: Tensor, text: Tensor, signal: Tensor) -> Tensor:
    rows = linear(state, f"{name}.adaLN_modulation.1", silu(signal))[:, None]
    shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = rows.chunk(6, dim=-1)
    h = rms(x, state[f"{name}.attention_norm.weight"]) * (1 + scale_a) + shift_a
    x = x + gate_a * attention(state, f"{name}.attention", h, rms(text, state[f"{name}.attention_y_norm.weight"]))
    h = rms(x, state[f"{name}.ffn_norm.weight"]) * (1 + scale_f) + shift_f
    w1, w3 = linear(state, f"{name}.feed_forward.w1", h), linear(state, f"{name}.feed_forward.w3", h)
    return x + gate_f * linear(state, f"{name}.feed_forward.w2", silu(w1) * w3)


def velocity(state: State, x: Tensor, t: float, text: Tensor) -> Tensor:
    """x `[B, C, N]`, t in 0..1 for all, text `[B, L, D]`, every token of it real."""
    step = torch.full((x.shape[0],), t, dtype=torch.float32) * 1000
    pooled = layer_norm(text.mean(1), 1e-5) * state["cap_embedder.0.weight"] + state["cap_embedder.0.bias"]
    signal = time_embedding(state, step.long().to(x.dtype)) + linear(state, "cap_embedder.1", pooled)
    h = linear(state, "proj_in", x.transpose(1, 2))
    layers = {name.split(".")[1] for name in state if name.startswith("blocks.")}
    for i in range(len(layers)):
        h = block(state, f"blocks.{i}", h, text, signal)
    shift, scale = linear(state, "final_layer.adaLN_modulation.1", silu(signal))[:, None].chunk(2, dim=-1)
    return linear(state, "final_layer.linear", layer_norm(h, 1e-6) * (1 + scale) + shift).transpose(1, 2)


def sample(state: State, x: Tensor, points: int, scale: float, text: Tensor, empty: Tensor) -> Tensor:
    """Euler over `points` evenly spaced times, guided on every channel, as the released demo walks."""
    ts = torch.linspace(0, 1, points).tolist()
    for here, there in pairwise(ts):
        negative, positive = velocity(state, x, here, empty), velocity(state, x, here, text)
        x = x + (there - here) * (negative + scale * (positive - negative))
    return x
