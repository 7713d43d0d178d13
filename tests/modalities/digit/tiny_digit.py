"""A tiny DiGIT, and two references for its stages: transformers' OPT, and the formulas written out in float64."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from modalities.contracts import Conditioning
from modalities.generators.digit.config import EOS, SPECIAL, DiGITConfig, StageConfig
from modalities.generators.digit.layers import TokenTransformer
from modalities.generators.digit.model import DiGIT

FIRST = StageConfig(dim=32, layers=2, heads=4, ffn=48, pre_norm=False, positions=20)
SECOND = replace(FIRST, dim=24, heads=3, pre_norm=True, positions=24)
PUBLISHED = DiGITConfig(clusters=30, grid=(4, 4), codes=40, code_grid=(4, 4), semantic=FIRST, decoder=SECOND)
TEXT = replace(
    PUBLISHED, grid=(2, 3), text_width=10, text_tokens=5, semantic=replace(FIRST, pre_norm=True), decoder_order="masked"
)


def tiny_digit(config: DiGITConfig = PUBLISHED, seed: int = 3) -> DiGIT:
    """A model whose tensors are all random, biases and norms included, and whose logits are far from even."""
    torch.manual_seed(seed)
    model = DiGIT(config)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            tensor.add_(torch.randn_like(tensor) * (0.3 if name.endswith("output_projection.weight") else 0.1))
    return model.eval().requires_grad_(False)


def sentences(*lengths: int, width: int = 10, seed: int = 5) -> Conditioning:
    """Text features of sentences with so many tokens."""
    generator = torch.Generator().manual_seed(seed)
    parts = [
        Conditioning(tokens=torch.randn(1, n, width, generator=generator), mask=torch.ones(1, n, dtype=torch.bool))
        for n in lengths
    ]
    return Conditioning.stack(parts)


def class_ids(*ids: int) -> Conditioning:
    """Class ids as a text encoder of class names gives them."""
    tokens = torch.tensor(ids, dtype=torch.float32)[:, None, None]
    return Conditioning(tokens=tokens, mask=torch.ones(len(ids), 1, dtype=torch.bool))


class OPT:
    """The published arithmetic of a stage by transformers' OPT, which descends from the same fairseq decoder.

    It has no input scale and one table of positions, so inputs are scaled here, and the rows of the table of the prefix
    are put before those of the sequence. All of a sequence is computed anew for every token.
    """

    def __init__(self, stage: TokenTransformer, prefix: int = 0, dtype: torch.dtype = torch.float32) -> None:
        from transformers import OPTConfig, OPTForCausalLM

        sizes = stage.stage
        rows, outputs = stage.embed_tokens.num_embeddings, stage.output_projection.out_features
        config = OPTConfig(
            vocab_size=rows,
            hidden_size=sizes.dim,
            word_embed_proj_dim=sizes.dim,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            ffn_dim=sizes.ffn,
            max_position_embeddings=sizes.positions + prefix,
            do_layer_norm_before=sizes.pre_norm,
            activation_function="gelu",
            dropout=0.0,
            attention_dropout=0.0,
            tie_word_embeddings=False,
            attn_implementation="eager",
        )
        self.model = OPTForCausalLM(config).to(dtype).eval().requires_grad_(False)
        self.scale, self.outputs = sizes.dim**0.5, outputs
        named = dict(stage.state_dict())
        named.pop("embed_positions_1.weight", None)
        if prefix:
            first, second = stage.embed_positions_1.weight, stage.embed_positions.weight
            named["embed_positions.weight"] = torch.cat([first[: 2 + prefix], second[2:]])
        if "layer_norm.weight" in named:
            named["final_layer_norm.weight"] = named.pop("layer_norm.weight")
            named["final_layer_norm.bias"] = named.pop("layer_norm.bias")
        head = named.pop("output_projection.weight")
        padded = torch.zeros(rows, sizes.dim)
        padded[:outputs] = head
        found = {f"model.decoder.{name}": tensor for name, tensor in named.items()} | {"lm_head.weight": padded}
        self.model.load_state_dict(found, strict=True)

    def logits(self, ids: Tensor) -> Tensor:
        """Logits `[B, N, outputs]` after each of the ids `[B, N]`."""
        inputs = self.model.get_input_embeddings()(ids) * self.scale
        return self.model(inputs_embeds=inputs, attention_mask=torch.ones_like(ids)).logits[..., : self.outputs]


def written_out(stage: TokenTransformer, h: Tensor, seen: Tensor) -> Tensor:
    """Logits in float64 of one sequence of embedded tokens `[N, D]`; seen `[N, N]`: row i attends to column j.

    Every head and every token by itself, from the formulas of the specification alone.
    """
    p = {name: tensor.double() for name, tensor in stage.state_dict().items()}
    heads, width = stage.stage.heads, stage.stage.dim // stage.stage.heads

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def norm(name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]

    def attend(name: str, x: Tensor) -> Tensor:
        q, k, v = (linear(f"{name}.{part}_proj", x) for part in "qkv")
        rows = []
        for i in range(len(x)):
            parts = []
            for head in range(heads):
                cut = slice(head * width, (head + 1) * width)
                scores = (k[seen[i], cut] @ q[i, cut]) / width**0.5
                weights = (scores - scores.max()).exp()
                parts.append((weights / weights.sum()) @ v[seen[i], cut])
            rows.append(torch.cat(parts))
        return linear(f"{name}.out_proj", torch.stack(rows))

    def feed(name: str, x: Tensor) -> Tensor:
        inner = linear(f"{name}.fc1", x)
        return linear(f"{name}.fc2", inner * 0.5 * (1 + torch.erf(inner / 2**0.5)))

    h = h.double()
    for i in range(stage.stage.layers):
        one, two = f"layers.{i}.self_attn_layer_norm", f"layers.{i}.final_layer_norm"
        if stage.stage.pre_norm:
            h = h + attend(f"layers.{i}.self_attn", norm(one, h))
            h = h + feed(f"layers.{i}", norm(two, h))
        else:
            h = norm(one, h + attend(f"layers.{i}.self_attn", h))
            h = norm(two, h + feed(f"layers.{i}", h))
    if stage.stage.pre_norm:
        h = norm("layer_norm", h)
    return h @ p["output_projection.weight"].T


def plain_ids(tokens: Tensor, start: int = EOS) -> Tensor:
    """The slot and tokens `[B, N]` as ids."""
    return torch.cat([torch.full_like(tokens[:, :1], start), tokens + SPECIAL], dim=1)
