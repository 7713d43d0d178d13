"""Do discriminative tokens change less than those of an autoencoder when a picture changes a little?

    python benchmarks/latent_stability.py [--model builtin/image-digit] [--pictures N] [--no-page]

The paper of DiGIT says so (Zhu et al. 2024, arXiv 2410.12490, table 1). Here every tokenization has the same pictures,
the same 8 x 8 grid and the same number of clusters, found by the same k-means: the model's self-supervised features;
the latents of the autoencoder that its pixels come from, averaged over each cell; the same latents side by side,
without averaging. Held-out pictures are tokenised before and after noise of several strengths, blur, shifts and changes
of light; counted are the tokens that stay. Beside that: what each block of the tokenizer tells of a picture, and what
is lost between a picture and its codes. Writes benchmarks/results/latent_stability-<date>.json and
docs/latent_stability.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from builtin_image import CORPORA, ROOT, write_results
from sklearn.naive_bayes import MultinomialNB
from stability_page import write_page
from torch import Tensor
from torch.nn import functional as F

from modalities.codecs.quantized_latents import QuantizedLatents
from modalities.codecs.semantic_tokens import SemanticTokenizer, nearest
from modalities.training.clusters import PER_CLUSTER, fit_clusters
from modalities.training.corpora.compose import draw_scene
from modalities.training.corpora.scenes import SpriteScenes, load
from modalities.weights.description import describe
from modalities.weights.loading import load_codec

FIT_SEED, HELD_SEED, NOISE_SEED = 71, 73, 79
SNR = (30.0, 20.0, 10.0, 1.0, 0.01)
"""Signal to noise in decibels, the steps of the paper's table."""
PLAIN = 0.02
"""A patch whose pixels (in -1..1) deviate less than this from their mean is plain background."""
Tokenize = Callable[[Tensor], Tensor]


def perturbations() -> dict[str, Callable[[Tensor], Tensor]]:
    """What is done to media `[N, 3, H, W]` in -1..1, by name; results stay in -1..1."""
    found: dict[str, Callable[[Tensor], Tensor]] = {f"noise, {snr:g} dB": noisy(snr) for snr in SNR}
    found |= {f"shift, {n} px": shifted(n) for n in (1, 2)}
    found |= {f"light, {part:+.0%}": lit(part) for part in (0.05, -0.05, -0.15)}
    found["blur, 3 x 3"] = blurred
    return found


def noisy(snr: float) -> Callable[[Tensor], Tensor]:
    """Gaussian noise whose power is that of the picture (mean square in -1..1) less `snr` decibels; then clipped."""

    def change(media: Tensor) -> Tensor:
        power = media.square().mean(dim=(1, 2, 3), keepdim=True)
        noise = torch.randn(media.shape, generator=torch.Generator().manual_seed(NOISE_SEED))
        return (media + noise * (power / 10 ** (snr / 10)).sqrt()).clamp(-1, 1)

    return change


def shifted(pixels: int) -> Callable[[Tensor], Tensor]:
    """So many pixels to the right and down; the border is repeated."""
    return lambda media: F.pad(media, (pixels, 0, pixels, 0), mode="replicate")[
        ..., : media.shape[-2], : media.shape[-1]
    ]


def lit(part: float) -> Callable[[Tensor], Tensor]:
    """Brighter by a part of the distance from black."""
    return lambda media: ((media + 1) * (1 + part) - 1).clamp(-1, 1)


