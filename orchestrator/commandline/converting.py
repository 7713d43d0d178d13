"""`parhelion convert`: published pickled checkpoints to a folder that workflows can name."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.errors import ModelError

Source = Annotated[Path, typer.Argument(help="a pickled checkpoint (.ckpt, .pth, .pt), or the folder of a release")]
Target = Annotated[Path, typer.Argument(help="the folder to write")]
Kind = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="auto, lumina-music, lumina-audio, lumina-image, mar, bigvgan, digit, vqgan or tensors"
    ),
]
TextEncoder = Annotated[
    str, typer.Option(metavar="SOURCE", help="folder or hub id of the T5 that reads prompts, in place of the released")
]


def convert(
    source: Source,
    target: Target,
    kind: Kind = "auto",
    text_encoder: TextEncoder = "",
    no_ema: Annotated[bool, typer.Option("--no-ema", help="take the last weights, not the averaged ones")] = False,
    skip_objects: Annotated[
        bool, typer.Option("--skip-objects", help="leave out objects that are no tensors; they are never built")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="replace a folder that an earlier conversion wrote")] = False,
) -> None:
    """Turn a published pickled checkpoint into safetensors, without running anything that is in it."""
    module = importlib.import_module("modalities.weights.convert")
    try:
        request = module.Request(
            source=source,
            target=target,
            kind=kind,
            text_encoder=text_encoder,
            ema=not no_ema,
            skip_objects=skip_objects,
            force=force,
        )
        lines = module.convert(request)
    except (ValueError, OSError) as error:
        raise ModelError(str(error)) from error
    typer.echo("\n".join(lines))
