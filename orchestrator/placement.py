"""Placement: where a plan runs. Nothing in here changes what is made, except the kind of device.

A placement comes from the command line, from a cluster file (`--cluster cluster.yaml`) or from this machine. Devices
are found without importing torch: `nvidia-smi` is asked when it is installed, and CUDA_VISIBLE_DEVICES is respected.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

EVERY_MODEL = "*"
"""The key of `Placement.workers` that stands for every model's pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a plan runs.

    executor: auto, local or ray. address: of a running Ray cluster (`auto`, `host:port`, `ray://host:port`).
    workers: pool or model name -> number of workers; `*` stands for every model. A model is named as in the workflow,
    the text encoders together as `text`, the file writers as `export`; a full pool name (`model:image`) also works.
    devices: the devices of this machine to use, `("cpu",)` or `("cuda:0", "cuda:1")`; of one kind.
    memory_bytes: memory that one worker may use; None takes what the device has. threads: CPU threads of one worker;
    None leaves torch's choice.
    """

    executor: str = "auto"
    address: str | None = None
    workers: Mapping[str, int] = field(default_factory=dict)
    devices: tuple[str, ...] = ("cpu",)
    memory_bytes: int | None = None
    threads: int | None = None

    @property
    def kind(self) -> str:
        """`cpu` or `cuda`: the kind of device that models run on."""
        return self.devices[0].partition(":")[0]

    def chosen_executor(self) -> str:
        """`local` or `ray`. `auto` takes Ray for a cluster address, several devices or several workers."""
        if self.executor != "auto":
            return self.executor
        several = len(self.devices) > 1 or any(count > 1 for count in self.workers.values())
        return "ray" if self.address is not None or several else "local"

    def workers_of(self, pool: str) -> int:
        """Workers of a pool (`text:<encoder>`, `model:<name>` or `export`); 1 when nothing says otherwise."""
        group, _, name = pool.partition(":")
        for key in (pool, name if group == "model" else group):
            if key in self.workers:
                return self.workers[key]
        if group != "model":
            return 1
        return self.workers.get(EVERY_MODEL, max(1, len(self.devices)))


def find_devices(wanted: str = "auto") -> tuple[str, ...]:
    """Devices from `auto`, `cpu`, `cuda` (all of this machine) or a list such as `cuda:0,cuda:1`.

    Raises ValueError for anything else, and when CUDA is asked for and no device is seen.
    """
    if wanted == "cpu":
        return ("cpu",)
    if wanted in {"auto", "cuda"}:
        found = tuple(f"cuda:{index}" for index in range(len(cuda_memory())))
        if wanted == "cuda" and not found:
            raise ValueError("no CUDA device is seen by nvidia-smi, or torch is a CPU-only build; use `cpu`")
        return found or ("cpu",)
    names = tuple(name.strip() for name in wanted.split(","))
    for name in names:
        kind, _, index = name.partition(":")
        if kind != "cuda" or not index.isdecimal():
            raise ValueError(f"unknown device `{name}`; use auto, cpu, cuda, or a list such as cuda:0,cuda:1")
    if len(set(names)) != len(names):
        raise ValueError(f"a device is named twice in `{wanted}`")
    return names


def cuda_memory() -> list[int]:
    """Bytes of memory of each visible CUDA device; empty without devices, nvidia-smi or a CUDA build of torch."""
    try:
        if version("torch").endswith("+cpu"):
            return []
    except PackageNotFoundError:
        return []
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[cell.strip() for cell in line.split(",")] for line in answer.splitlines() if line.count(",") == 2]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        wanted = [name.strip() for name in visible.split(",") if name.strip()]
        by_name = {key: row for row in rows for key in row[:2]}
        rows = [by_name[name] for name in wanted if name in by_name]
    return [int(memory) * 2**20 for _, _, memory in rows if memory.isdecimal()]


def machine_memory() -> int | None:
    """Bytes of memory for processes here: the smaller of the machine's and the container's; None if unknown."""
    limits = []
    with contextlib.suppress(ValueError, OSError, AttributeError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(name).read_text().strip()
        except OSError:
            continue
        if text.isdecimal():
            limits.append(int(text))
    return min(limits) if limits else None
