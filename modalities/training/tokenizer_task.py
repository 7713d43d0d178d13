"""Training of a picture tokenizer without labels, and the clusters that turn its features into tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modalities.codecs.quantized_latents import QuantizedLatents
from modalities.codecs.semantic_tokens import SemanticTokenizer
from modalities.contracts import Codec
from modalities.training.clusters import PER_CLUSTER, fit_clusters
from modalities.training.corpus import Corpus
from modalities.training.loop import LoopState
from modalities.training.order import batch_indices, step_generator
from modalities.training.patch_views import random_patches, vicreg, view
from modalities.training.sheets import save_sheet
from modalities.training.tokenizer_settings import TokenizerTraining
from modalities.weights.checkpoint import write_tensors

CHUNK = 64
"""Pictures that are made, encoded or looked at together."""
SHOWN = 24


class PatchLearner(nn.Module):
    """The encoder, and a head that is thrown away after training: Linear, BatchNorm, ReLU, Linear on every patch."""

    def __init__(self, tokenizer: SemanticTokenizer, head: int) -> None:
        super().__init__()
        self.encoder, self.leading = tokenizer.encoder, tokenizer.leading
        self.head = nn.Sequential(
            nn.Linear(tokenizer.width, 2 * head), nn.BatchNorm1d(2 * head), nn.ReLU(), nn.Linear(2 * head, head)
        )

    def forward(self, media: Tensor, masked: Tensor) -> Tensor:
        """Embeddings `[B, N, head]` of the patches of media `[B, 3, H, W]`; masked `[B, N]` are not seen."""
        features = self.encoder(media, bool_masked_pos=masked).last_hidden_state[:, self.leading :]
        embedded: Tensor = self.head(features.flatten(0, 1))
        return embedded.view(*features.shape[:2], -1)


class TokenizerTask:
    """VICReg on matching patches of two views. See `modalities.training.patch_views`.

    pictures: `[N, 3, H, W]` bytes. of: name of the model whose codec is `inner`.
    """

    def __init__(
        self,
        training: TokenizerTraining,
        pictures: Tensor,
        inner: Codec,
        device: torch.device | str = "cpu",
        compiled: bool = False,
    ) -> None:
        torch.manual_seed(training.seed)
        self.training, self.pictures, self.device = training, pictures, torch.device(device)
        self.tokenizer = SemanticTokenizer(training.model, training.clusters, training.layer, training.whitened)
        self.tokenizer.to(device)
        self.module = PatchLearner(self.tokenizer, training.head).to(device)
        self.inner = inner
        if compiled:
            for layer in self.tokenizer.encoder.encoder.layer:
                layer.compile()

    def loss(self, step: int) -> Tensor:
        """The loss of a step's pictures; views and masks follow from (seed, step)."""
        training = self.training
        source = step_generator(training.seed, step)
        rows = batch_indices(training.seed, step, training.loop.batch, len(self.pictures))
        media = _media(self.pictures[rows]).to(self.device)
        views = torch.cat([view(media, training.views, source) for _ in range(2)])
        patches = media.shape[-2] * media.shape[-1] // self.tokenizer.patch**2
        masked = random_patches(len(media), patches, training.views.masked, source)
        masked = torch.cat([torch.zeros_like(masked), masked]).to(self.device)
        first, second = self.module(views, masked).float().chunk(2)
        with torch.autocast(self.device.type, enabled=False):
            return vicreg(first, second)

    @torch.no_grad()
    def features(self, count: int) -> Tensor:
        """Patch features `[count, rows, columns, D]` of the first pictures, float32 on the CPU."""
        self.module.eval()
        pictures = torch.split(self.pictures[:count], CHUNK)
        parts = [self.tokenizer.patch_features(_media(part).to(self.device)).cpu() for part in pictures]
        self.module.train()
        return torch.cat(parts).float()

    def sheet(self, path: Path) -> None:
        """Pictures above the first three principal components of their features, as colours."""
        shown, found = self.pictures[:SHOWN], self.features(SHOWN)
        flat = found.flatten(0, 2) - found.mean(dim=(0, 1, 2))
        main = flat @ torch.linalg.svd(flat, full_matrices=False).Vh[:3].T
        colours = (main / (2 * main.std(dim=0))).clamp(-1, 1).view(*found.shape[:3], 3).permute(0, 3, 1, 2)
        colours = nn.functional.interpolate(colours, size=shown.shape[-2:], mode="nearest")
        save_sheet(path, torch.cat([_media(shown), colours]), columns=SHOWN)

    @torch.no_grad()
    def export(self, folder: Path, state: LoopState) -> None:
        """Find clusters and codes; write `codec.safetensors` (float16) and `codec.json`, a `quantized-latents` codec.

        ValueError when the pictures give fewer features or latents than there are to be centres.
        """
        training = self.training
        found = self.features(self._wanted(training.clusters, patch=self.tokenizer.patch)).to(self.device)
        self.tokenizer.whiten(found)
        features = self.tokenizer.projected(found).flatten(0, 2).cpu()
        self.tokenizer.centroids.copy_(fit_clusters(features, training.clusters, training.seed))
        count = self._wanted(training.codes, patch=self.inner.stride[0])
        latents = [
            self.inner.encode(_media(part).to(self.device)).cpu() for part in torch.split(self.pictures[:count], CHUNK)
        ]
        flat = torch.cat(latents).movedim(1, -1).flatten(0, 2)
        codec = QuantizedLatents(self.inner, training.codes, self.tokenizer)
        codec.codebook.copy_(fit_clusters(flat, training.codes, training.seed))
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors(folder / "codec.safetensors", codec.state_dict(), storage="float16")
        settings: dict[str, Any] = {"codes": training.codes, "clusters": training.clusters, "layer": training.layer}
        if training.whitened:
            settings["whitened"] = training.whitened
        settings["tokenizer"] = dict(training.model)
        note = {"kind": "quantized-latents", "of": training.of, "config": settings, "training": self._facts(state)}
        (folder / "codec.json").write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")

    def _wanted(self, centres: int, patch: int) -> int:
        """Pictures that give as many samples as k-means looks at, and as many again to choose from."""
        each = self.pictures.shape[-2] * self.pictures.shape[-1] // patch**2
        return min(len(self.pictures), max(1, 2 * centres * PER_CLUSTER // each))

    def _facts(self, state: LoopState) -> Mapping[str, Any]:
        return {
            "corpus": self.training.corpus,
            "data": dict(self.training.data),
            "samples": state.samples,
            "seconds": round(state.seconds),
            "loss": round(state.loss, 5),
            "seed": self.training.seed,
            "batch": self.training.loop.batch,
        }


def corpus_pictures(corpus: Corpus) -> Tensor:
    """All pictures of a corpus as bytes `[N, 3, H, W]`."""
    spans = [(first, min(first + CHUNK, len(corpus))) for first in range(0, len(corpus), CHUNK)]
    return torch.cat([((corpus.media(*span) + 1) * 127.5).round().byte() for span in spans])


def _media(pictures: Tensor) -> Tensor:
    return pictures.float() / 127.5 - 1
