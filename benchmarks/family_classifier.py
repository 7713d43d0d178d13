"""Which family of instruments plays: a small classifier, trained here on clips of the corpus in well under a minute.

It sees what is heard of a sound: the cepstrum (24 coefficients of 80 log mels) in 14 stretches of time, whatever the
loudness. It is trained on single notes of a seed that the model's own training does not use, some of them blurred and
noisy so that it does not hang on details that Griffin-Lim loses, and tried on notes of a further seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi

import numpy as np
import torch
from torch import Tensor, nn

from modalities.codecs.mel_spectrogram import MelConfig, MelSpectrogram
from modalities.training.corpora.instrument_names import INSTRUMENTS
from modalities.training.corpora.sound_rendering import Renderer
from modalities.training.corpora.sound_scores import Score, note_score

FAMILIES = tuple(dict.fromkeys(instrument.family for instrument in INSTRUMENTS))
FAMILY = {instrument.key: instrument.family for instrument in INSTRUMENTS}
COEFFICIENTS, STRETCHES = 24, 14
TRAIN_SEED, HELD_SEED = 9001, 9002
STEPS, BATCH, WIDTH = 900, 256, 160


class FamilyClassifier(nn.Module):
    """Sounds to families."""

    def __init__(self) -> None:
        super().__init__()
        self.mel = MelSpectrogram(MelConfig())
        inputs = COEFFICIENTS * STRETCHES
        self.layers = nn.Sequential(
            nn.Linear(inputs, WIDTH), nn.SiLU(), nn.Dropout(0.3), nn.Linear(WIDTH, len(FAMILIES))
        )
        self.centre: Tensor
        self.spread: Tensor
        self.register_buffer("centre", torch.zeros(inputs))
        self.register_buffer("spread", torch.ones(inputs))
        angles = [[cos(pi * k * (m + 0.5) / 80) for m in range(80)] for k in range(1, COEFFICIENTS + 1)]
        self.cosines: Tensor
        self.register_buffer("cosines", torch.tensor(angles) / 40)

    def mels(self, sounds: Tensor) -> Tensor:
        """Log mels `[B, 80, 126]` of sounds `[B, N]` of the native 32,256 samples."""
        return torch.cat([self.mel(one) for one in sounds[:, None].split(64)])

    def features(self, mels: Tensor) -> Tensor:
        """`[B, COEFFICIENTS * STRETCHES]` of log mels: their shape within 60 dB of the loudest point."""
        level = (mels - mels.amax(dim=(1, 2), keepdim=True)).clamp_min(-3)
        cepstrum = torch.einsum("km,bmt->bkt", self.cosines, level)
        return nn.functional.adaptive_avg_pool1d(cepstrum, STRETCHES).flatten(1)

    def forward(self, features: Tensor) -> Tensor:
        """Scores `[B, families]`."""
        scores: Tensor = self.layers((features - self.centre) / self.spread)
        return scores

    @torch.no_grad()
    def families(self, sounds: Tensor) -> list[str]:
        """The family of each sound `[B, N]`."""
        found = self(self.features(self.mels(sounds))).argmax(dim=1)
        return [FAMILIES[int(i)] for i in found]


def draw_notes(count: int, seed: int) -> list[Score]:
    """Single notes of all instruments, evenly."""
    rng = np.random.default_rng(seed)
    scores = []
    for i in range(count):
        instrument = INSTRUMENTS[i % len(INSTRUMENTS)]
        note = int(rng.integers(instrument.lowest, instrument.highest + 1))
        scores.append(note_score(instrument, note, str(rng.choice(("soft", "", "loud"), p=(0.2, 0.6, 0.2)))))
    return scores


def render(scores: Sequence[Score], renderer: Renderer) -> Tensor:
    """Sounds `[N, 32256]` of scores."""
    return torch.from_numpy(np.stack([renderer.render(score) for score in scores]))


def train_classifier(renderer: Renderer, count: int = 3000) -> FamilyClassifier:
    """A classifier trained on `count` notes; equal for equal corpora on the same machine."""
    torch.manual_seed(TRAIN_SEED)
    model = FamilyClassifier()
    scores = draw_notes(count, TRAIN_SEED)
    labels = torch.tensor([FAMILIES.index(FAMILY[score.subject]) for score in scores])
    clean = model.mels(render(scores, renderer))
    source = torch.Generator().manual_seed(TRAIN_SEED)
    worn = clean + 0.15 * torch.randn(clean.shape, generator=source)
    blurred = nn.functional.avg_pool2d(worn[:, None], 3, 1, 1, count_include_pad=False)[:, 0]
    inputs = torch.cat([model.features(kind) for kind in (clean, worn, blurred)])
    labels = labels.repeat(3)
    model.centre.copy_(inputs.mean(dim=0))
    model.spread.copy_(inputs.std(dim=0).clamp_min(1e-3))
    optimizer = torch.optim.AdamW(model.layers.parameters(), lr=2e-3, weight_decay=0.05)
    for _ in range(STEPS):
        rows = torch.randint(len(inputs), (BATCH,), generator=source)
        loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()
