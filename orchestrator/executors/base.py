"""What every executor shares: its protocol, its settings, and what it tells while it works."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from orchestrator.item import Sample
from orchestrator.plan import Plan, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, for whoever watches the run.

    kind: `expected` (step, samples: how many a step will make in this run), `ready` (a worker of pool `step` has loaded
    its models in `seconds`), `batch` (a step finished `samples` samples, `failed` of them with an error, in `seconds`),
    `retry` (work is done again; `text` says why) or `note` (something a person should know).
    """

    kind: Literal["expected", "ready", "batch", "retry", "note"]
    step: str
    samples: int = 0
    failed: int = 0
    seconds: float = 0.0
    worker: str = ""
    text: str = ""


Observer = Callable[[Event], None]

Todo = Callable[[Task], Sequence[bool]]
"""For a task that exports: which of its samples are still to be written, one bool per sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a sample could not be made. It takes the sample's place in every later step.

    step: where it went wrong. error: one line. trace: the traceback's text. parameters: the step's resolved options.
    attempts: how often the sample was tried alone.
    """

    step: str
    sample: str
    error: str
    trace: str
    parameters: Mapping[str, Any]
    seed: int
    attempts: int
    worker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The end of one exported sample: either `file` facts (path, bytes, sha256) or a `failure`."""

    task: Task
    position: int
    sample: Sample
    file: Mapping[str, Any] | None
    failure: Failure | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where and how a run is executed; nothing in it changes what is made on one kind of device.

    folder: the run folder, absolute. token: what the folder's `.lock` holds, so that a worker on another machine can
    tell that it sees the same folder. devices: of this machine, as in Placement; on a cluster only their kind counts.
    threads: arithmetic threads of each worker. address: a running Ray cluster, or None. attempts: how often a sample
    that fails alone is tried.
    """

    folder: Path
    token: str
    devices: tuple[str, ...] = ("cpu",)
    threads: int = 1
    address: str | None = None
    attempts: int = 2


class Executor(Protocol):
    """Runs a plan's tasks. Every executor gives the same bytes on the same kind of device."""

    def __init__(self, setting: Setting) -> None: ...

    def run(self, plan: Plan, todo: Todo, observer: Observer) -> Iterator[Finished]:
        """Yield each exported sample as it ends. Closing the iterator stops the work and frees the workers."""
        ...
