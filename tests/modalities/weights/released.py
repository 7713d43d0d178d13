"""Tiny random checkpoints in the published layouts, saved as they were published: pickled by torch."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor

from modalities.codecs.bigvgan import BigVGAN, BigVGANConfig, plain_shapes
from modalities.codecs.vae1d import VAE1DConfig
from modalities.codecs.vae1d import expected_shapes as vae_shapes
from modalities.generators.flagdit.config import FlagDiTConfig
from modalities.generators.flagdit.config import expected_shapes as flagdit_shapes

GENERATOR = FlagDiTConfig(in_channels=4, dim=32, layers=2, heads=4, multiple_of=16, cap_feat_dim=24)
AUTOENCODER = VAE1DConfig(channels=4, embed=4, width=32)


def random_tensors(shapes: dict[str, tuple[int, ...]], seed: int) -> OrderedDict[str, Tensor]:
    """Normal weights small enough to stay finite through a few layers; norms around one."""
    source = torch.Generator().manual_seed(seed)
    made = OrderedDict()
    for name, shape in shapes.items():
        scale = 0.1 if len(shape) < 2 else 0.7 * (shape[1] * (shape[2] if len(shape) == 3 else 1)) ** -0.5
        made[name] = scale * torch.randn(shape, generator=source)
        if "norm" in name and name.endswith("weight"):
            made[name] += 1
    return made


def lightning(text: dict[str, Tensor], *, seed: int = 0, with_codec: bool = True) -> dict[str, object]:
    """The value of a training checkpoint of the Lumina audio line. text: tensors after `cond_stage_model.`."""
    state: OrderedDict[str, Tensor] = OrderedDict(betas=torch.rand(10), scale_factor=torch.tensor(0.8))
    generator = random_tensors(flagdit_shapes(GENERATOR), seed)
    state.update({f"model.diffusion_model.{name}": tensor for name, tensor in generator.items()})
    if with_codec:
        codec = random_tensors(vae_shapes(AUTOENCODER), seed + 1)
        state.update({f"first_stage_model.{name}": tensor for name, tensor in codec.items() if name != "scale_factor"})
    state.update({f"cond_stage_model.{name}": tensor for name, tensor in text.items()})
    return {"epoch": 119, "global_step": 5, "pytorch-lightning_version": "1.8.3", "state_dict": state, "loops": None}


def save_music(folder: Path, *, seed: int = 0, with_codec: bool = True) -> Path:
    """A folder as `Alpha-VLLM/Lumina-T2Music` is laid out, without a vocoder; answers the folder."""
    (folder / "music_generation").mkdir(parents=True)
    text = {"transformer.shared.weight": torch.rand(8, 24)}
    torch.save(lightning(text, seed=seed, with_codec=with_codec), folder / "music_generation" / "119.ckpt")
    if not with_codec:
        (folder / "maa2").mkdir()
        codec = random_tensors(vae_shapes(AUTOENCODER), seed + 1)
        del codec["scale_factor"]
        codec["loss.discriminator.weight"] = torch.rand(3)
        torch.save({"state_dict": codec}, folder / "maa2" / "maa2.ckpt")
    return folder


def save_vocoder(folder: Path, *, seed: int = 3) -> Path:
    """A tiny BigVGAN as it was published: weight-normed, with its `args.yml`; answers the file."""
    values = {
        "num_mels": 80,
        "upsample_initial_channel": 64,
        "upsample_rates": [4, 4, 2, 2, 2, 2],
        "upsample_kernel_sizes": [8, 8, 4, 4, 4, 4],
        "resblock": "1",
        "resblock_kernel_sizes": [3],
        "resblock_dilation_sizes": [[1, 3, 5]],
        "activation": "snakebeta",
        "snake_logscale": True,
        "batch_size": 32,
    }
    folder.mkdir(parents=True)
    (folder / "args.yml").write_text("".join(f"{key}: {value!r}\n" for key, value in values.items()))
    known = {key: value for key, value in values.items() if key != "batch_size"}
    model = BigVGAN(BigVGANConfig.from_mapping(known))
    tensors = random_tensors(plain_shapes(model), seed)
    for name, tensor in model.state_dict().items():
        if name.endswith("filter"):
            tensors[name] = tensor
    torch.save({"generator": tensors}, folder / "best_netG.pt")
    return folder / "best_netG.pt"
