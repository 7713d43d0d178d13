"""300 prompts in 6 languages, killed half-way with SIGKILL and started again, against a run left in peace.

    python benchmarks/kill_and_resume.py [--executor local|ray] [--kills 1]

Runs `workflows/things.yaml` (encode, generate at 64 x 64, extrapolate to 128 x 128, export) twice: once undisturbed,
once killed without warning when a share of the files is there and started again with the same command. Compares every
media file and the manifest byte for byte, and writes what it saw to `benchmarks/results/`.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = ROOT / "workflows" / "things.yaml"
EXPECTED = 300


def command(folder: Path, executor: str) -> list[str]:
    run = [sys.executable, "-m", "orchestrator", "run", str(WORKFLOW), "--quiet"]
    return [*run, "--executor", executor, "--output", str(folder)]


def media_files(folder: Path) -> dict[str, str]:
    files = sorted(path for path in (folder / "media").rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def finished_files(folder: Path) -> int:
    media = folder / "media"
    return sum(1 for path in media.rglob("*.png")) if media.is_dir() else 0


def kill_when(process: subprocess.Popen[bytes], folder: Path, files: int) -> int:
    """Kill the whole process group once so many files are there; returns how many there were."""
    while process.poll() is None:
        there = finished_files(folder)
        if there >= files:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return there
        time.sleep(0.05)
    raise SystemExit(f"the run ended by itself (status {process.returncode}) before it could be killed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executor", default="local", choices=["local", "ray"])
    parser.add_argument("--kills", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "kill_and_resume")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.folder, ignore_errors=True)
    calm, disturbed = arguments.folder / "calm", arguments.folder / "disturbed"

    started = time.perf_counter()
    subprocess.run(command(calm, arguments.executor), check=True)
    calm_seconds = time.perf_counter() - started

    started = time.perf_counter()
    killed_at = []
    for kill in range(arguments.kills):
        process = subprocess.Popen(command(disturbed, arguments.executor), start_new_session=True)
        share = EXPECTED * (kill + 1) // (arguments.kills + 1)
        killed_at.append(kill_when(process, disturbed, share))
    subprocess.run(command(disturbed, arguments.executor), check=True)
    disturbed_seconds = time.perf_counter() - started

    expected, found = media_files(calm), media_files(disturbed)
    rows = (calm / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    result = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "executor": arguments.executor,
        "prompts": EXPECTED,
        "files": len(expected),
        "manifest_rows": len(rows),
        "distinct_samples": len({json.loads(row)["id"] for row in rows}),
        "killed_when_files_were_there": killed_at,
        "files_equal": sum(found.get(name) == value for name, value in expected.items()),
        "files_only_in_one": len(expected.keys() ^ found.keys()),
        "manifests_equal": (calm / "manifest.jsonl").read_bytes() == (disturbed / "manifest.jsonl").read_bytes(),
        "seconds_undisturbed": round(calm_seconds, 1),
        "seconds_with_kills": round(disturbed_seconds, 1),
    }
    path = ROOT / "benchmarks" / "results" / f"kill_and_resume-{arguments.executor}-{result['date']}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    whole = result["files_equal"] == result["files"] == result["manifest_rows"] == EXPECTED
    if not (whole and result["manifests_equal"] and not result["files_only_in_one"]):
        raise SystemExit("the two runs differ")


if __name__ == "__main__":
    main()
