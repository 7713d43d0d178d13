"""BigVGAN: mel spectrograms to sound with a neural vocoder, in the layout of the published generators.

Lee et al., "BigVGAN: a universal neural vocoder with large-scale training" (2023). Names of modules are the published
ones; the weights are folded (weight norm) as they are read. As a codec its latents are log10 mels, normalised if the
configuration says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import pi, prod
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalities.codecs.mel_spectrogram import MelConfig, MelSpectrogram
from modalities.contracts import CheckpointError
from modalities.weights.checkpoint import check_tensors, read_tensors
from modalities.weights.configuration import config_from

TAPS = 12
"""Length of the low pass of the anti-aliased activation; it works at twice the rate."""
SPELLINGS = (("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1"))
"""What weight norm calls a length and a direction: the older names of torch, and the newer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BigVGANConfig:
    """Shape of the generator, under the names of the published `args.yml` and `config.json`; defaults as Lumina's.

    resblock: "1" (two convolutions a step) or "2" (one). activation: snakebeta or snake. use_tanh_at_final: otherwise
    samples are cut at -1 and 1. mel: the spectrogram that it takes, fields of `MelConfig`.
    """

    num_mels: int = 80
    upsample_initial_channel: int = 1536
    upsample_rates: tuple[int, ...] = (4, 4, 2, 2, 2, 2)
    upsample_kernel_sizes: tuple[int, ...] = (8, 8, 4, 4, 4, 4)
    resblock: str = "1"
    resblock_kernel_sizes: tuple[int, ...] = (3, 7, 11)
    resblock_dilation_sizes: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    activation: str = "snakebeta"
    snake_logscale: bool = True
    use_tanh_at_final: bool = True
    use_bias_at_final: bool = True
    mel: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.resblock not in ("1", "2"):
            raise ValueError(f"bigvgan: resblock `{self.resblock}` should be 1 or 2")
        if self.activation not in ("snake", "snakebeta"):
            raise ValueError(f"bigvgan: activation `{self.activation}` should be snake or snakebeta")
        if len(self.upsample_rates) != len(self.upsample_kernel_sizes) or not self.upsample_rates:
            raise ValueError("bigvgan: upsample_rates and upsample_kernel_sizes should be equally many, at least one")
        if any(k < u or (k - u) % 2 for u, k in zip(self.upsample_rates, self.upsample_kernel_sizes, strict=True)):
            raise ValueError("bigvgan: each upsample kernel should be as long as its rate, or longer by an even number")
        if len(self.resblock_kernel_sizes) != len(self.resblock_dilation_sizes) or not self.resblock_kernel_sizes:
            raise ValueError("bigvgan: resblock_kernel_sizes and resblock_dilation_sizes should be equally many")
        if self.upsample_initial_channel % 2 ** len(self.upsample_rates) or self.upsample_initial_channel < 1:
            raise ValueError("bigvgan: upsample_initial_channel cannot be halved at every upsampling")
        mel = self.mel_config
        if prod(self.upsample_rates) != mel.hop:
            raise ValueError(f"bigvgan: the rates {self.upsample_rates} do not multiply to the hop {mel.hop}")

    @property
    def mel_config(self) -> MelConfig:
        """The spectrogram that the vocoder takes."""
        return config_from(MelConfig, {"mels": self.num_mels, **self.mel}, "mel spectrogram")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Read plain values; ValueError names keys that do not exist. `resblock` may be a number."""
        resblock = {"resblock": str(values["resblock"])} if "resblock" in values else {}
        return config_from(cls, {**values, **resblock}, "bigvgan")


def kaiser_sinc(cutoff: float, half_width: float, taps: int) -> Tensor:
    """A windowed-sinc low pass `[taps]` with a sum of 1; cutoff and half the transition's width in cycles a sample.

    The window's shape follows from the width and the number of taps by Kaiser's formulas (Oppenheim and Schafer,
    "Discrete-time signal processing", section 7.6).
    """
    half = taps // 2
    attenuation = 2.285 * (half - 1) * pi * 4 * half_width + 7.95
    if attenuation > 50:
        beta = 0.1102 * (attenuation - 8.7)
    elif attenuation >= 21:
        beta = 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    else:
        beta = 0.0
    window = torch.kaiser_window(taps, periodic=False, beta=beta, dtype=torch.float64)
    time = torch.arange(taps, dtype=torch.float64) - half + (0.5 if taps % 2 == 0 else 0.0)
    found = window * torch.sinc(2 * cutoff * time)
    return (found / found.sum()).float()


class Up(nn.Module):
    """Twice the rate: zeros in between, then the low pass. The ends are repeated first."""

    filter: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filter", kaiser_sinc(0.25, 0.3, TAPS)[None, None])

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, N]` to `[B, C, 2 N]`."""
        channels, edge = x.shape[1], TAPS // 2 - 1
        padded = F.pad(x, (edge, edge), mode="replicate")
        found = 2 * F.conv_transpose1d(padded, self.filter.expand(channels, -1, -1), stride=2, groups=channels)
        cut = 2 * edge + (TAPS - 2) // 2
        return found[..., cut:-cut]


