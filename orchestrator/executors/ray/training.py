"""Training on a Ray cluster, through Ray Train: every worker is one rank of the training loop.

Ray Train places the workers, joins them into torch's process group and watches them. Everything else (what a step sees,
checkpoints, logs, exports) is as without Ray and lies in the training's own folder, which every machine has to see.
"""

from __future__ import annotations

import importlib
import os
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modalities.training import command
from modalities.training.ranks import Ranks
from orchestrator.errors import ExecutorError, MissingExtra, ParhelionError
from orchestrator.executors.ray.connection import connected

BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
"""Of torch's process group; on CUDA too the ranks agree on the clock through the CPU, so no step waits for a GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterTraining:
    """A training and where it runs.

    recipe: the training file. overrides: as for a training in one process. workers: ranks; None takes one for each GPU
    of the cluster, or one without GPUs. is_sharded: cut weights and optimizer over the ranks. address: of a running
    cluster; None starts one on this machine.
    """

    recipe: Path
    overrides: Mapping[str, Any]
    workers: int | None = None
    is_sharded: bool = False
    address: str | None = None


def train_on_ray(wanted: ClusterTraining) -> None:
    """Run a training on a cluster until its model is exported.

    ValueError where the training cannot be done so; ExecutorError where the cluster is too small, a worker is lost or a
    machine does not see the folder of the training. Nothing is computed before all of that is checked.
    """
    command.read_with_overrides(wanted.recipe, wanted.overrides)
    try:
        importlib.import_module("ray.train")
    except ImportError:
        raise MissingExtra("ray[train]", "train", "training on a Ray cluster") from None
    with connected(wanted.address, os.cpu_count() or 1) as cluster:
        kind = _kind(str(wanted.overrides.get("device", "auto")), cluster)
        workers = wanted.workers or (int(cluster.get("GPU", 0)) if kind == "cuda" else 1)
        _check_size(workers, kind, cluster)
        training = command.make_ready(wanted.recipe, wanted.overrides, workers)
        folder = Path(training.folder).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        mark = folder / f".seen-by-all-{uuid.uuid4().hex}"
        mark.touch()
        try:
            _fit(wanted, workers, kind, mark)
        finally:
            mark.unlink(missing_ok=True)


def _fit(wanted: ClusterTraining, workers: int, kind: str, mark: Path) -> None:
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError, WorkerGroupError

    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "600")  # a busy machine imports torch slowly
    # A cluster of this machine alone talks to itself; gloo would look for the address of the host's name.
    is_alone = wanted.address is None and sys.platform == "linux"
    environment = {"env_vars": {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}} if is_alone else {}
    trainer = TorchTrainer(
        train_as_rank,
        train_loop_config={
            "recipe": str(wanted.recipe.resolve()),
            "overrides": dict(wanted.overrides),
            "is_sharded": wanted.is_sharded,
            "place": str(Path.cwd()),
            "mark": str(mark),
        },
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=kind == "cuda"),
        torch_config=TorchConfig(backend=BACKENDS[kind]),
        run_config=RunConfig(name="ray", storage_path=str(mark.parent), worker_runtime_env=environment),
    )
    try:
        trainer.fit()
    except WorkerGroupError as error:
        raise _unwrapped(error.worker_failures) from None
    except TrainingFailedError as error:
        raise ExecutorError(f"Ray Train gave up: {_first_line(error)}") from error


def train_as_rank(told: Mapping[str, Any]) -> None:
    """What every worker does; Ray Train calls it. told: see `_fit`."""
    from ray.train import get_context
    from ray.train.torch import get_device

    try:
        os.chdir(told["place"])  # Ray Train starts workers elsewhere; the paths of a recipe start here
        is_seen = Path(told["mark"]).exists()
    except OSError:
        is_seen = False
    if not is_seen:
        raise ExecutorError(
            f"the machine {os.uname().nodename} does not see {Path(told['mark']).parent}; put the working folder and "
            "the `folder` of the training on a file system that every machine of the cluster shares"
        )
    context = get_context()
    ranks = Ranks(rank=context.get_world_rank(), count=context.get_world_size(), is_sharded=told["is_sharded"])
    overrides = {**told["overrides"], "device": str(get_device())}
    command.train_from_yaml(Path(told["recipe"]), overrides, ranks)


def _kind(device: str, cluster: Mapping[str, float]) -> str:
    """`cpu` or `cuda`."""
    if device == "auto":
        return "cuda" if cluster.get("GPU", 0) >= 1 else "cpu"
    kind = device.partition(":")[0]
    if kind not in BACKENDS or kind != device:
        raise ValueError(f"device is `{device}`; on a cluster it is auto, cpu or cuda, and Ray says which")
    return kind


def _check_size(workers: int, kind: str, cluster: Mapping[str, float]) -> None:
    """ExecutorError when the cluster can never hold so many workers."""
    for name, what in (("CPU", "CPU"), ("GPU", "GPU")):
        there = int(cluster.get(name, 0))
        if workers > there and (name == "CPU" or kind == "cuda"):
            raise ExecutorError(f"{workers} workers need a {what} each, and the cluster has {there}; ask for fewer")


def _unwrapped(failures: Mapping[int, Exception]) -> Exception:
    """What a rank raised, without what Ray wrapped it in, so that a person sees one line; the lost ones come last."""
    causes = {rank: getattr(failure, "_base_exc", None) for rank, failure in sorted(failures.items())}
    for rank, cause in causes.items():
        if isinstance(cause, ParhelionError | ValueError):
            return cause
        if cause is not None:
            return ExecutorError(f"rank {rank} failed: {type(cause).__name__}: {_first_line(cause)}")
    text = "; ".join(f"rank {rank}: {_first_line(failure)}" for rank, failure in sorted(failures.items()))
    return ExecutorError(f"the training was cut off ({text}); the same command goes on from the last checkpoint")


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
