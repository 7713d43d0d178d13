"""The network of the Universal Sentence Encoder, multilingual version 3: n-gram convolutions, then a deep average.

Yang et al. 2019, "Multilingual Universal Sentence Encoder for Semantic Retrieval", the CNN variant. Piece embeddings
(512) are projected and normalised (768), and each third passes a branch that looks at windows of 2, 3 or 5 pieces;
embedding and branches together, normalised, are the features of each piece (1280); their sum, projected and divided by
sqrt(number of pieces), goes through a residual multilayer perceptron to the sentence embedding (512, unit length).
Weights: `convert_builtin.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

EMBEDDING = 512
BRANCH = 256
WINDOWS = ((2, 0), (3, 1), (5, 2))
"""Length of each branch's window, and how many of its pieces lie to the left of the one it describes."""
FEATURES = EMBEDDING + BRANCH * len(WINDOWS)
SENTENCE = 512
HIDDEN = 320
EPSILON = 1e-12


class WindowBranch(nn.Module):
    """Two residual layers x + relu(W [x_(i-left) .. x_(i+right)] + b)."""

    def __init__(self, length: int, left: int) -> None:
        super().__init__()
        self.length, self.left = length, left
        self.first = nn.Linear(length * BRANCH, BRANCH)
        self.second = nn.Linear(length * BRANCH, BRANCH)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, 256]` of one prompt to `[n, 256]`. Beyond the ends of the prompt are zeros."""
        for layer in (self.first, self.second):
            padded = nn.functional.pad(x, (0, 0, self.left, self.length - 1 - self.left))
            windows = padded.unfold(0, self.length, 1).transpose(1, 2).flatten(1)
            x = x + torch.relu(layer(windows))
        return x


class SentenceNetwork(nn.Module):
    """Piece embeddings of one prompt to features of its pieces and an embedding of the whole."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(EMBEDDING, BRANCH * len(WINDOWS))
        self.project_norm = nn.LayerNorm(BRANCH * len(WINDOWS), eps=EPSILON)
        self.branches = nn.ModuleList(WindowBranch(length, left) for length, left in WINDOWS)
        self.norm = nn.LayerNorm(FEATURES, eps=EPSILON)
        self.average = nn.Linear(FEATURES, SENTENCE)
        self.deep_first = nn.Linear(SENTENCE, HIDDEN, bias=False)
        self.deep_second = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.skip_first = nn.Linear(SENTENCE, HIDDEN, bias=False)
        self.deep_third = nn.Linear(HIDDEN, SENTENCE, bias=False)
        self.deep_fourth = nn.Linear(SENTENCE, SENTENCE, bias=False)
        self.skip_second = nn.Linear(HIDDEN, SENTENCE, bias=False)

    def features(self, embedding: Tensor) -> Tensor:
        """`[n, 512]` to the normalised features `[n, 1280]`."""
        starts = self.project_norm(self.project(embedding)).split(BRANCH, dim=1)
        parts = [embedding, *(branch(x) for branch, x in zip(self.branches, starts, strict=True))]
        features: Tensor = self.norm(torch.cat(parts, dim=1))
        return features

    def sentence(self, features: Tensor) -> Tensor:
        """Features `[n, 1280]` of one prompt to its embedding `[512]` of unit length."""
        pieces = features.shape[0]
        x = nn.functional.linear(features.sum(dim=0), self.average.weight) + pieces * self.average.bias
        x = x / pieces**0.5
        x = torch.relu(self.skip_first(x) + self.deep_second(torch.relu(self.deep_first(x))))
        x = torch.tanh(self.skip_second(x) + self.deep_fourth(torch.relu(self.deep_third(x))))
        return x / x.square().sum().clamp_min(EPSILON).sqrt()
