"""MAR written out from its formulas, slowly, in float64: nothing here is shared with `modalities`.

Everything is a function of the tensors under their published names. Draws come in as arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import erf

Array = NDArray[np.float64]
Weights = Mapping[str, Array]


def linear(w: Weights, name: str, x: Array) -> Array:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def norm(x: Array, w: Weights | None = None, name: str = "") -> Array:
    centred = x - x.mean(-1, keepdims=True)
    out = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    return out if w is None else out * w[f"{name}.weight"] + w[f"{name}.bias"]


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def block(w: Weights, name: str, x: Array, heads: int) -> Array:
    """x [N, D] of one sample."""
    dim = x.shape[-1]
    width = dim // heads
    joined = linear(w, f"{name}.attn.qkv", norm(x, w, f"{name}.norm1"))
    parts = []
    for head in range(heads):
        q, k, v = (joined[:, i * dim + head * width : i * dim + (head + 1) * width] for i in range(3))
        parts.append(softmax(q @ k.T / math.sqrt(width)) @ v)
    x = x + linear(w, f"{name}.attn.proj", np.concatenate(parts, -1))
    hidden = linear(w, f"{name}.mlp.fc1", norm(x, w, f"{name}.norm2"))
    gelu = 0.5 * hidden * (1 + erf(hidden / math.sqrt(2)))
    return x + linear(w, f"{name}.mlp.fc2", gelu)


def trunk(
    w: Weights,
    condition: Array,
    tokens: Array,
    hidden: NDArray[np.bool_],
    heads: tuple[int, int],
    sketch: Array | None = None,
) -> Array:
    """z [L, D'] of every token of one sample. condition: [D], or one row for each of the buffer [R, D].

    sketch: [L, D'] of a model told by text, whose hidden tokens start otherwise.
    """
    count = len(tokens)
    places = w["encoder_pos_embed_learned"][0]
    buffer = len(places) - count
    rows = np.broadcast_to(condition, (buffer, places.shape[1])) if condition.ndim == 1 else condition
    x = norm(np.concatenate([rows, linear(w, "z_proj", tokens)]) + places, w, "z_proj_ln")
    seen = np.concatenate([np.ones(buffer, bool), ~hidden])
    x = x[seen]
    for i in range(layers(w, "encoder_blocks")):
        x = block(w, f"encoder_blocks.{i}", x, heads[0])
    x = linear(w, "decoder_embed", norm(x, w, "encoder_norm"))
    y = np.repeat(w["mask_token"][0], buffer + count, 0)
    if sketch is not None:
        y[buffer:] = y[buffer:] + x[:buffer].mean(0) + sketch
    y[seen] = x
    y = y + w["decoder_pos_embed_learned"][0]
    for i in range(layers(w, "decoder_blocks")):
        y = block(w, f"decoder_blocks.{i}", y, heads[1])
    return norm(y, w, "decoder_norm")[buffer:] + w["diffusion_pos_embed_learned"][0]


def text_rows(w: Weights, text: Array, heads: int) -> Array:
    """Rows of the buffer [R, D] from the tokens of a prompt [T, C]."""
    query = w["text.query"]
    dim = query.shape[1]
    width = dim // heads
    both = linear(w, "text.kv", norm(text, w, "text.norm"))
    parts = []
    for head in range(heads):
        own = slice(head * width, (head + 1) * width)
        k, v = both[:, :dim][:, own], both[:, dim:][:, own]
        parts.append(softmax(query[:, own] @ k.T / math.sqrt(width)) @ v)
    rows = query + linear(w, "text.proj", np.concatenate(parts, -1))
    hidden = linear(w, "text.mlp.fc1", norm(rows, w, "text.norm2"))
    return rows + linear(w, "text.mlp.fc2", 0.5 * hidden * (1 + erf(hidden / math.sqrt(2))))


def text_sketch(w: Weights, text: Array, count: int) -> Array:
    """The sketch [L, D'] from the tokens of a prompt [T, C]."""
    hidden = linear(w, "sketch.fc1", norm(text.mean(0, keepdims=True), w, "sketch.norm"))
    places = linear(w, "sketch.fc2", 0.5 * hidden * (1 + erf(hidden / math.sqrt(2)))).reshape(count, -1)
    return linear(w, "sketch.proj", places)


def layers(w: Weights, name: str) -> int:
    return len({key.split(".")[1] for key in w if key.startswith(f"{name}.")})


def head(w: Weights, x: Array, t: int, z: Array) -> tuple[Array, Array]:
    """Noise and share of the variance for tokens x [N, F] at one time."""
    own = {key.removeprefix("diffloss.net."): value for key, value in w.items() if key.startswith("diffloss.net.")}
    # In float32, as published: at t = 999 its rounding is worth more than everything else together.
    angles = t * torch.exp(-math.log(10000) * torch.arange(128, dtype=torch.float32) / 128)
    features = torch.cat([angles.cos(), angles.sin()]).double().numpy()
    time = linear(own, "time_embed.mlp.2", silu(linear(own, "time_embed.mlp.0", features)))
    y = silu(time + linear(own, "cond_embed", z))
    h = linear(own, "input_proj", x)
    width = h.shape[-1]
    for j in range(len({key.split(".")[1] for key in own if key.startswith("res_blocks.")})):
        change = linear(own, f"res_blocks.{j}.adaLN_modulation.1", y)
        shift, scale, gate = change[:, :width], change[:, width : 2 * width], change[:, 2 * width :]
        inner = norm(h, own, f"res_blocks.{j}.in_ln") * (1 + scale) + shift
        h = h + gate * linear(own, f"res_blocks.{j}.mlp.2", silu(linear(own, f"res_blocks.{j}.mlp.0", inner)))
    change = linear(own, "final_layer.adaLN_modulation.1", y)
    out = linear(own, "final_layer.linear", norm(h) * (1 + change[:, width:]) + change[:, :width])
    return out[:, : x.shape[1]], out[:, x.shape[1] :]


def kept_by_training() -> list[float]:
    """alpha-bar of the 1000 steps."""

    def curve(u: float) -> float:
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    kept, product = [], 1.0
    for i in range(1000):
        product *= 1 - min(1 - curve((i + 1) / 1000) / curve(i / 1000), 0.999)
        kept.append(product)
    return kept


def posterior(kept: list[float], k: int) -> tuple[float, float, float, float]:
    """beta, variance (clipped at the first step), weight of x_0 and of x_t, at step k of a chain."""
    before = kept[k - 1] if k else 1.0
    beta = 1 - kept[k] / before
    at = max(k, 1)
    variance = (1 - kept[at] / kept[at - 1]) * (1 - kept[at - 1]) / (1 - kept[at])
    return (
        beta,
        variance,
        beta * math.sqrt(before) / (1 - kept[k]),
        (1 - before) * math.sqrt(1 - beta) / (1 - kept[k]),
    )


def draw_tokens(
    w: Weights, z: Array, without: Array | None, scale: float, steps: int, noise: Array, temperature: float
) -> Array:
    """Tokens [N, F] from z [N, D'] by the head's chain; noise [S, N, F]."""
    chosen = [round(k * 999 / (steps - 1)) for k in range(steps)]
    whole = kept_by_training()
    kept = [whole[t] for t in chosen]
    x = noise[0]
    for number, k in enumerate(reversed(range(steps)), start=1):
        eps, share = head(w, x, chosen[k], z)
        if without is not None:
            eps_without, _ = head(w, x, chosen[k], without)
            eps = eps_without + scale * (eps - eps_without)
        beta, variance, clean, noisy = posterior(kept, k)
        part = (share + 1) / 2
        log_variance = part * math.log(beta) + (1 - part) * math.log(variance)
        start = x / math.sqrt(kept[k]) - math.sqrt(1 / kept[k] - 1) * eps
        x = clean * start + noisy * x
        if k:
            x = x + np.exp(0.5 * log_variance) * noise[number] * temperature
    return x


def sample(
    w: Weights,
    condition: Array,
    negative: Array | None,
    heads: tuple[int, int],
    order: NDArray[np.int64],
    noise_of: Callable[[int], Array],
    *,
    iterations: int,
    guidance: float,
    schedule: str,
    steps: int,
    temperature: float,
) -> Array:
    """Tokens [L, F] of one sample. order: the first entries are drawn last. noise_of(n): the next [S, n, F] normals."""
    count = len(order)
    features = w["z_proj.weight"].shape[1]
    tokens, hidden = np.zeros((count, features)), np.ones(count, bool)
    for step in range(iterations):
        left = math.floor(count * math.cos(math.pi / 2 * (step + 1) / iterations))
        left = max(1, min(int(hidden.sum()) - 1, left))
        after = np.zeros(count, bool)
        after[order[:left]] = True
        if step == iterations - 1:
            after[:] = False
        drawn = [i for i in order if hidden[i] and not after[i]]
        z = trunk(w, condition, tokens, hidden, heads)[drawn]
        without = None if negative is None else trunk(w, negative, tokens, hidden, heads)[drawn]
        scale = 1 + (guidance - 1) * (count - left) / count if schedule == "linear" else guidance
        tokens = tokens.copy()
        tokens[drawn] = draw_tokens(w, z, without, scale, steps, noise_of(len(drawn)), temperature)
        hidden = after
    return tokens


def loss_of_token(eps_hat: Array, share: Array, x: Array, eps: Array, t: int) -> float:
    """The hybrid loss of one token: squared error of the noise, and the variational bound in bits."""
    kept = kept_by_training()
    beta, variance, clean, noisy = posterior(kept, t)
    at = math.sqrt(kept[t]) * x + math.sqrt(1 - kept[t]) * eps
    start = at / math.sqrt(kept[t]) - math.sqrt(1 / kept[t] - 1) * eps_hat
    mean, truth = clean * start + noisy * at, clean * x + noisy * at
    total = 0.0
    for i in range(len(x)):
        part = (share[i] + 1) / 2
        log_variance = part * math.log(beta) + (1 - part) * math.log(variance)
        if t:
            gap = math.log(variance) - log_variance
            total += 0.5 * (math.exp(gap) - 1 - gap + (truth[i] - mean[i]) ** 2 / math.exp(log_variance))
            continue
        spread = math.exp(0.5 * log_variance)
        above, below = (cumulative((x[i] - mean[i] + side / 255) / spread) for side in (1, -1))
        mass = above if x[i] < -0.999 else 1 - below if x[i] > 0.999 else above - below
        total -= math.log(max(mass, 1e-12))
    return float(((eps - eps_hat) ** 2).mean() + total / len(x) / math.log(2))


def cumulative(x: float) -> float:
    return 0.5 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
