"""`parhelion verify` and `parhelion reproduce`: whether a run folder is true, and whether it can be made again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.errors import nearest
from orchestrator.placement import find_devices

MOST_FAULTS = 50
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="a run folder, such as runs/hello")]
Source = Annotated[Path, typer.Argument(metavar="PATH", help="a file below a run folder's media/, or a run folder")]
Samples = Annotated[
    list[str] | None, typer.Argument(metavar="[SAMPLE]...", help="ids of samples; default the first of each export")
]


def verify(folder: Folder) -> None:
    """Hash every file of a run again and compare it with the manifest. Exit status 1 when anything is wrong."""
    from orchestrator.verifying import verify as verified

    found = verified(folder)
    for fault in found.faults[:MOST_FAULTS]:
        typer.echo(fault, err=True)
    if len(found.faults) > MOST_FAULTS:
        typer.echo(f"and {len(found.faults) - MOST_FAULTS} more", err=True)
    letters = f"; {found.failed} failed, in dead_letters.jsonl" if found.failed else ""
    state = f"{len(found.faults)} faults" if found.faults else "nothing is wrong"
    typer.echo(f"{folder}: {found.samples} samples as the manifest says, {found.bytes / 1e6:.1f} MB{letters}; {state}")
    if found.faults:
        raise typer.Exit(1)


def reproduce(
    path: Source,
    samples: Samples = None,
    devices: Annotated[str, typer.Option(metavar="LIST", help="auto, cpu or cuda")] = "auto",
    threads: Annotated[int, typer.Option(min=1, metavar="N", help="CPU threads of each worker")] = 1,
) -> None:
    """Make samples of a run once more and compare their bytes. Exit status 1 when any differs."""
    from orchestrator.reproducing import reproduce as made_again

    if samples and not path.is_dir():
        raise typer.BadParameter(f"{path} is a file; samples are named after a run folder")
    try:
        chosen = find_devices(devices)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; {nearest(devices, ('auto', 'cpu', 'cuda'))}") from None
    found = made_again(path, samples or [], chosen, threads, lambda event: None)
    for line in found.notes:
        typer.echo(f"other version here: {line}")
    for each in found.comparisons:
        if each.is_equal:
            typer.echo(f"{each.file}: equal, {each.after}")
        else:
            typer.echo(f"{each.file}: differs; {each.before} before, {each.after or each.fault} now")
    if not all(each.is_equal for each in found.comparisons):
        raise typer.Exit(1)
