"""Samples a second of one process on one core and on all, and of Ray with one and two workers of the model.

    python benchmarks/worker_scaling.py [--samples 192] [--workers 1 2]

Runs a workflow of one image a prompt (encode, generate at 64 x 64, decode, PNG) into fresh folders, one way after the
other, each worker with one thread of arithmetic. The local executor takes a worker for each core that the process may
use. The rate counts from the first finished batch of pictures to the last, so that loading models and starting Ray
stand apart. Every run has to leave the same files, byte for byte. Writes
benchmarks/results/worker_scaling-<date>.json. On a machine that does something else too, the ratios say little.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from builtin_image import write_results
from kill_and_resume import media_files

from orchestrator.building import build_plan
from orchestrator.executors.base import Event
from orchestrator.placement import Placement
from orchestrator.run import run
from orchestrator.spec import read_workflow

WORKFLOW = """
name: scaling
seed: 5
prompts: {prompts}
models: {{image: builtin/image}}
steps:
  text:   {{stage: encode}}
  small:  {{stage: generate, from: text, size: [64, 64], steps: 10, batch_size: 8}}
  pixels: {{stage: decode, from: small}}
  png:    {{stage: export, from: pixels, format: png}}
"""
ONE_CORE = "one process, one core"
THINGS = ("a red apple", "two cats", "un chat", "ein Hund", "a rocket on a blue background", "三只猫", "🐘", "a guitar")


def measured(workflow: Path, folder: Path, placement: Placement) -> dict[str, Any]:
    """One run: its rate between the first and the last finished batch, and what it took in all."""
    finished: list[tuple[float, int]] = []

    def watch(event: Event) -> None:
        if event.kind == "batch" and event.step == "small":
            finished.append((time.perf_counter(), event.samples))

    plan = build_plan(replace(read_workflow(workflow), output=str(folder)), placement)
    started = time.perf_counter()
    result = run(plan, placement, watch)
    seconds = time.perf_counter() - started
    between = finished[-1][0] - finished[0][0]
    return {
        "samples": result.made,
        "samples_per_second": round(sum(samples for _, samples in finished[1:]) / between, 3),
        "seconds": round(seconds, 1),
        "seconds_before_the_first_batch": round(finished[0][0] - started, 1),
    }


def ways(workers: list[int]) -> dict[str, Placement]:
    """Every placement by its name."""
    found = {name: Placement(executor="local", threads=1) for name in (ONE_CORE, "one process, every core")}
    for number in workers:
        name = f"Ray, {number} worker{'s' if number > 1 else ''}"
        found[name] = Placement(executor="ray", workers={"image": number}, threads=1)
    return found


def alone(arguments: argparse.Namespace, folder: Path, name: str) -> dict[str, Any]:
    """One way in a process of its own, so that nothing is warm that another one loaded."""
    given = ["--samples", str(arguments.samples), "--workers", *map(str, arguments.workers)]
    command = [sys.executable, __file__, *given, "--only", name, "--folder", str(folder)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=192)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    placements = ways(arguments.workers)
    if arguments.only:
        if arguments.only == ONE_CORE:
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        folder: Path = arguments.folder
        workflow = folder / "scaling.yaml"
        prompts = [THINGS[i % len(THINGS)] for i in range(arguments.samples)]
        workflow.write_text(WORKFLOW.format(prompts=json.dumps(prompts, ensure_ascii=False)), encoding="utf-8")
        print(json.dumps(measured(workflow, folder / "run", placements[arguments.only])))
        return
    rows, files = {}, {}
    for name in placements:
        with tempfile.TemporaryDirectory() as made:
            rows[name] = alone(arguments, Path(made), name)
            files[name] = media_files(Path(made) / "run")
        print(name, rows[name], flush=True)
    first = next(iter(files))
    if any(found != files[first] for found in files.values()):
        raise SystemExit("the ways left different files")
    base = rows[first]["samples_per_second"]
    ratios = {name: round(row["samples_per_second"] / base, 3) for name, row in rows.items()}
    path = write_results("worker_scaling", {"ways": rows, "ratios": ratios})
    print(json.dumps(ratios), path)


if __name__ == "__main__":
    main()
