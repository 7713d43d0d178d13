"""The autoencoders of SDXL and Stable Diffusion, as diffusers implements them, as a `Codec`. Always in float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modalities.contracts import CheckpointError
from modalities.weights.checkpoint import check_tensors, read_tensors
from modalities.weights.description import DescriptionError, find_folder
from modalities.weights.headers import read_json, tensor_files

OLD_ATTENTION_NAMES = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


class DiffusersVAE:
    """An `AutoencoderKL` whose latents are (z - shift) * scale; z is the mode of the posterior, so nothing is drawn.

    Arithmetic is float32 whatever the model's type, because these autoencoders overflow in float16, and one sample at
    a time, so that no sample depends on its batch mates and memory does not grow with the batch.
    """

    def __init__(self, network: nn.Module, config: Mapping[str, Any]) -> None:
        """network: the `AutoencoderKL`; config: its settings (block_out_channels, latent_channels, scaling_factor)."""
        self.network = network.float().eval().requires_grad_(False)
        step = 2 ** (len(config["block_out_channels"]) - 1)
        self.stride: tuple[int, ...] = (step, step)
        self.channels = int(config["latent_channels"])
        self.media_channels = int(config.get("in_channels", 3))
        self.scale = float(config.get("scaling_factor") or 0.18215)
        self.shift = float(config.get("shift_factor") or 0.0)

    @torch.no_grad()
    def encode(self, media: Tensor) -> Tensor:
        """Media `[B, 3, H, W]` in -1..1 to latents `[B, channels, H / stride, W / stride]`."""
        if media.ndim != 4 or media.shape[1] != self.media_channels or any(n % self.stride[0] for n in media.shape[2:]):
            wanted = f"[B, {self.media_channels}, H, W] with H and W divisible by {self.stride[0]}"
            raise ValueError(f"this autoencoder takes {wanted}, not {list(media.shape)}")
        network: Any = self.network
        modes = self._one_by_one(lambda sample: network.encode(sample).latent_dist.mode(), media)
        return (modes - self.shift) * self.scale

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents to media in -1..1."""
        if latents.ndim != 4 or latents.shape[1] != self.channels:
            raise ValueError(f"latents should be [B, {self.channels}, h, w], not {list(latents.shape)}")
        network: Any = self.network
        z = latents.float() / self.scale + self.shift
        return self._one_by_one(lambda sample: network.decode(sample).sample, z).clamp(-1, 1)

    def _one_by_one(self, function: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        device = next(self.network.parameters()).device
        return torch.cat([function(sample) for sample in torch.split(batch.to(device, torch.float32), 1)])


def load(spec: Mapping[str, Any], device: torch.device | str, dtype: torch.dtype) -> DiffusersVAE:
    """The autoencoder of a mapping with `folder` (or `source`: a folder or hub id, with or without a `vae` inside).

    `dtype` is not followed: see `DiffusersVAE`. CheckpointError when the weights do not fit the configuration.
    """
    try:
        from diffusers import AutoencoderKL
    except ModuleNotFoundError:
        raise ValueError(
            "the codec diffusers-vae needs the package diffusers; install it with: pip install 'parhelion[diffusers]'"
        ) from None
    try:
        folder = _folder(spec)
        config = read_json(folder / "config.json")
        files = tensor_files(folder, "diffusion_pytorch_model")
    except DescriptionError as error:
        raise CheckpointError(str(error)) from None
    network = AutoencoderKL.from_config({k: v for k, v in config.items() if not k.startswith("_")})
    tensors = {_new_name(name): tensor for name, tensor in read_tensors(files).items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    check_tensors(tensors, wanted, str(folder))
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return DiffusersVAE(network.to(device), dict(network.config))


def _folder(spec: Mapping[str, Any]) -> Path:
    place = spec.get("folder") or spec.get("source")
    if not place:
        raise DescriptionError("the codec diffusers-vae needs `source`: a folder or a hub id")
    folder = find_folder(str(place), fetch=True)
    assert folder is not None
    return folder / "vae" if (folder / "vae").is_dir() else folder


def _new_name(name: str) -> str:
    for old, new in OLD_ATTENTION_NAMES.items():
        name = name.replace(old, new) if ".attentions." in name else name
    return name
