"""What lies under a sample's name in a run folder: one file, or a folder of them. Made durable, measured, replaced.

The hash of a folder is the SHA-256 of its files' relative paths and hashes, a line for each, sorted by path.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ASIDE = ".part"
"""How the name of a file or folder ends that is still being written; it starts with a dot."""


def facts_of(path: Path, *, sync: bool = False) -> dict[str, Any]:
    """Length and SHA-256 of a file or folder, and the number of files of a folder. sync: first make it durable."""
    if not path.is_dir():
        digest, size = _hash(path, sync)
        return {"bytes": size, "sha256": digest}
    whole, total, count = hashlib.sha256(), 0, 0
    for name, file in _files(path):
        digest, size = _hash(file, sync)
        whole.update(f"{name}\n{digest}\n".encode())
        total, count = total + size, count + 1
    if sync:
        for folder in [path, *(inner for inner in path.rglob("*") if inner.is_dir())]:
            sync_folder(folder)
    return {"bytes": total, "sha256": whole.hexdigest(), "files": count}


def is_intact(path: Path, row: Mapping[str, Any]) -> bool:
    """Whether what a row of the manifest names is there with the right length (and number of files)."""
    try:
        if not path.is_dir():
            return path.stat().st_size == int(row["bytes"]) and "files" not in row
        sizes = [file.stat().st_size for _, file in _files(path)]
        return (sum(sizes), len(sizes)) == (int(row["bytes"]), int(row["files"]))
    except (OSError, KeyError, ValueError, TypeError):
        return False


def aside_of(target: Path) -> Path:
    """Where a file or folder is written before it gets its name."""
    return target.parent / f".{target.name[:200]}.{os.getpid()}{ASIDE}"


def put(aside: Path, target: Path) -> None:
    """Give what was written aside its name, in place of an older one of its kind.

    A folder cannot replace another in one move: the older one steps aside first.
    """
    if aside.is_dir() and target.is_dir():
        doomed = target.parent / f".{target.name[:200]}.{os.getpid()}.old{ASIDE}"
        target.replace(doomed)
        aside.replace(target)
        remove(doomed)
    else:
        aside.replace(target)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_strays(folder: Path) -> int:
    """Remove what a killed run was still writing; answers how many. None of it was ever part of a manifest."""
    strays = list(folder.rglob(f".*{ASIDE}"))
    for path in strays:
        remove(path)
    return len(strays)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable, where the system can (not on Windows)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files below a folder with their relative paths, sorted."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    yield from sorted(found.items())


def _hash(path: Path, sync: bool) -> tuple[str, int]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = os.fstat(file.fileno()).st_size
        if sync:
            os.fsync(file.fileno())
    return digest, size
