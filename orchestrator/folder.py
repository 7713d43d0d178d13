"""The run folder's door: who may use it, whether it holds this very plan, and what a killed run left lying about."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from orchestrator.errors import ExecutorError, RunRefused
from orchestrator.manifest import write_aside
from orchestrator.plan import Plan

FINGERPRINT = "fingerprint.json"
LOCK = ".lock"
_MOST_DIFFERENCES = 12
_DISK_FAULTS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
    errno.EIO: "the disk has failed",
}


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[str]:
    """Hold a run folder, made if need be, against other processes. Gives a token that its `.lock` file holds meanwhile.

    The system lets go of the lock when the process ends, however it ends. Raises RunRefused when another process holds
    it, or when the folder holds files that no run made; such a folder is left as it is.
    """
    _refuse_foreign(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise RunRefused(f"the run folder {folder} cannot be used: {error.strerror or error}") from error
    with file:
        _lock(file, folder)
        token = uuid.uuid4().hex
        file.seek(0)
        file.truncate()
        json.dump({"pid": os.getpid(), "host": socket.gethostname(), "token": token}, file)
        file.flush()
        try:
            yield token
        finally:
            file.seek(0)
            file.truncate()


def claim(folder: Path, plan: Plan) -> None:
    """Make a locked folder this plan's own, or find that it is already.

    Raises RunRefused, naming every difference, when the folder holds a run of another plan.
    """
    ours = json.loads(json.dumps(plan.identity))
    path = folder / FINGERPRINT
    if path.exists():
        try:
            theirs = json.loads(path.read_text(encoding="utf-8"))["identity"]
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise RunRefused(f"{path} cannot be read: {error}; take another output folder, or a fresh run") from error
        found = differences(theirs, ours)
        if found:
            shown = [f"  {line}" for line in found[:_MOST_DIFFERENCES]]
            if len(found) > _MOST_DIFFERENCES:
                shown.append(f"  and {len(found) - _MOST_DIFFERENCES} more")
            text = "\n".join(shown)
            raise RunRefused(
                f"{folder} holds a run that differs from this one:\n{text}\n"
                "nothing was changed; --fresh runs in a new folder beside it, or set another `output`"
            )
        return
    document = {"fingerprint": plan.fingerprint, "identity": ours}
    write_aside(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """One line for each value that two JSON documents do not share, with its path."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        lines = []
        for key in dict.fromkeys([*before, *after]):
            inner = f"{path}.{key}" if path else str(key)
            if key not in before:
                lines.append(f"{inner}: added, {_short(after[key])}")
            elif key not in after:
                lines.append(f"{inner}: removed, was {_short(before[key])}")
            else:
                lines += differences(before[key], after[key], inner)
        return lines
    both_lists = isinstance(before, list) and isinstance(after, list)
    if both_lists and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [line for index, (old, new) in pairs for line in differences(old, new, f"{path}[{index}]")]
    return [] if before == after else [f"{path}: {_short(before)} -> {_short(after)}"]


def disk_error(error: OSError, folder: Path) -> ExecutorError | None:
    """The error for a person when a folder can take no more files; None when the fault lies elsewhere."""
    if error.errno not in _DISK_FAULTS:
        return None
    where = error.filename if error.filename is not None else folder
    text = f"{_DISK_FAULTS[error.errno]}: {where}. What is finished is kept; mend it and run the same command again"
    return ExecutorError(text)


def free_name(folder: Path) -> Path:
    """The first of folder, folder-2, folder-3, ... that is not there."""
    number = 1
    candidate = folder
    while candidate.exists():
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")
    return candidate


def _refuse_foreign(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise RunRefused(f"{folder} is a file; the run folder must be a folder")
    names = {path.name for path in folder.iterdir()}
    if names and FINGERPRINT not in names and LOCK not in names:
        raise RunRefused(f"{folder} is not empty and holds no run; take another `output`, or empty it first")


def _lock(file: IO[str], folder: Path) -> None:
    file.seek(0)
    holder = _holder(file.read())
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunRefused(f"{folder} is in use by another run{_shown(holder)}") from None
    except OSError as error:
        # A file system without locks: all that is left is to ask whether the process that signed the file still lives.
        if holder.get("host") != socket.gethostname() and holder:
            raise RunRefused(f"{folder} may be in use{_shown(holder)}; remove {LOCK} if that run is over") from error
        if _is_alive(holder.get("pid")):
            raise RunRefused(f"{folder} is in use by another run{_shown(holder)}") from error


def _holder(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _shown(holder: Mapping[str, Any]) -> str:
    return f" (process {holder['pid']} on {holder['host']})" if {"pid", "host"} <= set(holder) else ""


def _is_alive(pid: Any) -> bool:
    if not isinstance(pid, int) or pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