def blurred(media: Tensor) -> Tensor:
    """Every pixel averaged with its eight neighbours by a binomial kernel."""
    line = torch.tensor([0.25, 0.5, 0.25])
    kernel = (line[:, None] * line)[None, None].expand(3, 1, 3, 3)
    return F.conv2d(F.pad(media, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)


def by_parts(function: Tokenize, media: Tensor) -> Tensor:
    """A function of pictures over many, 64 at a time."""
    with torch.inference_mode():
        return torch.cat([function(part) for part in media.split(64)])


def tokenizations(codec: QuantizedLatents, tokenizer: SemanticTokenizer, pictures: Tensor) -> dict[str, Tokenize]:
    """Every way to tokens `[N, 8, 8]`; the clusters of latents are found in `pictures`, as the tokenizer's were."""
    cell = tokenizer.patch // codec.stride[0]

    def averaged(media: Tensor) -> Tensor:
        return F.avg_pool2d(codec.inner[0].encode(media), cell).movedim(1, -1)

    def side_by_side(media: Tensor) -> Tensor:
        return F.pixel_unshuffle(codec.inner[0].encode(media), cell).movedim(1, -1)

    found: dict[str, Tokenize] = {"discriminative": tokenizer.tokens}
    for name, vectors in (("autoencoder, averaged", averaged), ("autoencoder, side by side", side_by_side)):
        samples = by_parts(vectors, pictures).flatten(0, 2)
        centres = fit_clusters(samples, len(tokenizer.centroids), FIT_SEED)
        found[name] = lambda media, vectors=vectors, centres=centres: nearest(vectors(media), centres)  # type: ignore[misc]
    return found


def blocks(tokenizer: SemanticTokenizer, pictures: Tensor) -> dict[int, Tokenize]:
    """Ways to tokens from the features of each block, counted from the first; clusters are found in `pictures`."""
    found: dict[int, Tokenize] = {}
    for number in range(1, len(tokenizer.encoder.encoder.layer) + 1):
        other = deepcopy(tokenizer)
        other.blocks = number
        features = by_parts(other.patch_features, pictures)
        other.whiten(features)
        samples = other.projected(features).flatten(0, 2)
        other.centroids = fit_clusters(samples, len(tokenizer.centroids), FIT_SEED)
        found[number] = other.tokens
    return found


def unwhitened(tokenizer: SemanticTokenizer, pictures: Tensor) -> Tokenize:
    """The same features compared as they are; clusters are found in `pictures`."""
    samples = by_parts(tokenizer.patch_features, pictures).flatten(0, 2)
    centres = fit_clusters(samples, len(tokenizer.centroids), FIT_SEED)
    return lambda media: nearest(tokenizer.patch_features(media), centres)


@dataclass(frozen=True, slots=True)
class Patches:
    """Patches of pictures that show more than background: which `[N, rows, columns]`, and their latents `[P, D]`."""

    media: Tensor
    shown: Tensor
    latents: Tensor

    @staticmethod
    def of(media: Tensor, codec: QuantizedLatents, cell: int) -> Patches:
        """Those of pictures; a patch has cell x cell latents."""
        latents = by_parts(lambda part: F.pixel_unshuffle(codec.inner[0].encode(part), cell).movedim(1, -1), media)
        shown = objects(media, cell * codec.stride[0])
        return Patches(media, shown, latents[shown])

    def tokens(self, tokenize: Tokenize) -> Tensor:
        """The patches' tokens `[P]`."""
        return by_parts(tokenize, self.media)[self.shown]


def explained(tokenize: Tokenize, pictures: Patches, held: Patches) -> float:
    """Part of the variance of a patch's latents on held-out pictures that its token explains: R^2 of the mean by token.

    Means by token are those of `pictures`.
    """
    known, latents = pictures.tokens(tokenize), pictures.latents
    asked, wanted = held.tokens(tokenize), held.latents
    counts = torch.bincount(known, minlength=int(asked.max()) + 1)
    sums = torch.zeros(len(counts), latents.shape[1]).index_add_(0, known, latents)
    means = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], latents.mean(dim=0))
    rest = (wanted - means[asked]).square().sum() / (wanted - latents.mean(dim=0)).square().sum()
    return round(1 - float(rest), 4)


def fidelity(codec: QuantizedLatents, media: Tensor) -> dict[str, float]:
    """Peak signal to noise in decibels between media and what comes back of their latents, and of their codes."""
    ways = {
        "latents": lambda part: codec.inner[0].decode(codec.inner[0].encode(part)),
        "codes": lambda part: codec.decode(codec.encode(part)),
    }
    errors = {
        name: (by_parts(way, media).clamp(-1, 1) - media).square().mean(dim=(1, 2, 3)) for name, way in ways.items()
    }
    return {name: round(float((10 * torch.log10(4 / error)).mean()), 2) for name, error in errors.items()}


