"""How long `validate` and `plan` take as commands, the latter for 10,000 prompts, and whether they import torch or Ray.

    python benchmarks/planning.py [--repeats 5]

Prints the best and the median wall-clock time of fresh processes, Python's start included.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMAND = Path(sys.executable).with_name("parhelion")
PROMPTS = 10_000


def workflow(folder: Path) -> Path:
    """A workflow of 10,000 prompts from a CSV, through every stage."""
    lines = [f"{number:05d},a red apple and {number} pears" for number in range(PROMPTS)]
    (folder / "prompts.csv").write_text("\n".join(["id,text", *lines]) + "\n", encoding="utf-8")
    text = (ROOT / "workflows" / "things.yaml").read_text(encoding="utf-8")
    text = text.replace("file: things.csv", "file: prompts.csv").replace("id: key", "id: id")
    path = folder / "many.yaml"
    path.write_text(text.replace("text: name", "text: text"), encoding="utf-8")
    return path


def seconds(command: list[str], repeats: int) -> list[float]:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return times


def heavy_imports(arguments: list[str]) -> list[str]:
    code = (
        "import sys\nfrom orchestrator.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('torch', 'ray', 'transformers') if m in sys.modules], file=sys.stderr)"
    )
    answer = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return json.loads(answer.stderr.strip().splitlines()[-1].replace("'", '"'))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    result: dict[str, object] = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load_average": os.getloadavg()[0],
    }
    with tempfile.TemporaryDirectory() as folder:
        many = str(workflow(Path(folder)))
        small = str(ROOT / "workflows" / "image.yaml")
        for name, arguments in {"validate": ["validate", small], f"plan of {PROMPTS} prompts": ["plan", many]}.items():
            times = seconds([str(COMMAND), *arguments], repeats)
            result[name] = {
                "best_seconds": round(min(times), 3),
                "median_seconds": round(statistics.median(times), 3),
                "heavy_imports": heavy_imports(arguments),
            }
    path = ROOT / "benchmarks" / "results" / f"planning-{result['date']}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
