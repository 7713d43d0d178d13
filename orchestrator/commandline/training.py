"""`parhelion train`: in this process, or on a Ray cluster."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.commandline.placing import place
from orchestrator.errors import ModelError
from orchestrator.placement import EVERY_MODEL


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """What the command line asked for; see `orchestrator.executors.ray.training` for what it means."""

    recipe: Path
    overrides: Mapping[str, Any]
    executor: str | None = None
    address: str | None = None
    workers: int | None = None
    is_sharded: bool = False
    cluster: Path | None = None


def train(request: TrainRequest) -> None:
    """Train; ValueError for options that contradict each other, ModelError for what is wrong with the training."""
    workers = () if request.workers is None else (str(request.workers),)
    where = place(executor=request.executor, address=request.address, workers=workers, cluster=request.cluster)
    # Devices of this machine choose nothing here: one of them is enough unless several workers are asked for.
    executor = dataclasses.replace(where, devices=("cpu",)).chosen_executor()
    count = where.workers.get(EVERY_MODEL)
    overrides = dict(request.overrides)
    if where.threads is not None:
        overrides.setdefault("threads", where.threads)
    if executor == "local" and (request.is_sharded or where.address is not None or (count or 1) > 1):
        raise ValueError("the executor local trains in this process; several workers, a cluster or --sharded need ray")
    try:
        if executor == "local":
            importlib.import_module("modalities.training.command").train_from_yaml(request.recipe, overrides)
            return
        training = importlib.import_module("orchestrator.executors.ray.training")
        wanted = training.ClusterTraining(
            recipe=request.recipe,
            overrides=overrides,
            workers=count,
            is_sharded=request.is_sharded,
            address=where.address,
        )
        training.train_on_ray(wanted)
    except (ValueError, OSError) as error:
        raise ModelError(str(error)) from error
