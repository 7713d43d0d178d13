"""Text, a class or nothing to VQ codes with both stages of a DiGIT, and its loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from modalities.contracts import Conditioning, GenerateOptions, Size
from modalities.generators.digit.config import DECODER_ROUNDS, EOS, SPECIAL, DiGITConfig
from modalities.generators.digit.layers import Cache, TokenTransformer
from modalities.generators.digit.model import DiGIT, read_prompt
from modalities.generators.digit.objective import decoder_loss, masked_loss, semantic_loss
from modalities.generators.digit.sampling import MASKED, Draws, in_rounds, invert, sources, uniforms
from modalities.generators.requests import check_counts, check_timeless

if TYPE_CHECKING:
    from modalities.weights.description import ModelDescription

SAMPLER = "autoregressive"
OPTIONS = ("temperature", "top_k", "top_p", "decoder_steps", "decoder_top_p", "decoder_temperature")
DECODER_TOP_P = 0.8
"""top_p of an autoregressive second stage, unless asked otherwise: that of the published script."""


class DiGITGenerator:
    """A DiGIT as a `modalities.contracts.Generator`; its latents are VQ codes as floats, `[B, 1, h, w]`.

    stride: media units per VQ code. Options of its sampler: temperature, top_k and top_p of the semantic tokens;
    decoder_steps, rounds of the second stage (0: one code after the other); decoder_top_p, of the latter;
    decoder_temperature, of either.
    """

    def __init__(self, model: DiGIT, stride: Sequence[int]) -> None:
        if len(stride) != 2:
            raise ValueError(f"stride {tuple(stride)} names {len(stride)} axes; a DiGIT has two")
        self.model = model
        self.stride = tuple(stride)

    @property
    def config(self) -> DiGITConfig:
        """The numbers of the model."""
        return self.model.config

    def latent_shape(self, size: Size) -> tuple[int, ...]:
        """`[1, h, w]`; ValueError for any size but the trained one, since positions are learned."""
        grid = self.config.code_grid
        trained = tuple(cells * unit for cells, unit in zip(grid, self.stride, strict=True))
        if tuple(size) != trained:
            raise ValueError(f"size {tuple(size)}: this model makes {trained} alone")
        return (1, *grid)

    def generate(
        self,
        conditioning: Conditioning,
        negative: Conditioning | None,
        size: Size,
        seeds: Sequence[int],
        options: GenerateOptions,
        start: Tensor | None = None,
    ) -> Tensor:
        """VQ codes `[B, 1, h, w]` in float32, one picture per prompt and seed.

        Sample i draws from generators of its own: first a number for each semantic token, then those of the second
        stage. Guidance moves the logits of the semantic tokens from those under `negative`; the second stage sees
        tokens alone. A sample whose logits are not finite is NaN. ValueError for what this family has not: another
        size, strength, extrapolation.
        """
        shape = self.latent_shape(size)
        self._check(conditioning, negative, seeds, options)
        settings = dict(options.sampler_options)
        draws = Draws(
            temperature=float(settings.get("temperature", 1.0)),
            top_k=_whole("top_k", settings.get("top_k", 0)),
            top_p=float(settings.get("top_p", 1.0)),
        )
        rounds = self._rounds(settings)
        last = Draws(
            temperature=float(settings.get("decoder_temperature", 1.0)),
            top_p=float(settings.get("decoder_top_p", DECODER_TOP_P)),
        )
        with torch.inference_mode():
            generators = sources(seeds)
            tokens = self.semantic_tokens(conditioning, negative, generators, draws, options.guidance.scale)
            codes = self.codes(tokens, generators, rounds, last)
        return codes.clone().float().where(codes != MASKED, torch.nan).view(-1, *shape)

    def semantic_tokens(
        self,
        conditioning: Conditioning,
        negative: Conditioning | None,
        generators: Sequence[torch.Generator],
        draws: Draws,
        guidance: float = 1.0,
    ) -> Tensor:
        """Tokens `[B, S]` of the first stage, one after the other, with keys and values kept.

        guidance: w in l = l_negative + w (l_positive - l_negative), the logits that are drawn from; 1 needs no
        `negative`, otherwise one for all samples or one for each. A sample whose logits are no numbers is MASKED.
        """
        stage, count, number = self.model.semantic, len(generators), self.config.tokens
        if guidance != 1 and negative is not None:
            conditioning = Conditioning.stack([conditioning, *[negative] * (count // len(negative))])
        prompt = read_prompt(self.config, conditioning).to(stage.embed_tokens.weight.device)
        cache = _cache(stage, len(prompt.start), prompt.length + number)
        if prompt.text is not None:
            cache.restrict(prompt.real)
            stage.run(stage.embed_text(prompt.text), cache.visible(prompt.length), cache=cache)
        return _one_by_one(stage, prompt.start, cache, uniforms(generators, number), draws, guidance)

    def codes(self, tokens: Tensor, generators: Sequence[torch.Generator], rounds: int, draws: Draws) -> Tensor:
        """VQ codes `[B, V]` of semantic tokens `[B, S]`: in so many rounds, or one after the other when 0.

        A sample whose tokens are MASKED, or whose logits are no numbers, is MASKED.
        """
        stage, number = self.model.decoder, self.config.num_codes
        tokens = tokens.to(stage.embed_tokens.weight.device)
        known = tokens.clamp_min(0)
        if rounds:

            def logits(codes: Tensor, where: Tensor) -> Tensor:
                return self.model.masked_logits(codes, known, where)

            found = in_rounds(logits, number, rounds, generators, tokens.device, draws.temperature)
        else:
            cache = _cache(stage, len(tokens), tokens.shape[1] + number)
            stage.run(stage.embed(known + SPECIAL + self.config.code_ids, prefix=True), causal=True, cache=cache)
            start = torch.full_like(tokens[:, 0], EOS)
            found = _one_by_one(stage, start, cache, uniforms(generators, number), draws)
        return found.where((tokens != MASKED).all(dim=1, keepdim=True), MASKED)

    def loss(self, latents: Tensor, conditioning: Conditioning, *, generator: torch.Generator) -> Tensor:
        """The sum of both stages' losses, which share no parameters.

        latents: `[B, 2, h, w]` on the grid of VQ codes: the code, and the semantic token of the cell that covers it.
        """
        codes, tokens = self.split(latents)
        first = semantic_loss(self.model, tokens, read_prompt(self.config, conditioning))
        if self.config.decoder_order == "masked":
            return first + masked_loss(self.model, codes, tokens, generator)
        return first + decoder_loss(self.model, codes, tokens)

    def split(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Codes `[B, V]` and tokens `[B, S]` of latents as `loss` takes them; ValueError when they are not so."""
        config = self.config
        steps = [whole // part for whole, part in zip(config.code_grid, config.grid, strict=True)]
        even = all(n * step == whole for n, step, whole in zip(config.grid, steps, config.code_grid, strict=True))
        if not even:
            raise ValueError(f"a grid of {config.grid} tokens does not divide one of {config.code_grid} codes")
        if latents.shape[1:] != (2, *config.code_grid):
            wanted = [2, *config.code_grid]
            raise ValueError(f"latents of codes and tokens should be [B, {wanted}], not {list(latents.shape)}")
        whole = latents.round().long()
        return whole[:, 0].flatten(1), whole[:, 1, :: steps[0], :: steps[1]].flatten(1)

    def _rounds(self, settings: dict[str, float | str]) -> int:
        """Rounds of the second stage; ValueError when it was not trained to be sampled so."""
        masked = self.config.decoder_order == "masked"
        rounds = _whole("decoder_steps", settings.get("decoder_steps", DECODER_ROUNDS if masked else 0))
        if rounds > self.config.num_codes:
            raise ValueError(f"decoder_steps is {rounds}, but there are {self.config.num_codes} codes to draw")
        if bool(rounds) != masked:
            raise ValueError(
                f"decoder_steps is {rounds}, but the second stage of this model was trained to draw "
                + ("codes in rounds; expected at least 1" if masked else "one code after the other; expected 0")
            )
        return rounds

    def _check(
        self,
        conditioning: Conditioning,
        negative: Conditioning | None,
        seeds: Sequence[int],
        options: GenerateOptions,
    ) -> None:
        """ValueError when counts do not fit together, or for an option that this family does not have."""
        check_counts(conditioning, negative, seeds)
        check_timeless(options, SAMPLER, OPTIONS, "a DiGIT")
        scale = options.guidance.scale
        if scale != 1 and not self.config.text_width:
            raise ValueError(f"guidance is {scale}, but this model has no null condition to guide from; set it to 1")
        if scale != 1 and negative is None:
            raise ValueError(f"guidance is {scale}, which needs the conditioning of a negative prompt")


def _cache(stage: TokenTransformer, rows: int, length: int) -> Cache:
    weight = stage.embed_tokens.weight
    return Cache(stage.stage, rows, length, weight.device, weight.dtype)


def _one_by_one(
    stage: TokenTransformer, start: Tensor, cache: Cache, uniform: Tensor, draws: Draws, guidance: float = 1.0
) -> Tensor:
    """Codes `[B, N]` drawn one after the other, each from the logits after the id before it, `start` at first.

    uniform: `[B, N]`, the number that decides each code. start: `[B]`, or `[2 B]` under the positive and the negative
    prompts, whose logits guidance then mixes.
    """
    count, number = uniform.shape
    uniform = uniform.to(start.device)
    ids, found = start, torch.empty((count, number), dtype=torch.long, device=start.device)
    for place in range(number):
        logits = stage.logits(stage.run(stage.embed(ids[:, None], place), cache.visible(1), cache=cache)[:, 0])
        if len(start) > count:
            wanted, without = logits.chunk(2)
            logits = without + guidance * (wanted - without)
        found[:, place] = invert(draws.kept(logits), uniform[:, place])
        ids = found[:, place].repeat(len(start) // count) + SPECIAL
    # What is no number stays so: later tokens attend to it, so the last logits tell of all.
    return found.where(logits.isfinite().all(dim=1, keepdim=True), MASKED)


def _whole(name: str, value: float | str) -> int:
    """A whole number of at least 0 from an option."""
    if isinstance(value, str) or value != int(value) or value < 0:
        raise ValueError(f"{name} is {value}; expected a whole number of at least 0")
    return int(value)


def load(description: ModelDescription, device: torch.device | str, dtype: torch.dtype) -> DiGITGenerator:
    """The generator that a description names, its weights loaded strictly; CheckpointError when they do not fit."""
    from modalities.generators.digit.weights import load_weights

    with torch.device("meta"):
        model = DiGIT(DiGITConfig.from_mapping(description.generator_config))
    load_weights(model, description.files, device=device, dtype=dtype)
    return DiGITGenerator(model.eval(), description.stride)
