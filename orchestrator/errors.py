"""Every error that a user can see, as one tree.

ParhelionError
├── WorkflowError      the workflow file, or what it names, is wrong; holds every problem found (exit status 2)
├── RunRefused         the run folder holds a run of something else, or is in use (exit status 2)
├── ModelError         a model, checkpoint or codec cannot be used (exit status 2)
├── StageError         a stage failed on a sample; names the step, the sample and the prompt
├── ExecutorError      workers, devices or the cluster failed
└── MissingExtra       an optional package is not installed; says what to install (exit status 2)

Libraries below (`modalities`) raise `ValueError`; the orchestrator adds the place and raises one of these.
Arguments are kept picklable, because errors travel between Ray workers.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One fault in a file: where it is, what is wrong, what was expected."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"


class ParhelionError(Exception):
    """Base of every error meant for a user."""

    exit_status = 1


class WorkflowError(ParhelionError):
    """A workflow file is wrong. `problems` lists every fault at once."""

    exit_status = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(list(problems))
        self.problems = sorted(problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class RunRefused(ParhelionError):
    """The run folder cannot take this run."""

    exit_status = 2


class ModelError(ParhelionError):
    """A model, checkpoint or codec cannot be used."""

    exit_status = 2


class StageError(ParhelionError):
    """A stage failed on one sample."""

    def __init__(self, step: str, sample: str, reason: str) -> None:
        super().__init__(step, sample, reason)
        self.step = step
        self.sample = sample
        self.reason = reason

    def __str__(self) -> str:
        return f"step `{self.step}` failed on sample {self.sample}: {self.reason}"


class ExecutorError(ParhelionError):
    """Workers, devices or the cluster failed."""


class MissingExtra(ParhelionError):
    """An optional package is needed; the message holds the command that installs it."""

    exit_status = 2

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(package, extra, purpose)
        self.package = package
        self.extra = extra
        self.purpose = purpose

    def __str__(self) -> str:
        command = f"pip install 'parhelion[{self.extra}]'"
        return f"{self.purpose} needs the package {self.package}; install it with: {command}"


def nearest(name: str, known: Iterable[str]) -> str:
    """A suffix for messages about an unknown name: the nearest known one, and the list."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean `{close[0]}`? " if close else ""
    return f"{hint}known: {', '.join(names)}"
