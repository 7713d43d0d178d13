"""`python -m tests.orchestrator.run_plan plan.json local|ray`: run a plan in a process that a test can kill."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from orchestrator.placement import Placement
from orchestrator.plan_json import plan_from_json
from orchestrator.run import run
from tests.orchestrator import fragile


def start_ray() -> None:
    """A Ray whose workers know the fragile stage."""
    import ray

    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    hook = {"worker_process_setup_hook": "tests.orchestrator.fragile.install"}
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, runtime_env=hook)


if __name__ == "__main__":
    fragile.install()
    if sys.argv[2] == "ray":
        start_ray()
    plan = plan_from_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    run(plan, Placement(executor=sys.argv[2]), lambda event: None)
