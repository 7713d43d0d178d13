"""Training of the image autoencoder on composed pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from modalities.codecs.image_autoencoder import ImageAutoencoder, ImageAutoencoderConfig, reconstruction_loss
from modalities.training.corpora.compose import JITTER, compose, draw_scene, to_media
from modalities.training.corpora.sprites import Sprites
from modalities.training.loop import LoopState
from modalities.training.order import batch_indices, step_generator
from modalities.training.sheets import save_sheet

HELD_SEED_SHIFT = 1_000_003
"""Held-out pictures come from the training seed plus this, so none of them is ever trained on."""


def composed_pictures(sprites: Sprites, number: int, seed: int, jitter: float = JITTER) -> NDArray[np.uint8]:
    """Pictures `[number, 64, 64, 3]` of the scenes 0..number-1 of a seed."""
    concepts = len(sprites)
    return np.stack([compose(draw_scene(seed, i, concepts), sprites, seed, i, jitter) for i in range(number)])


class CodecTask:
    """Reconstruction of composed pictures, with noise on the latents so that the decoder forgives a generator's errors.

    noise: deviation of the noise, as a part of the latents' own deviation. spread: weight of the penalty that keeps the
    channels near unit variance and zero mean. refine: an autoencoder to go on from, whose encoder is kept as it
    is, so that generators trained on its latents stay valid.
    """

    def __init__(
        self,
        config: ImageAutoencoderConfig,
        pictures: NDArray[np.uint8],
        held: NDArray[np.uint8],
        *,
        seed: int,
        batch: int,
        noise: float = 0.1,
        spread: float = 0.02,
        refine: ImageAutoencoder | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        torch.manual_seed(seed)
        self.module = ImageAutoencoder(config).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.refines = refine is not None
        if refine is not None:
            self.module.load_state_dict(refine.state_dict())
            self.module.encoder.requires_grad_(False)
        self.pictures, self.held = pictures, torch.from_numpy(to_media(held)).to(device)
        self.seed, self.batch, self.noise, self.spread = seed, batch, noise, spread
        self.device = torch.device(device)

    def loss(self, step: int) -> Tensor:
        """Reconstruction loss of the step's batch plus the penalty on the latents' statistics."""
        rows = batch_indices(self.seed, step, self.batch, len(self.pictures)).numpy()
        media = torch.from_numpy(to_media(self.pictures[rows]))
        media = media.to(self.device).contiguous(memory_format=torch.channels_last)
        latents = self.module.raw_latents(media).float()
        noise = torch.randn(latents.shape, generator=step_generator(self.seed, step)).to(self.device)
        found = self.module.raw_decode(latents + self.noise * noise).float()
        mean, var = latents.mean(dim=(0, 2, 3)), latents.var(dim=(0, 2, 3))
        penalty = mean.square().mean() + (var - 1).square().mean()
        total: Tensor = reconstruction_loss(found, media) + self.spread * penalty
        return total

    @torch.no_grad()
    def psnr(self) -> float:
        """Mean peak signal-to-noise ratio over the held pictures in dB, through normalised latents and back."""
        self.normalise()
        found = torch.cat([self.module.decode(self.module.encode(part)) for part in torch.split(self.held, 64)])
        error = ((found - self.held) / 2).square().mean(dim=(1, 2, 3))
        return float((-10 * torch.log10(error)).mean())

    def normalise(self) -> None:
        """Take the statistics of the latents from the first training pictures; a refined codec keeps its own."""
        if self.refines:
            return
        media = torch.from_numpy(to_media(self.pictures[:1024])).to(self.device)
        self.module.normalise_by(media)

    @torch.no_grad()
    def sheet(self, path: Path) -> None:
        """Held pictures above their reconstructions; the PSNR goes into `<path>.json`."""
        quality = self.psnr()
        some = self.held[:32]
        found = self.module.decode(self.module.encode(some))
        rows = torch.cat([torch.cat([some[i : i + 16], found[i : i + 16]]) for i in (0, 16)])
        save_sheet(path, rows, columns=16)
        path.with_suffix(".json").write_text(json.dumps({"psnr": quality}) + "\n", encoding="utf-8")

    def export(self, folder: Path, state: LoopState) -> None:
        """Write `codec.safetensors` (float16) and `codec.json` (configuration and how it was trained)."""
        quality = self.psnr()
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {k: v.detach().to("cpu", torch.float16).contiguous() for k, v in self.module.state_dict().items()}
        save_file(tensors, folder / "codec.safetensors")
        training = {"samples": state.samples, "seconds": round(state.seconds), "psnr": round(quality, 2)}
        training |= {"seed": self.seed, "batch": self.batch, "noise": self.noise}
        note = {"kind": "image-autoencoder", "config": self.module.config.to_mapping(), "training": training}
        (folder / "codec.json").write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
