"""The Flag-DiT against a plain reference on random weights in the published layout; its sampling, loss and limits."""

from __future__ import annotations

from math import prod
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from modalities.contracts import CheckpointError, Conditioning, Extrapolation, GenerateOptions, Generator, Guidance
from modalities.generators.flagdit import cost
from modalities.generators.flagdit.config import PREFIX, FlagDiTConfig, config_from_shapes, expected_shapes
from modalities.generators.flagdit.generate import FlagDiTGenerator
from modalities.generators.flagdit.model import FlagDiT
from modalities.generators.flagdit.weights import load_weights, save_weights
from tests.modalities.flagdit import reference

CONFIG = FlagDiTConfig(
    in_channels=6, dim=48, layers=3, heads=4, multiple_of=16, cap_feat_dim=24, trained_tokens=(8,), max_tokens=12
)
EULER = GenerateOptions(sampler="euler", steps=4, schedule="uniform", guidance=Guidance(scale=5.0))


def randomised(config: FlagDiTConfig = CONFIG, seed: int = 0) -> FlagDiT:
    """Every parameter random: with the zero gates of a fresh model, tests would prove nothing."""
    model, source = FlagDiT(config), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(0.12 * torch.randn(parameter.shape, generator=source))
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1)
    return model.eval()


def words(*seeds: int) -> Conditioning:
    rows = [torch.randn(7, 24, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return Conditioning(tokens=torch.stack(rows), mask=torch.ones(len(rows), 7, dtype=torch.bool))


def frames(count: int, length: int = 10) -> Tensor:
    return torch.randn(count, 6, length, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("t", [0.0, 0.3719, 0.9996])
def test_the_velocity_is_that_of_the_reference(t: float) -> None:
    model, text, x = randomised(), words(1, 2), frames(2)
    with torch.no_grad():
        got = model(x, torch.full((2,), t), model.prepare(text.tokens), model.positions(10))
    expected = reference.velocity(dict(model.state_dict()), x, t, text.tokens)
    assert expected.abs().max() > 0.2
    assert (got - expected).abs().max() < 1e-5


def test_the_time_is_a_thousand_whole_steps() -> None:
    model, text = randomised(), words(1)
    state, positions, x = model.prepare(text.tokens), model.positions(10), frames(1)

    def at(t: float) -> Tensor:
        return model(x, torch.tensor([t]), state, positions)

    with torch.no_grad():
        assert torch.equal(at(0.5004), at(0.5))
        assert not torch.equal(at(0.5011), at(0.5))


def test_sampling_is_that_of_the_released_demo() -> None:
    model = randomised()
    text, empty = words(1, 2), words(3)
    got = FlagDiTGenerator(model, (512,)).generate(text, empty, (5120,), [4, 5], EULER)
    noise = torch.stack([torch.randn(6, 10, generator=torch.Generator().manual_seed(seed)) for seed in (4, 5)])
    state = dict(model.state_dict())
    expected = reference.sample(state, noise, 5, 5.0, text.tokens, empty.tokens.expand(2, -1, -1))
    assert (got - expected).abs().max() < 1e-4
    assert got.std() > 0.5


def test_a_sample_does_not_depend_on_its_batch_mates() -> None:
    generator = FlagDiTGenerator(randomised(), (512,))
    assert isinstance(generator, Generator)
    text, empty = words(1, 2, 3), words(0)
    together = generator.generate(text, empty, (4096,), [1, 2, 3], EULER)
    again = generator.generate(text, empty, (4096,), [1, 2, 3], EULER)
    assert torch.equal(together, again)
    for i in range(3):
        alone = generator.generate(words(i + 1), empty, (4096,), [i + 1], EULER)
        assert (together[i] - alone[0]).abs().max() < 1e-4
    plain = generator.generate(text, None, (4096,), [1, 2, 3], EULER)
    assert not torch.allclose(plain, together)


def test_masked_text_tokens_are_not_seen() -> None:
    model, x = randomised(), frames(1)
    text = words(1)
    longer = Conditioning.stack([text], length=11)
    with torch.no_grad():
        t, positions = torch.tensor([0.4]), model.positions(10)
        expected = model(x, t, model.prepare(text.tokens), positions)
        got = model(x, t, model.prepare(longer.tokens + 3 * ~longer.mask[..., None], longer.mask), positions)
    assert (got - expected).abs().max() < 1e-5


@pytest.mark.parametrize("method", ["position-interpolation", "ntk-aware", "time-aware"])
def test_longer_than_trained(method: str) -> None:
    generator = FlagDiTGenerator(randomised(), (512,))
    scaled = GenerateOptions(
        sampler="euler",
        steps=2,
        schedule="uniform",
        extrapolation=Extrapolation(method=method, proportional_attention=True),
    )
    out = generator.generate(words(1), words(0), (512 * 20,), [1], scaled)
    assert out.shape == (1, 6, 20)
    assert out.isfinite().all()
    inside = generator.generate(words(1), words(0), (4096,), [1], scaled)
    plain = GenerateOptions(sampler="euler", steps=2, schedule="uniform")
    assert torch.equal(inside, generator.generate(words(1), words(0), (4096,), [1], plain))


def test_longer_than_the_positions_is_refused_without_a_method() -> None:
    generator = FlagDiTGenerator(randomised(), (512,))
    with pytest.raises(ValueError, match=r"20 latent frames are more than the 12 .* \(6144,\)"):
        generator.generate(words(1), None, (512 * 20,), [1], EULER)
    with pytest.raises(ValueError, match=r"nearest that is: \(1024,\)"):
        generator.latent_shape((1000,))
    with pytest.raises(ValueError, match="one axis"):
        generator.latent_shape((512, 512))


def test_the_loss_leaves_a_little_noise() -> None:
    model, text, latents = randomised(), words(1, 2), frames(2)
    generator = FlagDiTGenerator(model, (512,))
    loss = generator.loss(latents, text, generator=torch.Generator().manual_seed(3))
    source = torch.Generator().manual_seed(3)
    step = torch.randint(0, 1000, (2,), generator=source)
    noise = torch.randn(latents.shape, generator=source)
    wide = step[:, None, None] / 1000
    x = wide * latents + (1 - (1 - 1e-4) * wide) * noise
    parts = [
        reference.velocity(dict(model.state_dict()), x[i : i + 1], (int(step[i]) + 0.5) / 1000, text.tokens[i : i + 1])
        for i in range(2)
    ]
    expected = (torch.cat(parts) - (latents - (1 - 1e-4) * noise)).square().mean()
    assert torch.allclose(loss, expected, rtol=1e-5)
    loss.backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize("layout", ["original", "lightning"])
def test_weights_go_out_and_in_under_published_names(layout: str, tmp_path: Path) -> None:
    model, file = randomised(), tmp_path / "generator.safetensors"
    save_weights(model, file, layout)
    names = set(load_file(file))
    assert all(name.startswith(PREFIX) for name in names) == (layout == "lightning")
    with torch.device("meta"):
        other = FlagDiT(CONFIG)
    load_weights(other, [file])
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])
    with pytest.raises(CheckpointError, match="15 missing"):
        load_weights(FlagDiT(FlagDiTConfig(**{**CONFIG.to_mapping(), "layers": 4, "trained_tokens": (8,)})), [file])


def test_the_released_configuration() -> None:
    config = FlagDiTConfig()
    shapes = expected_shapes(config)
    assert (config.parts.head_dim, config.parts.ffn_dim) == (24, 2048)
    assert shapes["blocks.15.adaLN_modulation.1.weight"] == (4608, 768)
    assert config_from_shapes(shapes) == config
    with torch.device("meta"):
        model = FlagDiT(config)
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} == shapes
    assert cost.parameters({}) == sum(prod(shape) for shape in shapes.values())
    assert cost.checked({}) == config.to_mapping()
    assert (cost.tokens({}, (312,)), cost.trained_cells({}), cost.patch({})) == (312, (312,), (1,))
    assert cost.flops({}, 624, 77) > 2 * cost.flops({}, 312, 77) > 0
    assert config_from_shapes(expected_shapes(CONFIG), trained_tokens=(8,), max_tokens=12).parts.ffn_dim == 128


@pytest.mark.parametrize(
    "wrong", [{"heads": 7}, {"depth": 3}, {"trained_tokens": (4, 4)}, {"sigma_min": 1.0}, {"max_tokens": 0}]
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        cost.checked(wrong)
    with pytest.raises(ValueError, match="no Flag-DiT"):
        config_from_shapes({"x_embedder.weight": (4, 4)})
