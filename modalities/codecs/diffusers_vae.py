"""The autoencoders of SDXL and Stable Diffusion, as diffusers implements them, as a `Codec`. Always in float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modalities.codecs.ldm_names import diffusers_name
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
        modes = one_by_one(network, lambda sample: network.encode(sample).latent_dist.mode(), media)
        return (modes - self.shift) * self.scale

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents to media in -1..1."""
        if latents.ndim != 4 or latents.shape[1] != self.channels:
            raise ValueError(f"latents should be [B, {self.channels}, h, w], not {list(latents.shape)}")
        network: Any = self.network
        z = latents.float() / self.scale + self.shift
        return one_by_one(network, lambda sample: network.decode(sample).sample, z).clamp(-1, 1)


def load(spec: Mapping[str, Any], device: torch.device | str, dtype: torch.dtype) -> DiffusersVAE:
    """The autoencoder of a mapping with `folder` (or `source`: a folder or hub id, with or without a `vae` inside).

    With `config`, the settings of an AutoencoderKL, and no config.json in the folder, its weights are
    `codec.safetensors` there; those may have the names of latent diffusion, as published for MAR. `dtype` is not
    followed: see `DiffusersVAE`. CheckpointError when the weights do not fit the configuration.
    """
    own = Path(str(spec["folder"])) if "config" in spec and "folder" in spec else None
    if own is not None and not (own / "config.json").is_file():
        config: dict[str, Any] = dict(spec["config"])
        files: tuple[Path, ...] = (own / "codec.safetensors",)
    else:
        config, files = read_folder(spec, "diffusers-vae")
    rename = partial(_new_name, levels=len(config.get("block_out_channels", ())))
    network = load_network("AutoencoderKL", config, files, "diffusers-vae", rename)
    return DiffusersVAE(network.to(device), dict(network.config))  # type: ignore[arg-type]


def read_folder(spec: Mapping[str, Any], kind: str) -> tuple[dict[str, Any], tuple[Path, ...]]:
    """Configuration and weight files of an autoencoder that diffusers saved; CheckpointError when there is none."""
    try:
        place = spec.get("source") or spec.get("folder")
        if not place:
            raise DescriptionError(f"the codec {kind} needs `source`: a folder or a hub id")
        folder = find_folder(str(place), fetch=True)
        assert folder is not None
        folder = folder / "vae" if (folder / "vae").is_dir() else folder
        return read_json(folder / "config.json"), tensor_files(folder, "diffusion_pytorch_model")
    except DescriptionError as error:
        raise CheckpointError(str(error)) from None


def load_network(
    name: str,
    config: Mapping[str, Any],
    files: Sequence[Path],
    kind: str,
    rename: Callable[[str], str] = str,
) -> nn.Module:
    """diffusers' class `name` in float32, its weights loaded strictly. rename: old tensor names to today's.

    ValueError when diffusers is missing; CheckpointError when the weights do not fit the configuration.
    """
    try:
        import diffusers
    except ModuleNotFoundError:
        raise ValueError(
            f"the codec {kind} needs the package diffusers; install it with: pip install 'parhelion[diffusers]'"
        ) from None
    build = getattr(diffusers, name).from_config
    network: nn.Module = build({k: v for k, v in config.items() if not k.startswith("_")})
    tensors = {rename(name): tensor for name, tensor in read_tensors(files).items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    for name, tensor in tensors.items():  # a 1 x 1 convolution where diffusers has a linear layer
        if tuple(tensor.shape) == (*wanted.get(name, ()), 1, 1):
            tensors[name] = tensor.flatten(1)
    check_tensors(tensors, wanted, str(files[0].parent))
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return network


def one_by_one(network: nn.Module, function: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """A function of samples, applied to each sample of a batch alone, in float32 on the network's device."""
    device = next(network.parameters()).device
    return torch.cat([function(sample) for sample in torch.split(batch.to(device, torch.float32), 1)])


def _new_name(name: str, levels: int) -> str:
    name = diffusers_name(name, levels)
    for old, new in OLD_ATTENTION_NAMES.items():
        name = name.replace(old, new) if ".attentions." in name else name
    return name