class LowPass(nn.Module):
    """The low pass, every second value of it kept. The ends are repeated first."""

    filter: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filter", kaiser_sinc(0.25, 0.3, TAPS)[None, None])

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, 2 N]` to `[B, C, N]`."""
        channels = x.shape[1]
        padded = F.pad(x, (TAPS // 2 - 1, TAPS // 2), mode="replicate")
        return F.conv1d(padded, self.filter.expand(channels, -1, -1), stride=2, groups=channels)


class Down(nn.Module):
    """Half the rate."""

    def __init__(self) -> None:
        super().__init__()
        self.lowpass = LowPass()

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, 2 N]` to `[B, C, N]`."""
        found: Tensor = self.lowpass(x)
        return found


class Snake(nn.Module):
    """x + sin^2(alpha x) / beta, alpha and beta learnt for each channel; beta is alpha in the plain kind.

    Ziyin et al., "Neural networks fail to learn periodic functions and how to fix it" (2020), equation 3.
    """

    def __init__(self, channels: int, config: BigVGANConfig) -> None:
        super().__init__()
        self.logarithmic = config.snake_logscale
        start = torch.zeros(channels) if self.logarithmic else torch.ones(channels)
        self.alpha = nn.Parameter(start.clone())
        self.beta = nn.Parameter(start.clone()) if config.activation == "snakebeta" else None

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, N]` to the same shape."""
        alpha = self.alpha[:, None]
        beta = alpha if self.beta is None else self.beta[:, None]
        if self.logarithmic:
            alpha, beta = alpha.exp(), beta.exp()
        return x + torch.sin(alpha * x).square() / (beta + 1e-9)


class Activation(nn.Module):
    """A snake at twice the rate, so that what it adds above the band does not fold back."""

    def __init__(self, channels: int, config: BigVGANConfig) -> None:
        super().__init__()
        self.act = Snake(channels, config)
        self.upsample = Up()
        self.downsample = Down()

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, N]` to the same shape."""
        found: Tensor = self.downsample(self.act(self.upsample(x)))
        return found


def _convolution(channels: int, kernel: int, dilation: int) -> nn.Conv1d:
    return nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2)


class Block1(nn.Module):
    """Residual steps of two convolutions, the first of them dilated."""

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int], config: BigVGANConfig) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(_convolution(channels, kernel, dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(_convolution(channels, kernel, 1) for _ in dilations)
        self.activations = nn.ModuleList(Activation(channels, config) for _ in range(2 * len(dilations)))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, N]` to the same shape."""
        for i, (first, second) in enumerate(zip(self.convs1, self.convs2, strict=True)):
            x = x + second(self.activations[2 * i + 1](first(self.activations[2 * i](x))))
        return x


class Block2(nn.Module):
    """Residual steps of one dilated convolution."""

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int], config: BigVGANConfig) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_convolution(channels, kernel, dilation) for dilation in dilations)
        self.activations = nn.ModuleList(Activation(channels, config) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, N]` to the same shape."""
        for convolution, activation in zip(self.convs, self.activations, strict=True):
            x = x + convolution(activation(x))
        return x


