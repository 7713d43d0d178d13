"""What is wrong with diffusers' `LuminaPipeline` (0.42.1) or Lumina's own scripts, and right here: one test each."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from modalities.contracts import Conditioning, Extrapolation, GenerateOptions, Generator, Guidance, TextEncoder
from modalities.flow.schedules import shifted
from modalities.generators.nextdit.config import NextDiTConfig
from modalities.generators.nextdit.extrapolation import METHODS, PositionsAt, Spectrum
from modalities.generators.nextdit.rope import grid_positions, rope_table, trained_frequencies
from modalities.weights.description import ModelDescription, describe
from modalities.weights.loading import load_generator, load_text_encoder

pytest.importorskip("diffusers")

OPTIONS = GenerateOptions(sampler="euler", steps=3)
SIZE = (48, 32)


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> ModelDescription:
    from tests.lumina_folder import make_lumina_folder

    return describe(make_lumina_folder(tmp_path_factory.mktemp("lumina")))


@pytest.fixture(scope="module")
def generator(description: ModelDescription) -> Generator:
    return load_generator(description, "cpu", torch.float32)


@pytest.fixture(scope="module")
def text(description: ModelDescription) -> TextEncoder:
    return load_text_encoder(description, "cpu", torch.float32)


def test_several_pictures_of_a_prompt_keep_its_mask(generator: Generator, text: TextEncoder):
    """There, masks are ordered p1 p2 p1 p2 while embeddings are p1 p1 p2 p2 (diffusers issue 13634)."""
    prompts = ["a cat", "two blue dog and the apple on a star"]
    repeated = text.encode([prompt for prompt in prompts for _ in range(2)])
    assert repeated.mask.sum(1).tolist() == [3, 3, 10, 10]
    together = generator.generate(repeated, None, SIZE, [1, 2, 3, 4], OPTIONS)
    for i in range(4):
        alone = generator.generate(text.encode([prompts[i // 2]]), None, SIZE, [1 + i], OPTIONS)
        torch.testing.assert_close(together[i], alone[0], atol=1e-5, rtol=1e-5)


def test_prompts_are_read_as_they_are_written(text: TextEncoder):
    """There, prompts are lower-cased, and Chinese is cut out of them when the cleaning packages are installed."""
    plain, shouted = text.encode(["a red cat"]), text.encode(["A RED CAT"])
    assert not torch.equal(plain.tokens, shouted.tokens)
    chinese, empty = text.encode(["红 猫"]), text.encode([""])
    assert chinese.mask.sum() == 3
    assert empty.mask.sum() == 1


def test_a_negative_prompt_is_not_cut_to_the_prompts_length(text: TextEncoder):
    """There, it is tokenised to the padded length of the positive batch."""
    negative = " ".join(["bad ugly blurry"] * 9)
    assert text.encode([negative]).mask.sum() == 28


def test_a_prompts_features_do_not_depend_on_its_batch_mates(text: TextEncoder):
    """There, they are padded, and rounded, together."""
    prompts = ["a red cat", "two blue dog and the apple on a star", ""]
    together = text.encode(prompts).split()
    for prompt, own in zip(prompts, together, strict=True):
        assert torch.equal(own.tokens, text.encode([prompt]).tokens)


def test_one_precomputed_negative_serves_a_batch(generator: Generator, text: TextEncoder):
    """There, precomputed embeddings are not expanded to the batch."""
    prompts = text.encode(["a cat", "a red dog", "a star"])
    found = generator.generate(prompts, text.encode(["bad"]), SIZE, [1, 2, 3], OPTIONS)
    torch.testing.assert_close(found, generator.generate(prompts, text.encode(["bad"] * 3), SIZE, [1, 2, 3], OPTIONS))


def test_a_sample_is_the_same_alone_and_in_a_batch(generator: Generator, text: TextEncoder):
    prompts = ["a red cat", "two blue dog and the apple on a star", ""]
    negative = text.encode(["bad"])
    together = generator.generate(text.encode(prompts), negative, SIZE, [5, 6, 7], OPTIONS)
    for i, prompt in enumerate(prompts):
        alone = generator.generate(text.encode([prompt]), negative, SIZE, [5 + i], OPTIONS)
        torch.testing.assert_close(alone[0], together[i], atol=1e-4, rtol=1e-4)


def test_sizes_below_the_trained_one_are_not_rescaled(description: ModelDescription):
    """There, s = sqrt(area ratio) falls below 1, stretching positions the model knows."""
    config = NextDiTConfig.from_mapping(description.generator_config)
    plain = rope_table(trained_frequencies(16, 2, 10000.0), grid_positions((2, 3)))
    for method in METHODS:
        options = Extrapolation(method=method, proportional_attention=True)
        positions, _ = PositionsAt(config, (2, 3), options, "cpu")(0.1)
        assert torch.equal(positions.query.cos, plain.cos)
        assert positions.attention_factor == 1.0


def test_time_aware_really_depends_on_time():
    """There, the watershed defaults to 1, so that every step interpolates; and in Lumina's menu it is a mere switch."""
    spectrum, options = Spectrum(head_dim=72, theta=10000.0, trained=(64, 64)), Extrapolation()
    tables = [METHODS["time-aware"](spectrum, (2.0, 2.0), t, options) for t in (0.0, 0.25, 0.5, 0.75)]
    assert all(not torch.equal(a, b) for a, b in pairwise(tables))
    assert options.watershed == 0.3


