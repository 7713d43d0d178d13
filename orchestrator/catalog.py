"""Names of stages, executors and exporters, and where they live. Imports nothing heavy; see `modalities.catalog`."""

from __future__ import annotations

import importlib

from modalities.catalog import Entry

STAGES: dict[str, Entry] = {
    "encode": Entry("orchestrator.stages.encode:Encode", "prompts to conditioning"),
    "generate": Entry("orchestrator.stages.generate:Generate", "conditioning to latents"),
    "extrapolate": Entry("orchestrator.stages.extrapolate:Extrapolate", "conditioning (and latents) to larger latents"),
    "decode": Entry("orchestrator.stages.decode:Decode", "latents to media"),
    "export": Entry("orchestrator.stages.export:Export", "media to files"),
}

EXECUTORS: dict[str, Entry] = {
    "local": Entry("orchestrator.executors.local:LocalExecutor", "this process; threads with bounded queues"),
    "ray": Entry("orchestrator.executors.ray:RayExecutor", "warm actor pools on a Ray cluster"),
}

EXPORTERS: dict[str, Entry] = {
    "png": Entry("orchestrator.exporters.image:write_png", "lossless image", {"modality": "image", "suffix": ".png"}),
    "jpeg": Entry("orchestrator.exporters.image:write_jpeg", "lossy image", {"modality": "image", "suffix": ".jpg"}),
    "webp": Entry("orchestrator.exporters.image:write_webp", "lossy or lossless image", {"modality": "image", "suffix": ".webp"}),
}


def resolve(table: dict[str, Entry], name: str) -> object:
    """The object behind a name, imported now."""
    module, _, attribute = table[name].target.partition(":")
    return getattr(importlib.import_module(module), attribute)
