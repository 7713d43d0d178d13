"""A folder of diffusers' `LuminaPipeline`: our latents and pictures against the pipeline's own, from the same noise."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from modalities.contracts import Codec, Conditioning, Generator
from modalities.generators.nextdit.lumina_pipeline import flow_match, pipeline_options
from modalities.weights.description import ModelDescription, describe
from modalities.weights.loading import load_codec, load_generator, load_text_encoder

diffusers = pytest.importorskip("diffusers")

PROMPTS = ["a red cat", "two blue dog and the apple on a star"]


@pytest.fixture(scope="module")
def pipeline() -> Any:
    from tests.lumina_folder import make_pipeline

    return make_pipeline()


@pytest.fixture(scope="module")
def description(pipeline: Any, tmp_path_factory: pytest.TempPathFactory) -> ModelDescription:
    folder = tmp_path_factory.mktemp("lumina")
    pipeline.save_pretrained(folder)
    return describe(folder)


@pytest.fixture(scope="module")
def generator(description: ModelDescription) -> Generator:
    return load_generator(description, "cpu", torch.float32)


@pytest.fixture(scope="module")
def codec(description: ModelDescription) -> Codec:
    return load_codec(description, "cpu", torch.float32)


def noise(size: tuple[int, int], seeds: list[int]) -> torch.Tensor:
    shape = (4, size[0] // 8, size[1] // 8)
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


@pytest.mark.parametrize("size", [(64, 64), (96, 128), (32, 48)])
@pytest.mark.parametrize("shift", [1.0, 3.0])
@torch.no_grad()
def test_latents_equal_the_pipelines_with_its_own_choices(
    pipeline: Any, description: ModelDescription, generator: Generator, size: tuple[int, int], shift: float
):
    pipeline.scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    tokens, mask, negative, negative_mask = pipeline.encode_prompt(
        PROMPTS, True, negative_prompt=["bad", "ugly blurry photo"], clean_caption=False
    )
    given = {"prompt_embeds": tokens, "prompt_attention_mask": mask}
    given |= {"negative_prompt_embeds": negative, "negative_prompt_attention_mask": negative_mask}
    wanted = pipeline(
        **given,
        height=size[0],
        width=size[1],
        num_inference_steps=5,
        guidance_scale=4.0,
        latents=noise(size, [3, 4]),
        output_type="latent",
    ).images
    assert description.folder is not None
    options = pipeline_options(description.folder, steps=5)
    options = type(options)(
        **{f: getattr(options, f) for f in options.__slots__} | {"schedule_options": {"shift": shift}}
    )
    found = generator.generate(
        Conditioning(tokens=tokens, mask=mask.bool()),
        Conditioning(tokens=negative, mask=negative_mask.bool()),
        size,
        [3, 4],
        options,
    )
    assert wanted.std() > 0.5
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("shift", [1.0, 3.0, 4.0])
@pytest.mark.parametrize("steps", [1, 2, 10])
def test_the_grid_is_that_of_the_scheduler(shift: float, steps: int):
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(steps)
    torch.testing.assert_close(flow_match(steps, shift=shift).float(), 1 - scheduler.sigmas, atol=1e-6, rtol=0)


@torch.no_grad()
def test_the_codec_is_the_pipelines(pipeline: Any, codec: Codec):
    latents = torch.randn(2, 4, 4, 6)
    wanted = pipeline.vae.decode(latents / 0.13025).sample.clamp(-1, 1)
    torch.testing.assert_close(codec.decode(latents), wanted, atol=1e-5, rtol=0)
    media = torch.rand(2, 3, 32, 48) * 2 - 1
    wanted = pipeline.vae.encode(media).latent_dist.mode() * 0.13025
    torch.testing.assert_close(codec.encode(media), wanted, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_text_encoder_is_the_pipelines_where_that_leaves_prompts_alone(
    pipeline: Any, description: ModelDescription
):
    tokens, mask, *_ = pipeline.encode_prompt(PROMPTS, False, clean_caption=False)
    found = load_text_encoder(description, "cpu", torch.float32).encode(PROMPTS)
    for i, own in enumerate(found.split()):
        real = tokens[i][mask[i].bool()]
        torch.testing.assert_close(own.tokens[0], real, atol=1e-4, rtol=0)


@torch.no_grad()
def test_prompts_to_latents_equal_the_pipelines(pipeline: Any, description: ModelDescription, generator: Generator):
    pipeline.scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    wanted = pipeline(
        PROMPTS,
        negative_prompt=["bad", "ugly"],
        height=64,
        width=64,
        num_inference_steps=4,
        latents=noise((64, 64), [3, 4]),
        clean_caption=False,
        output_type="latent",
    ).images
    text = load_text_encoder(description, "cpu", torch.float32)
    assert description.folder is not None
    options = pipeline_options(description.folder, steps=4)
    found = generator.generate(text.encode(PROMPTS), text.encode(["bad", "ugly"]), (64, 64), [3, 4], options)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