def objects(media: Tensor, patch: int) -> Tensor:
    """`[N, rows, columns]` bool: the patches that show something beside the background."""
    cells = F.unfold(media, patch, stride=patch).unflatten(1, (3, patch * patch))
    rows = media.shape[-2] // patch
    return (cells.std(dim=2).amax(dim=1) > PLAIN).unflatten(1, (rows, -1))


def recognised(tokens: Tensor, concepts: Tensor, held: Tensor, asked: Tensor, clusters: int) -> float:
    """Part of held-out pictures whose concept naive Bayes finds from how often each token occurs in them."""
    counts = [F.one_hot(found.flatten(1), clusters).sum(dim=1).numpy() for found in (tokens, held)]
    model = MultinomialNB(alpha=0.1).fit(counts[0], concepts.numpy())
    return round(float((model.predict(counts[1]) == asked.numpy()).mean()), 4)


def concepts_of(corpus: SpriteScenes, number: int) -> Tensor:
    """The concept of each of the first scenes."""
    return torch.tensor([draw_scene(corpus.seed, i, len(corpus.sprites)).concept for i in range(number)])


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmark; returns the results."""
    description = describe(arguments.model)
    codec = load_codec(description, "cpu", torch.float32)
    if not isinstance(codec, QuantizedLatents) or codec.tokenizer is None:
        raise SystemExit(f"{arguments.model}: its codec has no tokenizer")
    tokenizer = codec.tokenizer
    clusters = len(tokenizer.centroids)
    known = max(arguments.pictures, clusters * PER_CLUSTER // (64 // tokenizer.patch) ** 2)
    fit, held = (load(arguments.corpora, scenes=known, seed=seed) for seed in (FIT_SEED, HELD_SEED))
    pictures, clean = fit.media(0, known), held.media(0, arguments.pictures)
    ways = tokenizations(codec, tokenizer, pictures)
    shown = objects(clean, tokenizer.patch)

    def told(tokenize: Tokenize) -> float:
        known_tokens, tokens = by_parts(tokenize, pictures), by_parts(tokenize, clean)
        asked = concepts_of(held, arguments.pictures)
        return recognised(known_tokens, concepts_of(fit, known), tokens, asked, clusters)

    patches = [Patches.of(media, codec, tokenizer.patch // codec.stride[0]) for media in (pictures, clean)]
    said = ways | ({"discriminative, not whitened": unwhitened(tokenizer, pictures)} if tokenizer.whitened else {})
    rows: dict[str, dict[str, Any]] = {}
    for name, tokenize in ways.items():
        before = by_parts(tokenize, clean)
        stays = {}
        for kind, change in perturbations().items():
            same = by_parts(tokenize, change(clean)) == before
            stays[kind] = {
                "all": round(float(same.float().mean()), 4),
                "object": round(float(same[shown].float().mean()), 4),
            }
        rows[name] = {"stays": stays, "used": len(before.unique()), "concept": told(tokenize)}
        print(name, rows[name], flush=True)
    return {
        "model": arguments.model,
        "weights": description.weights_hash(),
        "clusters": clusters,
        "pictures": arguments.pictures,
        "fitted_on": known,
        "object_patches": round(float(shown.float().mean()), 4),
        "tokenizations": rows,
        "blocks": {number: told(tokenize) for number, tokenize in blocks(tokenizer, pictures).items()},
        "block": tokenizer.blocks,
        "explained": {name: explained(way, *patches) for name, way in said.items()},
        "whitened": tokenizer.whitened,
        "psnr": fidelity(codec, clean),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="builtin/image-digit", help="builtin/<name> or a model folder")
    parser.add_argument("--corpora", type=Path, default=CORPORA, help="folder of the sprite packages")
    parser.add_argument("--pictures", type=int, default=256, help="held-out pictures")
    parser.add_argument("--threads", type=int, default=1, help="threads of arithmetic")
    parser.add_argument("--no-page", action="store_true", help="write only the results, not docs/latent_stability.md")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results = measure(arguments)
    path = write_results("latent_stability", results)
    if not arguments.no_page:
        write_page(path, ROOT / "docs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
