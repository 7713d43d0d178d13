"""A DiGIT in training: both stages at once, which share no parameters, on codes and tokens of the same pictures."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from modalities.contracts import Conditioning
from modalities.generators.digit.config import DECODER_ROUNDS, DiGITConfig
from modalities.generators.digit.generate import DECODER_TOP_P, DiGITGenerator
from modalities.generators.digit.model import DiGIT, read_prompt
from modalities.generators.digit.objective import SMOOTHING, decoder_loss, random_mask, semantic_loss, unmasking_loss
from modalities.generators.digit.sampling import Draws, sources
from modalities.training.family import Probe
from modalities.training.settings import GeneratorTraining, build

SHEET_GUIDANCE = 3.0
SHEET_DRAWS = Draws(top_p=0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiGITLoss:
    """What a training file may say of the loss.

    smoothing: of the labels, in both stages. decoder_part: part of a step's samples that the second stage sees; its
    sequences are several times as long as those of the first.
    """

    smoothing: float = SMOOTHING
    decoder_part: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing is {self.smoothing}; expected 0 or more and less than 1")
        if not 0 < self.decoder_part <= 1:
            raise ValueError(f"decoder_part is {self.decoder_part}; expected more than 0 and at most 1")


class DiGITFamily:
    """Both transformers of a DiGIT and their cross entropies."""

    def __init__(
        self,
        config: DiGITConfig,
        options: DiGITLoss,
        *,
        seed: int = 0,
        compile: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        torch.manual_seed(seed)
        self.network = DiGIT(config).to(device)
        self.generator = DiGITGenerator(self.network, (1, 1))
        self.options, self.device = options, torch.device(device)
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
        return {"smoothing": self.options.smoothing, "decoder_part": self.options.decoder_part}

    def loss(self, latents: Tensor, conditioning: Conditioning, source: torch.Generator, rows: slice) -> Tensor:
        """The sum of both stages' losses; `latents` `[B, 2, h, w]` hold codes and tokens, `source` gives the masks.

        A part of a batch counts its own masked codes, and the second stage sees its own first samples.
        """
        batch = len(latents)
        codes, tokens = (part.to(self.device) for part in self.generator.split(latents[rows]))
        conditioning = conditioning.rows(rows)
        smoothing = self.options.smoothing
        prompt = read_prompt(self.network.config, conditioning).to(self.device)
        some = max(1, round(self.options.decoder_part * len(codes)))
        mask = random_mask(batch, codes.shape[1], source)[rows][:some].to(self.device)
        # The CPU's fused attention takes twice the time of all else in a step: its backward pass is slow.
        with sdpa_kernel(SDPBackend.MATH) if self.device.type == "cpu" else nullcontext():
            first = semantic_loss(self.network, tokens, prompt, smoothing)
            if self.network.config.decoder_order == "masked":
                return first + unmasking_loss(self.network, codes[:some], tokens[:some], mask, smoothing)
            return first + decoder_loss(self.network, codes[:some], tokens[:some], smoothing)

    def sample(self, probe: Probe) -> Tensor:
        """Codes `[N, 1, h, w]` of the probe's prompts."""
        config = self.network.config
        self.network.eval()
        generators = sources([probe.seed + i for i in range(len(probe.conditioning))])
        scale = SHEET_GUIDANCE if config.text_width else 1.0
        tokens = self.generator.semantic_tokens(probe.conditioning, probe.negative, generators, SHEET_DRAWS, scale)
        rounds = DECODER_ROUNDS if config.decoder_order == "masked" else 0
        codes = self.generator.codes(tokens, generators, rounds, Draws(top_p=DECODER_TOP_P))
        self.network.train()
        return codes.view(-1, 1, *config.code_grid).float()


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
    return DiGITFamily(config, options, seed=training.seed, compile=compiled, device=device)
