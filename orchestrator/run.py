"""A plan and an executor make a finished run folder.

The folder holds `plan.json` (what was resolved), `workflow.yaml` (as written), `fingerprint.json` (what decides the
files), `media/`, `manifest.jsonl`, `dead_letters.jsonl` when samples failed, `report.json` (times and machine) and
`index.html`. Running the same plan again resumes it; a changed plan is refused with the difference named.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from orchestrator.catalog import EXECUTORS, resolve
from orchestrator.errors import RunRefused
from orchestrator.executors.base import Event, Executor, Finished, Observer, Setting
from orchestrator.folder import claim, disk_error, free_name, locked
from orchestrator.gallery import exported_by, write_gallery
from orchestrator.manifest import DEAD_LETTERS, Ledger, read_rows, write_aside
from orchestrator.media_files import remove_strays
from orchestrator.placement import Placement
from orchestrator.plan import Plan
from orchestrator.plan_json import plan_to_json
from orchestrator.report import Clock, report_of

REPORT = "report.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run came to.

    made: samples made now; resumed: samples that an earlier run had finished; failed: samples in the dead letters.
    notes: what a person should know, each once. page: the gallery.
    """

    folder: Path
    made: int
    resumed: int
    failed: int
    seconds: float
    notes: tuple[str, ...]
    page: Path


@dataclass(slots=True)
class _Run:
    """One run while it goes on."""

    plan: Plan
    placement: Placement
    folder: Path
    ledger: Ledger
    clock: Clock
    predicted: Mapping[str, float]
    failed: int = 0

    def execute(self, token: str, observer: Observer) -> None:
        """Make what is missing.

        However it ends, what is finished is in the journal and a report says how far it came.
        """

        def watch(event: Event) -> None:
            self.clock.see(event)
            observer(event)

        self.ledger.begin()
        executor = _executor(self.placement, self.folder, token)
        finished = cast(Generator[Finished], executor.run(self.plan, self.ledger.todo, watch))
        status = "failed"
        try:
            with contextlib.closing(finished):
                for each in finished:
                    self.ledger.add(each)
                    self.failed += each.failure is not None
            status = "finished"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        finally:
            if status != "finished":
                with contextlib.suppress(OSError):
                    self.ledger.close()
                    self.report(status)

    def report(self, status: str) -> None:
        """Write `report.json`."""
        counts = {
            "planned": self.ledger.num_samples,
            "made": self.ledger.num_finished - self.ledger.num_resumed,
            "resumed": self.ledger.num_resumed,
            "failed": self.failed,
        }
        document = report_of(self.plan, self.placement, self.clock, counts, status, self.predicted)
        write_aside(self.folder / REPORT, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def run(
    plan: Plan,
    placement: Placement,
    observer: Observer,
    fresh: bool = False,
    predicted: Mapping[str, float] | None = None,
) -> RunResult:
    """Run a plan to its end in its run folder, or finish what an earlier run left there.

    fresh: take a new folder beside one that is already used. predicted: seconds of one worker for each step of the
    whole plan, which the report sets beside the measured ones. Raises RunRefused when the folder holds a run of
    something else or is in use, and the first error that no sample is to blame for. Whatever ends a run, the same
    call resumes it.
    """
    if not any(step.stage == "export" for step in plan.steps):
        raise RunRefused("no step of the plan exports anything, so nothing would be kept")
    folder = Path(plan.output).absolute()
    if fresh:
        folder = free_name(folder)
    with locked(folder) as token:
        try:
            going, page = _finish(plan, placement, folder, token, observer, predicted or {})
        except OSError as error:
            raise disk_error(error, folder) or error from error
    return RunResult(
        folder=folder,
        made=going.ledger.num_finished - going.ledger.num_resumed,
        resumed=going.ledger.num_resumed,
        failed=going.failed,
        seconds=going.clock.seconds,
        notes=going.clock.notes,
        page=page,
    )


def _finish(
    plan: Plan, placement: Placement, folder: Path, token: str, observer: Observer, predicted: Mapping[str, float]
) -> tuple[_Run, Path]:
    """Everything that a run does in its folder once the folder is held; answers the run and its page."""
    claim(folder, plan)
    remove_strays(folder)
    plan = _described(folder, plan)
    going = _Run(plan, placement, folder, Ledger(plan, folder), Clock(plan), predicted)
    going.execute(token, observer)
    going.ledger.conclude()
    page = write_gallery(folder, plan.name, exported_by(plan), going.ledger.rows(), read_rows(folder / DEAD_LETTERS))
    going.report("finished")
    return going, page


def _executor(placement: Placement, folder: Path, token: str) -> Executor:
    kind = cast(type[Executor], resolve(EXECUTORS, placement.chosen_executor()))
    return kind(
        Setting(
            folder=folder,
            token=token,
            devices=placement.devices,
            threads=placement.threads or 1,
            address=placement.address,
        )
    )


def _described(folder: Path, plan: Plan) -> Plan:
    """Write down what will be made: the plan as resolved, and the workflow as it was first written.

    Comments are not part of a plan's identity but of the text inside every file, so a resumed run keeps the first text.
    """
    path = folder / "workflow.yaml"
    if path.exists():
        plan = replace(plan, workflow_text=path.read_text(encoding="utf-8"))
    else:
        write_aside(path, plan.workflow_text)
    write_aside(folder / "plan.json", plan_to_json(plan))
    return plan
