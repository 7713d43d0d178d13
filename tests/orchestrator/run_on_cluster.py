"""`python -m tests.orchestrator.run_on_cluster plan.json [lose]`: run a plan on a cluster of two nodes of this machine.

With `lose` the second node goes away without warning once some samples are there, and a third one joins.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ray.cluster_utils import Cluster

from orchestrator.executors.base import Event
from orchestrator.placement import Placement
from orchestrator.plan_json import plan_from_json
from orchestrator.run import run

QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 2,
}
NODE = {"object_store_memory": 128 * 2**20, "include_dashboard": False}

if __name__ == "__main__":
    plan = plan_from_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": QUICK_TO_NOTICE, **NODE})
    second = cluster.add_node(num_cpus=4, object_store_memory=128 * 2**20)
    lost: list[str] = []

    def watch(event: Event) -> None:
        print(event, flush=True)
        if "lose" in sys.argv and event.kind == "batch" and event.step == "files" and not lost:
            lost.append(event.step)
            cluster.remove_node(second, allow_graceful=False)
            cluster.add_node(num_cpus=4, object_store_memory=128 * 2**20)

    result = run(plan, Placement(executor="ray", address=cluster.address), watch)
    print("made", result.made, "failed", result.failed, "lost", len(lost), flush=True)
    cluster.shutdown()
