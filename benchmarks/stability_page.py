"""The page of the latent-stability benchmark: what was measured, and a plot of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

COLOURS = ("#c33c3c", "#3b6fb5", "#5aa9a3", "#8a63b8")

READING = (
    "Three things to read the numbers with. Changes of place, light and sharpness are what the tokenizer was trained",
    "to overlook (`workflows/train/digit_tokenizer.yaml`); noise it has never seen, nor has the autoencoder. Its",
    "features also hold the colour of the background and, unless whitened, the place of a patch, which noise leaves",
    "alone; a part of the stability is theirs. And stable is not the same as telling: see the row on concepts above.",
)


def write_page(source: Path, docs: Path) -> None:
    """Write docs/latent_stability.md and docs/pictures/latent_stability.svg from a file of results."""
    result = json.loads(source.read_text(encoding="utf-8"))
    plot(result, docs / "pictures" / "latent_stability.svg")
    text = "\n".join(
        [_head(result, source), _table(result, "all"), "", _object(result), _table(result, "object"), _end(result)]
    )
    (docs / "latent_stability.md").write_text(text + "\n", encoding="utf-8")


def plot(result: dict[str, Any], path: Path) -> None:
    """Part of the tokens that stay against the strength of noise: all patches, then those with an object."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import PercentFormatter

    mpl.rcParams.update({"svg.hashsalt": path.stem, "svg.fonttype": "none", "font.size": 9})
    ways = result["tokenizations"]
    kinds = [kind for kind in next(iter(ways.values()))["stays"] if kind.startswith("noise")]
    figure, axes = plt.subplots(1, 2, figsize=(9.2, 3.6), sharey=True)
    for axis, which in zip(axes, ("all", "object"), strict=True):
        for colour, (name, row) in zip(COLOURS, ways.items(), strict=False):
            parts = [row["stays"][kind][which] for kind in kinds]
            axis.plot(range(len(kinds)), parts, marker="o", markersize=3.5, linewidth=1.6, color=colour, label=name)
        axis.set(title={"all": "all patches", "object": "patches with an object"}[which], ylim=(0, 1))
        axis.set_xticks(range(len(kinds)), [kind.removeprefix("noise, ") for kind in kinds])
        axis.set_xlabel("signal to noise")
        axis.yaxis.set_major_formatter(PercentFormatter(1.0))
        axis.grid(visible=True, color="#e4e4e4", linewidth=0.8)
        axis.set_axisbelow(True)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    axes[0].set_ylabel("tokens that stay")
    axes[1].legend(fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _head(result: dict[str, Any], source: Path) -> str:
    return f"""# Are discriminative tokens more stable?

Made by `python benchmarks/latent_stability.py` on {result["date"]}; all numbers are in
`benchmarks/results/{source.name}`. Do not edit.

DiGIT's paper (Zhu et al. 2024, arXiv 2410.12490, table 1) says that tokens of self-supervised features change less
under noise than tokens of an autoencoder's latents. Here both are tried on the built-in chain
(`{result["model"]}`, weights `{result["weights"][:12]}`): {result["pictures"]} held-out pictures of 64 x 64,
an 8 x 8 grid each, {result["clusters"]:,} clusters each, found by the same k-means in {result["fitted_on"]:,}
pictures (the tokenizer's own in as many patches of other pictures). The autoencoder is that whose decoder paints the
pixels; its 2 x 2 latents of a cell are averaged (4 numbers), or put side by side (16 numbers).{_whitened(result)}

![Tokens that stay under noise](pictures/latent_stability.svg)

Part of the tokens that stay. Noise is Gaussian, so many decibels below the mean square of the picture (in -1..1), and
clipped to what a picture can hold; light is brightness as a part; shifts go right and down.
"""


def _whitened(result: dict[str, Any]) -> str:
    if not result["whitened"]:
        return ""
    return f"""
The features are compared in {result["whitened"]} whitened principal components, each place's mean taken away; the paper
compares them as they are, and so are the latents here."""


def _table(result: dict[str, Any], which: str) -> str:
    ways = result["tokenizations"]
    lines = [f"| change | {' | '.join(ways)} |", f"| --- | {' | '.join('---:' for _ in ways)} |"]
    for kind in next(iter(ways.values()))["stays"]:
        numbers = " | ".join(f"{row['stays'][kind][which]:.1%}" for row in ways.values())
        lines.append(f"| {kind} | {numbers} |")
    return "\n".join(lines)


def _object(result: dict[str, Any]) -> str:
    part = result["object_patches"]
    return f"The same, counted over the {part:.0%} of the patches that show more than plain background:\n"


def _end(result: dict[str, Any]) -> str:
    ways = result["tokenizations"]
    lines = [
        "",
        "What the tokens say of the picture: naive Bayes on how often each token occurs names the concept (of 128).",
    ]
    lines += ["", "| | " + " | ".join(ways) + " |", "| --- | " + " | ".join("---:" for _ in ways) + " |"]
    lines.append("| concept right | " + " | ".join(f"{row['concept']:.1%}" for row in ways.values()) + " |")
    lines.append("| tokens used | " + " | ".join(str(row["used"]) for row in ways.values()) + " |")
    blocks = result["blocks"]
    lines += [
        "",
        f"By the tokenizer's block whose features are clustered (the model's is block {result['block']}):",
        "",
    ]
    lines += [
        "| | " + " | ".join(f"block {n}" for n in blocks) + " |",
        "| --- | " + " | ".join("---:" for _ in blocks) + " |",
    ]
    lines.append("| concept right | " + " | ".join(f"{part:.1%}" for part in blocks.values()) + " |")
    said = result["explained"]
    lines += [
        "",
        "Part of the variance of a patch's latents that its token explains, where there is an object (R^2):",
        "",
    ]
    lines += ["| | " + " | ".join(said) + " |", "| --- | " + " | ".join("---:" for _ in said) + " |"]
    lines.append("| explained | " + " | ".join(f"{part:.1%}" for part in said.values()) + " |")
    psnr = result["psnr"]
    lines += [
        "",
        f"The pictures come back from the autoencoder at {psnr['latents']:.1f} dB, from its codes at "
        f"{psnr['codes']:.1f} dB (mean PSNR).",
    ]
    lines += ["", *READING]
    return "\n".join(lines)
