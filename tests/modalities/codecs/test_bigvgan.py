"""The vocoder in the published layout: equal to a plain reference, strict about its tensors, in both spellings."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from modalities.codecs.bigvgan import SPELLINGS, BigVGAN, BigVGANConfig, folded, kaiser_sinc, load, plain_shapes
from modalities.contracts import CheckpointError
from modalities.weights.checkpoint import write_tensors

TINY = {
    "num_mels": 6,
    "upsample_initial_channel": 16,
    "upsample_rates": [4, 2],
    "upsample_kernel_sizes": [8, 4],
    "resblock_kernel_sizes": [3, 5],
    "resblock_dilation_sizes": [[1, 3], [1, 3]],
    "mel": {"window": 32, "hop": 8, "highest": 8000},
}


def published(config: dict, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random tensors in the published layout; the filters are what a published file holds: the computed ones."""
    model = BigVGAN(BigVGANConfig.from_mapping(config))
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in plain_shapes(model).items():
        if name.endswith("filter"):
            tensors[name] = model.state_dict()[name].clone()
        else:
            scale = 1.0 if name.endswith("weight_g") else 0.3
            tensors[name] = scale * torch.randn(shape, generator=generator)
    return tensors


def loaded(folder: Path, tensors: dict[str, torch.Tensor], config: dict) -> BigVGAN:
    path = folder / "vocoder.safetensors"
    write_tensors(path, tensors)
    return load({"kind": "bigvgan", "file": str(path), "config": config}, "cpu", torch.float32)


class Plain:
    """The published network in NumPy and float64, one sum at a time, from the tensors as they are named."""

    def __init__(self, tensors: dict[str, torch.Tensor], config: dict) -> None:
        self.t = {name: tensor.double().numpy() for name, tensor in tensors.items()}
        self.config = {"resblock": "1", "activation": "snakebeta", "snake_logscale": True, **config}

    def weight(self, name: str) -> np.ndarray:
        g, v = self.t[f"{name}.weight_g"], self.t[f"{name}.weight_v"]
        return np.stack([g[i].item() * v[i] / math.sqrt((v[i] ** 2).sum()) for i in range(len(v))])

    def conv(self, x: np.ndarray, name: str, dilation: int = 1) -> np.ndarray:
        w, b = self.weight(name), self.t[f"{name}.bias"]
        taps, length = w.shape[2], x.shape[1]
        reach = dilation * (taps - 1) // 2
        padded = np.pad(x, ((0, 0), (reach, reach)))
        return b[:, None] + sum(w[:, :, k] @ padded[:, k * dilation : k * dilation + length] for k in range(taps))

    def transposed(self, x: np.ndarray, name: str, rate: int) -> np.ndarray:
        w, b = self.weight(name), self.t[f"{name}.bias"]
        taps = w.shape[2]
        full = np.zeros((w.shape[1], (x.shape[1] - 1) * rate + taps))
        for n in range(x.shape[1]):
            full[:, n * rate : n * rate + taps] += np.einsum("iot,i->ot", w, x[:, n])
        edge = (taps - rate) // 2
        return b[:, None] + full[:, edge : full.shape[1] - edge]

    def activation(self, x: np.ndarray, name: str) -> np.ndarray:
        up, down = self.t[f"{name}.upsample.filter"][0, 0], self.t[f"{name}.downsample.lowpass.filter"][0, 0]
        alpha = self.t[f"{name}.act.alpha"][:, None]
        beta = self.t.get(f"{name}.act.beta", self.t[f"{name}.act.alpha"])[..., None].reshape(-1, 1)
        if self.config["snake_logscale"]:
            alpha, beta = np.exp(alpha), np.exp(beta)

        def at(values: np.ndarray, index: int) -> np.ndarray:
            return values[:, min(max(index, 0), values.shape[1] - 1)]

        length = x.shape[1]
        # The published low passes have 12 taps, so their middle is half a sample off: output m of the upsampling sums
        # x[n] up[m - 2 n + 5], and output n of the downsampling sums y[2 n + k - 5] down[k].
        fine = np.zeros((x.shape[0], 2 * length))
        for m in range(2 * length):
            for n in range(m // 2 - 7, m // 2 + 8):
                tap = m - 2 * n + 5
                if 0 <= tap < 12:
                    fine[:, m] += 2 * at(x, n) * up[tap]
        fine = fine + np.sin(alpha * fine) ** 2 / (beta + 1e-9)
        out = np.zeros_like(x)
        for n in range(length):
            out[:, n] = sum(at(fine, 2 * n + k - 5) * down[k] for k in range(12))
        return out

    def block(self, x: np.ndarray, name: str, dilations: list[int]) -> np.ndarray:
        for i, dilation in enumerate(dilations):
            if self.config["resblock"] == "1":
                y = self.conv(self.activation(x, f"{name}.activations.{2 * i}"), f"{name}.convs1.{i}", dilation)
                y = self.conv(self.activation(y, f"{name}.activations.{2 * i + 1}"), f"{name}.convs2.{i}")
            else:
                y = self.conv(self.activation(x, f"{name}.activations.{i}"), f"{name}.convs.{i}", dilation)
            x = x + y
        return x

    def samples(self, mel: np.ndarray) -> np.ndarray:
        x = self.conv(mel, "conv_pre")
        kernels = len(self.config["resblock_kernel_sizes"])
        for i, rate in enumerate(self.config["upsample_rates"]):
            x = self.transposed(x, f"ups.{i}.0", rate)
            dilations = self.config["resblock_dilation_sizes"]
            x = sum(self.block(x, f"resblocks.{i * kernels + j}", dilations[j]) for j in range(kernels)) / kernels
        return np.tanh(self.conv(self.activation(x, "activation_post"), "conv_post"))


@pytest.mark.parametrize(
    "change",
    [{}, {"resblock": 2}, {"activation": "snake"}, {"activation": "snake", "snake_logscale": False, "resblock": "2"}],
    ids=["type1-snakebeta", "type2", "snake", "snake-linear-type2"],
)
def test_it_is_the_published_network(change: dict, tmp_path: Path):
    config = {**TINY, **change}
    tensors = published(config)
    mel = torch.randn(1, 6, 5, generator=torch.Generator().manual_seed(1))
    found = loaded(tmp_path, tensors, config).decode_mel(mel)
    expected = Plain(tensors, {**config, "resblock": str(config.get("resblock", 1))}).samples(mel[0].double().numpy())
    assert found.shape == (1, 1, 40)
    np.testing.assert_allclose(found[0].numpy(), expected, atol=2e-5)


def test_the_low_pass_is_kaisers():
    # Kaiser's window from its definition, with the modified Bessel function as its series.
    def bessel(x: float) -> float:
        return sum((x / 2) ** (2 * k) / math.factorial(k) ** 2 for k in range(40))

    attenuation = 2.285 * 5 * math.pi * 4 * 0.3 + 7.95
    beta = 0.1102 * (attenuation - 8.7)
    taps = []
    for n in range(12):
        time = n - 5.5
        window = bessel(beta * math.sqrt(1 - (time / 5.5) ** 2)) / bessel(beta)
        taps.append(window * math.sin(math.pi * time / 2) / (math.pi * time / 2))
    np.testing.assert_allclose(kaiser_sinc(0.25, 0.3, 12).numpy(), np.array(taps) / sum(taps), atol=1e-7)


def test_both_spellings_of_weight_norm_give_the_same_bits(tmp_path: Path):
    tensors = published(TINY)
    newer = {}
    for name, tensor in tensors.items():
        for old, new in zip(*SPELLINGS, strict=True):
            name = name.replace(f".{old}", f".{new}")
        newer[name] = tensor
    assert set(newer) != set(tensors)
    mel = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        loaded(tmp_path, newer, TINY).decode_mel(mel), loaded(tmp_path, tensors, TINY).decode_mel(mel), rtol=0, atol=0
    )


