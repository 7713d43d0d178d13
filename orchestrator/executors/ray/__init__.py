"""The Ray executor. This folder is the only place that imports Ray."""

from orchestrator.executors.ray.executor import RayExecutor as RayExecutor
