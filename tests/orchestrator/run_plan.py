"""`python -m tests.orchestrator.run_plan plan.json local|ray`: run a plan in a process that a test can kill."""

from __future__ import annotations

import sys
from pathlib import Path

from orchestrator.placement import Placement
from orchestrator.plan_json import plan_from_json
from orchestrator.run import run
from tests.orchestrator import fragile

if __name__ == "__main__":
    fragile.install()
    plan = plan_from_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    run(plan, Placement(executor=sys.argv[2]), lambda event: None)