class BigVGAN(nn.Module):
    """The generator, and the spectrogram that it turns back; a `Codec`."""

    def __init__(self, config: BigVGANConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = MelSpectrogram(config.mel_config)
        self.stride: tuple[int, ...] = (config.mel_config.hop,)
        self.channels = config.num_mels
        width = config.upsample_initial_channel
        block = Block1 if config.resblock == "1" else Block2
        self.conv_pre = nn.Conv1d(config.num_mels, width, 7, padding=3)
        ups, blocks = [], []
        for rate, kernel in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
            ups.append(
                nn.ModuleList([nn.ConvTranspose1d(width, width // 2, kernel, rate, padding=(kernel - rate) // 2)])
            )
            width //= 2
            for size, dilations in zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True):
                blocks.append(block(width, size, dilations, config))
        self.ups = nn.ModuleList(ups)
        self.resblocks = nn.ModuleList(blocks)
        self.activation_post = Activation(width, config)
        self.conv_post = nn.Conv1d(width, 1, 7, padding=3, bias=config.use_bias_at_final)

    def forward(self, mel: Tensor) -> Tensor:
        """Log10 mels `[B, mels, T]` to samples `[B, 1, T hop]` in -1..1."""
        x = self.conv_pre(mel)
        side_by_side = len(self.config.resblock_kernel_sizes)
        for i, up in enumerate(self.ups):
            x = up[0](x)  # type: ignore[index]
            blocks = self.resblocks[i * side_by_side : (i + 1) * side_by_side]
            x = torch.stack([block(x) for block in blocks]).mean(dim=0)
        x = self.conv_post(self.activation_post(x))
        return torch.tanh(x) if self.config.use_tanh_at_final else x.clamp(-1, 1)

    def encode(self, media: Tensor) -> Tensor:
        """Media `[B, 1, N]` to mels `[B, mels, N / hop]`; each sound by itself."""
        return torch.cat([self.mel(one) for one in torch.split(media, 1)]) if len(media) else self.mel(media)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents `[B, mels, T]` to media `[B, 1, T hop]` in -1..1; each sound by itself."""
        self._check(latents)
        return self.decode_mel(self.mel.raw(latents))

    def decode_mel(self, mels: Tensor) -> Tensor:
        """Log10 mels `[B, mels, T]`, not normalised, to samples `[B, 1, T hop]`; each sound by itself."""
        self._check(mels)
        return torch.cat([self(one) for one in torch.split(mels.float(), 1)])

    def _check(self, mels: Tensor) -> None:
        if mels.ndim != 3 or mels.shape[1] != self.channels or mels.shape[2] < 1:
            raise ValueError(f"mels should be [B, {self.channels}, frames], not {list(mels.shape)}")


def plain_shapes(model: BigVGAN) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a published file, with weight norm in its older spelling."""
    shapes: dict[str, tuple[int, ...]] = {}
    normed = set(_normed(model))
    for name, tensor in model.state_dict().items():
        owner, _, leaf = name.rpartition(".")
        if leaf == "weight" and owner in normed:
            shapes[f"{owner}.{SPELLINGS[0][0]}"] = (tensor.shape[0], *[1] * (tensor.ndim - 1))
            shapes[f"{owner}.{SPELLINGS[0][1]}"] = tuple(tensor.shape)
        else:
            shapes[name] = tuple(tensor.shape)
    return shapes


def folded(model: BigVGAN, tensors: Mapping[str, Tensor], place: str) -> dict[str, Tensor]:
    """The state of `model` from the tensors of a published file: weights = length times direction, in float64.

    CheckpointError when names or shapes are not exactly those of the configuration.
    """
    state = {older(name): tensor for name, tensor in tensors.items()}
    check_tensors(state, plain_shapes(model), place)
    for owner in _normed(model):
        length, direction = (state.pop(f"{owner}.{leaf}").double() for leaf in SPELLINGS[0])
        size = direction.flatten(1).norm(dim=1).view_as(length)
        if not bool((size > 0).all()):
            raise CheckpointError(f"{place}: {owner}.weight_v holds a direction without length")
        state[f"{owner}.weight"] = (length * direction / size).float()
    return {name: tensor.float() for name, tensor in state.items()}


def _normed(model: BigVGAN) -> Iterator[str]:
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            yield name


def older(name: str) -> str:
    """A name with weight norm in its older spelling."""
    for old, new in zip(*SPELLINGS, strict=True):
        if name.endswith(f".{new}"):
            return name.removesuffix(new) + old
    return name


def load(spec: Mapping[str, Any], device: torch.device | str, dtype: torch.dtype) -> BigVGAN:
    """The codec of a description: `file` (safetensors in the published layout) and `config`. Always in float32."""
    unknown = set(spec) - {"kind", "file", "folder", "config"}
    if unknown or "file" not in spec:
        wrong = f"unknown {', '.join(sorted(unknown))}" if unknown else "no `file`"
        raise ValueError(f"codec bigvgan: {wrong}; it takes file and config")
    file = Path(spec["file"])
    model = BigVGAN(BigVGANConfig.from_mapping(spec.get("config", {})))
    model.load_state_dict(folded(model, read_tensors(file), str(file)))
    return model.to(device).eval().requires_grad_(False)
