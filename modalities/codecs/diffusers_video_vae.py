"""Causal video autoencoders as diffusers implements them (Wan, HunyuanVideo, LTX-Video), as a `Codec`. In float32.

All three code the first frame by itself and then t frames as one: F frames become 1 + (F - 1) / t latent frames, so F
is 1 more than a multiple of t. Wan and HunyuanVideo have t = 4, LTX-Video has t = 8.

CogVideoX is left out: its decoder gives back 1 + 4 k frames for odd numbers of latent frames only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from modalities.codecs.diffusers_vae import load_network, one_by_one, read_folder
from modalities.contracts import CheckpointError

KIND = "diffusers-video-vae"
NETWORKS = ("AutoencoderKLWan", "AutoencoderKLHunyuanVideo", "AutoencoderKLLTXVideo")
"""The classes that are known to work, as `_class_name` in config.json names them."""


class DiffusersVideoVAE:
    """A causal video autoencoder whose latents are (z - mean) / std * scale; z is the mode of the posterior.

    stride: frames, rows and columns of a latent cell. lead: along each axis, so many units come first that are a cell
    each; here the first frame. One sample at a time, so that no sample depends on its batch mates.
    """

    lead: tuple[int, ...] = (1, 0, 0)

    def __init__(self, network: nn.Module, config: Mapping[str, Any]) -> None:
        """network: one of `NETWORKS`; config: its settings, for the statistics of the latents."""
        self.network = network.float().eval().requires_grad_(False)
        self.stride: tuple[int, ...] = stride_of(config)
        self.channels = int(config.get("z_dim") or config["latent_channels"])
        self.media_channels = int(config["out_channels"])
        held = network.state_dict()
        mean = held.get("latents_mean", config.get("latents_mean"))
        std = held.get("latents_std", config.get("latents_std"))
        device = next(network.parameters()).device
        self._mean = _per_channel(mean if mean is not None else [0.0] * self.channels, device)
        self._std = _per_channel(std if std is not None else [1.0] * self.channels, device)
        self._scale = float(config.get("scaling_factor") or 1.0)

    @torch.no_grad()
    def encode(self, media: Tensor) -> Tensor:
        """Media `[B, 3, F, H, W]` in -1..1 to latents `[B, channels, 1 + (F - 1) / t, H / s, W / s]`."""
        frames, *sides = self.stride
        known = media.ndim == 5 and media.shape[1] == self.media_channels
        if not known or media.shape[2] % frames != 1 or any(n % s for n, s in zip(media.shape[3:], sides, strict=True)):
            wanted = f"[B, {self.media_channels}, 1 + {frames} k, H, W] with H and W divisible by {sides[0]}"
            raise ValueError(f"this video autoencoder takes {wanted}, not {list(media.shape)}")
        network: Any = self.network
        modes = one_by_one(network, lambda sample: network.encode(sample).latent_dist.mode(), media)
        return (modes - self._mean) / self._std * self._scale

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents `[B, channels, f, h, w]` to media `[B, 3, 1 + t (f - 1), s h, s w]` in -1..1."""
        if latents.ndim != 5 or latents.shape[1] != self.channels or 0 in latents.shape:
            raise ValueError(f"latents should be [B, {self.channels}, f, h, w], not {list(latents.shape)}")
        network: Any = self.network
        z = latents.to(self._mean) / self._scale * self._std + self._mean
        return one_by_one(network, lambda sample: network.decode(sample).sample, z).clamp(-1, 1)


def stride_of(config: Mapping[str, Any]) -> tuple[int, int, int]:
    """Frames, rows and columns of a latent cell, from the layers that the configuration asks for."""
    if "temperal_downsample" in config:  # Wan's own spelling
        side = 2 ** (len(config["dim_mult"]) - 1) * int(config.get("patch_size") or 1)
        return 2 ** sum(map(bool, config["temperal_downsample"])), side, side
    if "spatio_temporal_scaling" in config:
        halvings = 2 ** sum(map(bool, config["spatio_temporal_scaling"]))
        side = halvings * int(config["patch_size"])
        return halvings * int(config["patch_size_t"]), side, side
    side = int(config["spatial_compression_ratio"])
    return int(config["temporal_compression_ratio"]), side, side


def load(spec: Mapping[str, Any], device: torch.device | str, dtype: torch.dtype) -> DiffusersVideoVAE:
    """The autoencoder of a mapping with `folder` (or `source`: a folder or hub id, with or without a `vae` inside).

    `dtype` is not followed. CheckpointError when the folder holds another class, weights that do not fit, or a decoder
    that draws noise.
    """
    config, files = read_folder(spec, KIND)
    name = str(config.get("_class_name"))
    if name not in NETWORKS:
        raise CheckpointError(f"{files[0].parent}: class {name}; {KIND} takes {', '.join(NETWORKS)}")
    if config.get("timestep_conditioning") or any(config.get("decoder_inject_noise") or ()):
        raise CheckpointError(f"{files[0].parent}: its decoder draws noise, so the same latents give other frames")
    network = load_network(name, config, files, KIND)
    settings: Any = network.config
    codec = DiffusersVideoVAE(network.to(device), dict(settings))
    if codec.stride[0] != 4 and name == "AutoencoderKLWan":
        raise CheckpointError(f"{files[0].parent}: codes {codec.stride[0]} frames as one; diffusers' Wan works with 4")
    return codec


def _per_channel(values: Tensor | list[float], device: torch.device) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32, device=device).view(1, -1, 1, 1, 1)