def test_the_released_layout_has_the_published_names_and_shapes():
    with torch.device("meta"):
        shapes = plain_shapes(BigVGAN(BigVGANConfig()))
    assert shapes["conv_pre.weight_v"] == (1536, 80, 7)
    assert shapes["ups.0.0.weight_g"] == (1536, 1, 1)
    assert shapes["ups.5.0.weight_v"] == (48, 24, 4)
    assert shapes["resblocks.17.convs1.2.weight_v"] == (24, 24, 11)
    assert shapes["resblocks.0.activations.5.act.beta"] == (768,)
    assert shapes["resblocks.0.activations.0.downsample.lowpass.filter"] == (1, 1, 12)
    assert shapes["activation_post.upsample.filter"] == (1, 1, 12)
    assert shapes["conv_post.bias"] == (1,)


def test_a_tensor_too_few_too_many_or_too_large_is_named(tmp_path: Path):
    tensors = published(TINY)
    for change in ({"conv_post.bias": None}, {"extra.weight": torch.ones(1)}, {"conv_pre.bias": torch.ones(3)}):
        wrong = {name: tensor for name, tensor in {**tensors, **change}.items() if tensor is not None}
        with pytest.raises(CheckpointError, match=next(iter(change))):
            loaded(tmp_path, wrong, TINY)
    none = {**tensors, "conv_pre.weight_v": torch.zeros_like(tensors["conv_pre.weight_v"])}
    with pytest.raises(CheckpointError, match="conv_pre"):
        folded(BigVGAN(BigVGANConfig.from_mapping(TINY)), none, "x")


def test_it_is_a_codec_and_a_sound_does_not_depend_on_its_batch(tmp_path: Path):
    codec = loaded(tmp_path, published(TINY), {**TINY, "mel": {**TINY["mel"], "mean": [-2.0] * 6, "std": [1.5] * 6}})
    media = 0.1 * torch.randn(2, 1, 80, generator=torch.Generator().manual_seed(2))
    latents = codec.encode(media)
    assert latents.shape == (2, 6, 10)
    assert (codec.stride, codec.channels) == ((8,), 6)
    sound = codec.decode(latents)
    assert sound.shape == media.shape
    assert sound.abs().max() <= 1
    torch.testing.assert_close(codec.decode(latents[1:]), sound[1:], rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"\[B, 6, frames\]"):
        codec.decode(latents[:, :5])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resblock": "3"}, "1 or 2"),
        ({"activation": "relu"}, "snake or snakebeta"),
        ({"upsample_rates": [4, 4]}, "hop 8"),
        ({"upsample_kernel_sizes": [8]}, "equally many"),
        ({"upsample_kernel_sizes": [7, 4]}, "even number"),
        ({"resblock_kernel_sizes": [3]}, "equally many"),
        ({"upsample_initial_channel": 18}, "halved"),
        ({"upsample_initial_chanel": 16}, "unknown upsample_initial_chanel"),
    ],
)
def test_a_wrong_configuration_is_named(change: dict, words: str):
    with pytest.raises(ValueError, match=words):
        BigVGANConfig.from_mapping({**TINY, **change})


def test_a_description_without_a_file_is_refused():
    with pytest.raises(ValueError, match="no `file`"):
        load({"kind": "bigvgan"}, "cpu", torch.float32)
