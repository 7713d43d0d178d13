"""The connection to a Ray cluster: one that runs already, or one started on this machine."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from typing import Any

import ray

from orchestrator.errors import ExecutorError

UNHURRIED = {"health_check_timeout_ms": 60_000, "health_check_failure_threshold": 10}
"""On one machine a node that does not answer is starved of CPU, not gone: do not end the run over it."""


@contextlib.contextmanager
def connected(address: str | None, cpus: int) -> Iterator[Mapping[str, float]]:
    """A connection to the cluster; gives its resources. A connection that this process had already is left open.

    address: of a running cluster; None starts one on this machine that counts so many CPUs. ExecutorError without one.
    """
    if ray.is_initialized():
        yield ray.cluster_resources()
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                _node_ip_address="127.0.0.1",
                _system_config=UNHURRIED,
                **quiet,
            )
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError, OSError, ray.exceptions.RayError) as error:
        where = "on this machine" if address is None else f"at `{address}`"
        hint = "" if address is None else "; `ray start --head` starts a cluster"
        raise ExecutorError(f"no Ray cluster {where}: {error}{hint}") from error
    try:
        yield ray.cluster_resources()
    finally:
        ray.shutdown()
