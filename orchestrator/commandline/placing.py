"""Command-line flags and cluster files to a Placement."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from orchestrator.errors import Problem, WorkflowError, nearest
from orchestrator.placement import EVERY_MODEL, Placement, find_devices
from orchestrator.places import read_document
from orchestrator.plan import Plan
from orchestrator.setting_types import Settings
from orchestrator.validation import validate

_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)


def bytes_of(text: str) -> int:
    """Bytes from `16GiB`, `16 GB`, `900M` or a plain number. ValueError for anything else."""
    found = _MEMORY.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"`{text}` is not an amount of memory; write 16GiB or 900M")
    number, unit, binary = found.groups()
    power = " KMGT".index(unit.upper()) if unit else 0
    base = 1024 if binary or not text.strip().upper().endswith("B") else 1000
    return int(float(number) * base**power)


def _bytes_value(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return bytes_of(value)
    except ValueError as error:
        raise PydanticCustomError("memory", "{text}", {"text": str(error)}) from None


def _device_value(value: Any) -> Any:
    return ",".join(value) if isinstance(value, list) and all(isinstance(name, str) for name in value) else value


def _known_devices(text: str) -> str:
    try:
        find_devices(text)
    except ValueError as error:
        raise PydanticCustomError("devices", "{text}", {"text": str(error)}) from None
    return text


def _worker_value(value: Any) -> Any:
    return {EVERY_MODEL: value} if isinstance(value, int) and not isinstance(value, bool) else value


class ClusterSettings(Settings):
    """Where workflows run: the keys of a cluster file."""

    executor: Literal["auto", "local", "ray"] = "auto"
    address: str | None = Field(default=None, min_length=1)
    workers: Annotated[dict[str, Annotated[int, Field(ge=1, le=10_000)]], BeforeValidator(_worker_value)] = Field(
        default_factory=dict
    )
    devices: Annotated[str, BeforeValidator(_device_value), AfterValidator(_known_devices)] = "auto"
    memory: Annotated[int, Field(ge=2**20), BeforeValidator(_bytes_value)] | None = None
    threads: int | None = Field(default=None, ge=1, le=1024)


def read_cluster(path: Path) -> ClusterSettings:
    """Read a cluster file. WorkflowError lists what is wrong with it."""
    document = read_document(path)
    settings = validate(document, ClusterSettings, document.root.plain())
    document.raise_problems()
    return settings or ClusterSettings()


def read_workers(texts: Sequence[str]) -> dict[str, int]:
    """`3` for every model, `image=2`, or several of these separated by commas. ValueError for anything else."""
    workers: dict[str, int] = {}
    for part in (part.strip() for text in texts for part in text.split(",")):
        name, _, count = part.rpartition("=")
        if not count.isdecimal() or not 1 <= int(count) <= 10_000 or ("=" in part and not name):
            raise ValueError(f"`{part}` is not a number of workers; write 2, or image=2")
        workers[name or EVERY_MODEL] = int(count)
    return workers


def place(
    *,
    executor: str | None = None,
    address: str | None = None,
    workers: Sequence[str] = (),
    devices: str | None = None,
    memory: str | None = None,
    threads: int | None = None,
    cluster: Path | None = None,
) -> Placement:
    """A placement from flags, which win, and a cluster file. Raises ValueError and WorkflowError."""
    settings = read_cluster(cluster) if cluster is not None else ClusterSettings()
    return Placement(
        executor=executor or settings.executor,
        address=address or settings.address,
        workers={**settings.workers, **read_workers(workers)},
        devices=find_devices(devices or settings.devices),
        memory_bytes=bytes_of(memory) if memory is not None else settings.memory,
        threads=threads or settings.threads,
    )


def check_workers(plan: Plan, workers: Mapping[str, int]) -> None:
    """WorkflowError when workers are given for something that the plan does not have."""
    groups = {pool.partition(":")[0] for pool in plan.pools} - {"model"}
    known = {*plan.models, *groups, *plan.pools, EVERY_MODEL}
    problems = [
        Problem("--workers", 0, 0, "", f"unknown model or pool `{name}`; {nearest(name, known)}")
        for name in workers
        if name not in known
    ]
    if problems:
        raise WorkflowError(problems)
