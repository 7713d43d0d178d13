"""A DiGIT in training: one stage or both, which share no parameters, on codes and tokens of the same pictures."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from modalities.codecs.quantized_latents import QuantizedLatents
from modalities.contracts import Conditioning
from modalities.generators.digit.config import DiGITConfig
from modalities.generators.digit.generate import DiGITGenerator
from modalities.generators.digit.model import DiGIT, read_prompt
from modalities.generators.digit.objective import SMOOTHING, decoder_loss, random_mask, semantic_loss, unmasking_loss
from modalities.training.codec_source import codec_source
from modalities.training.digit_start import start_from_codec
from modalities.training.settings import GeneratorTraining, build

STAGES = ("both", "semantic", "decoder")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiGITLoss:
    """What a training file may say of the loss.

    stages: `semantic`, `decoder` or `both`; a stage that is left out stays as it is, so that the two may be trained
    one after the other (`start_from`). smoothing: of the labels. decoder_part: where both are trained, the part of a
    step's samples that the second sees; its sequences are several times as long as those of the first.
    """

    stages: str = "both"
    smoothing: float = SMOOTHING
    decoder_part: float = 1.0

    def __post_init__(self) -> None:
        if self.stages not in STAGES:
            raise ValueError(f"unknown stages `{self.stages}`; known: {', '.join(STAGES)}")
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing is {self.smoothing}; expected 0 or more and less than 1")
        if not 0 < self.decoder_part <= 1:
            raise ValueError(f"decoder_part is {self.decoder_part}; expected more than 0 and at most 1")


class DiGITFamily:
    """Both transformers of a DiGIT, whose tables start from its codec, and their cross entropies."""

    def __init__(
        self,
        config: DiGITConfig,
        options: DiGITLoss,
        codec: QuantizedLatents,
        *,
        seed: int = 0,
        compile: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        torch.manual_seed(seed)
        self.network = DiGIT(config)
        start_from_codec(self.network, codec, torch.Generator().manual_seed(seed))
        self.network.to(device)
        self.generator = DiGITGenerator(self.network, (1, 1))
        self.options, self.device = options, torch.device(device)
        self.network.semantic.requires_grad_(options.stages != "decoder")
        self.network.decoder.requires_grad_(options.stages != "semantic")
        if compile:
            for stage in (self.network.semantic, self.network.decoder):
                for layer in stage.layers:
                    layer.compile()

    @property
    def module(self) -> DiGIT:
        """Both stages."""
        return self.network

    @property
    def config(self) -> dict[str, Any]:
        """Fields of `DiGITConfig`."""
        return self.network.config.to_mapping()

    @property
    def facts(self) -> dict[str, Any]:
        """How the loss was set."""
        return asdict(self.options)

    def loss(self, latents: Tensor, conditioning: Conditioning, source: torch.Generator, rows: slice) -> Tensor:
        """The sum of the stages' losses; `latents` `[B, 2, h, w]` hold codes and tokens, `source` gives the masks.

        A part of a batch counts its own masked codes, and the second stage sees its own first samples.
        """
        batch, stages = len(latents), self.options.stages
        codes, tokens = (part.to(self.device) for part in self.generator.split(latents[rows]))
        losses = []
        # The CPU's fused attention takes as long as all else in a step: its backward pass is slow.
        with sdpa_kernel(SDPBackend.MATH) if self.device.type == "cpu" else nullcontext():
            if stages != "decoder":
                prompt = read_prompt(self.network.config, conditioning.rows(rows)).to(self.device)
                losses.append(semantic_loss(self.network, tokens, prompt, self.options.smoothing))
            if stages != "semantic":
                some = max(1, round((self.options.decoder_part if stages == "both" else 1) * len(codes)))
                mask = random_mask(batch, codes.shape[1], source)[rows][:some].to(self.device)
                losses.append(self._decoder_loss(codes[:some], tokens[:some], mask))
        return torch.stack(losses).sum()

    def _decoder_loss(self, codes: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        if self.network.config.decoder_order == "masked":
            return unmasking_loss(self.network, codes, tokens, mask, self.options.smoothing)
        return decoder_loss(self.network, codes, tokens, self.options.smoothing)


def load(
    training: GeneratorTraining, latents: tuple[int, ...], width: int, device: torch.device, compiled: bool
) -> DiGITFamily:
    """The DiGIT of a training file; see `modalities.training.family`.

    ValueError when the codec gives no tokens beside its codes, or the file's model says otherwise than codec and text.
    """
    if latents[0] != 2:
        raise ValueError(
            f"a DiGIT is trained on codes and tokens, two channels; this codec gives {latents[0]}. Train one with "
            "workflows/train/digit_tokenizer.yaml, and name its folder as `codec`"
        )
    known = {"code_grid": latents[1:], "text_width": width, "text_tokens": training.text_tokens}
    config = DiGITConfig.from_mapping({**known, **training.model})
    if config.code_grid != latents[1:] or config.text_width not in (0, width):
        raise ValueError(
            f"model: code_grid {list(config.code_grid)} and text_width {config.text_width} do not fit codes of "
            f"{list(latents[1:])} and text of {width}"
        )
    options = build(DiGITLoss, training.loss, "loss")
    codec = codec_source(training.codec_or_default).load("cpu")
    if not isinstance(codec, QuantizedLatents) or codec.tokenizer is None:
        raise ValueError("a DiGIT is trained on the codes of a codec of kind `quantized-latents` with a tokenizer")
    if (len(codec.tokenizer.centroids), len(codec.codebook)) != (config.clusters, config.codes):
        raise ValueError(
            f"model: clusters {config.clusters} and codes {config.codes}, but the codec has "
            f"{len(codec.tokenizer.centroids)} and {len(codec.codebook)}"
        )
    return DiGITFamily(config, options, codec, seed=training.seed, compile=compiled, device=device)