def test_a_panorama_is_rescaled_along_its_long_axis_only(description: ModelDescription):
    """There, one factor from the area serves both axes, so that a 2:1/2 panorama is not rescaled at all."""
    config = NextDiTConfig.from_mapping(description.generator_config)
    positions, _ = PositionsAt(config, (2, 8), Extrapolation(method="position-interpolation"), "cpu")(0.0)
    plain = rope_table(trained_frequencies(16, 2, 10000.0), grid_positions((2, 8)))
    assert torch.equal(positions.query.cos[..., 0::2], plain.cos[..., 0::2])
    assert not torch.equal(positions.query.cos[..., 1::2], plain.cos[..., 1::2])


def test_all_channels_are_guided_unless_asked(generator: Generator, text: TextEncoder):
    """There, the fourth latent channel is left out of guidance."""
    assert Guidance().channels is None
    step = GenerateOptions(sampler="euler", steps=1)
    guided = generator.generate(text.encode(["a cat"]), text.encode(["bad"]), SIZE, [1], step)
    plain = generator.generate(text.encode(["a cat"]), None, SIZE, [1], step)
    assert ((guided - plain).abs().amax(dim=(0, 2, 3)) > 1e-3).all()


def test_a_guidance_scale_below_one_counts(generator: Generator, text: TextEncoder):
    """There, guidance is off for every scale up to 1."""
    prompt, negative = text.encode(["a cat"]), text.encode(["bad"])
    weak = generator.generate(prompt, negative, SIZE, [1], GenerateOptions(steps=2, guidance=Guidance(scale=0.5)))
    plain = generator.generate(prompt, None, SIZE, [1], GenerateOptions(steps=2))
    assert (weak - plain).abs().max() > 1e-3


def test_sides_have_no_limit_in_the_rotary_table(generator: Generator, text: TextEncoder):
    """There, the table ends at 384 tokens a side."""
    out = generator.generate(text.encode(["a cat"]), None, (16, 6400), [1], GenerateOptions(sampler="euler", steps=1))
    assert out.shape == (1, 4, 2, 800)
    assert out.isfinite().all()


def test_a_shift_is_applied_once():
    """There, the smallest sigma is shifted twice: 0.0158 instead of the grid's own for ten steps and shift 4."""
    found = shifted(10, shift=4.0)
    uniform = torch.linspace(0, 1, 11, dtype=torch.float64)
    torch.testing.assert_close(found, uniform / (4 - 3 * uniform))


def test_rows_come_before_columns(generator: Generator):
    """In Lumina's sample.py, noise is made with width and height exchanged."""
    assert generator.latent_shape((48, 32)) == (4, 6, 4)


def test_each_sample_has_the_noise_of_its_own_seed(generator: Generator, text: TextEncoder):
    """In Lumina's sample.py, every caption gets the same noise, and seed 0 means none."""
    cat = text.encode(["a cat"])
    pair = Conditioning.stack([cat, cat])
    out = generator.generate(pair, None, SIZE, [0, 1], OPTIONS)
    assert (out[0] - out[1]).abs().max() > 0.1
    assert torch.equal(generator.generate(pair, None, SIZE, [0, 1], OPTIONS), out)


def test_the_deprecated_name_of_the_pipeline_is_read(description: ModelDescription, tmp_path: Path):
    """There, the published model_index.json names a class that raises."""
    assert description.folder is not None
    for path in description.folder.iterdir():
        if path.is_dir():
            (tmp_path / path.name).symlink_to(path)
    index = (description.folder / "model_index.json").read_text()
    (tmp_path / "model_index.json").write_text(index.replace("LuminaPipeline", "LuminaText2ImgPipeline"))
    assert describe(tmp_path).generator_config == description.generator_config
