"""Names of stages, executors and exporters, and where they live. Imports nothing heavy; see `modalities.catalog`."""

from __future__ import annotations

import importlib

from modalities.catalog import Entry

STAGES: dict[str, Entry] = {
    "encode": Entry(
        "orchestrator.stages.encode:Encode",
        "prompts to conditioning",
        {"writes": "conditioning negative", "pool": "text", "batch": 32},
    ),
    "generate": Entry(
        "orchestrator.stages.generate:Generate",
        "conditioning to latents",
        {"reads": "conditioning negative", "writes": "latents", "pool": "model", "batch": 8, "stochastic": True},
    ),
    "extrapolate": Entry(
        "orchestrator.stages.extrapolate:Extrapolate",
        "conditioning (and latents) to larger latents",
        {
            "reads": "conditioning negative",
            "optional": "latents",
            "writes": "latents",
            "pool": "model",
            "batch": 4,
            "stochastic": True,
        },
    ),
    "decode": Entry(
        "orchestrator.stages.decode:Decode",
        "latents to media",
        {"reads": "latents", "writes": "media", "pool": "model", "batch": 8},
    ),
    "export": Entry(
        "orchestrator.stages.export:Export",
        "media to files",
        {"reads": "media", "writes": "file", "pool": "export", "batch": 16},
    ),
}
"""Facts: kinds it reads, may read (optional) and writes; pool (text, model or export); batch, the default batch size;
stochastic when it draws noise, so that repetitions differ from it on."""

EXECUTORS: dict[str, Entry] = {
    "local": Entry("orchestrator.executors.local:LocalExecutor", "this process; threads with bounded queues"),
    "ray": Entry("orchestrator.executors.ray:RayExecutor", "warm actor pools on a Ray cluster"),
}

EXPORTERS: dict[str, Entry] = {
    "png": Entry("orchestrator.exporters.image:write_png", "lossless image", {"modality": "image", "suffix": ".png"}),
    "jpeg": Entry(
        "orchestrator.exporters.image:write_jpeg",
        "lossy image",
        {"modality": "image", "suffix": ".jpg", "options": "quality"},
    ),
    "webp": Entry(
        "orchestrator.exporters.image:write_webp",
        "lossy image",
        {"modality": "image", "suffix": ".webp", "options": "quality"},
    ),
    "mp4": Entry(
        "orchestrator.exporters.video:write_mp4",
        "video in H.264, yuv420p; plays in browsers",
        {"modality": "video multi-view", "suffix": ".mp4", "options": "quality"},
    ),
    "webm": Entry(
        "orchestrator.exporters.video:write_webm",
        "video in VP9",
        {"modality": "video multi-view", "suffix": ".webm", "options": "quality"},
    ),
    "gif": Entry(
        "orchestrator.exporters.video:write_gif",
        "animation of 256 colours a frame",
        {"modality": "video multi-view", "suffix": ".gif"},
    ),
    "animated-webp": Entry(
        "orchestrator.exporters.video:write_webp",
        "animation, lossy or (quality 100) lossless",
        {"modality": "video multi-view", "suffix": ".webp", "options": "quality"},
    ),
    "frames": Entry(
        "orchestrator.exporters.video:write_frames",
        "a folder with a PNG for each frame or view",
        {"modality": "video multi-view", "suffix": "", "folder": True},
    ),
    "poster": Entry(
        "orchestrator.exporters.video:write_poster",
        "the middle frame as PNG",
        {"modality": "video multi-view", "suffix": ".png"},
    ),
    "contact-sheet": Entry(
        "orchestrator.exporters.video:write_contact_sheet",
        "all frames or views in one PNG",
        {"modality": "video multi-view", "suffix": ".png"},
    ),
}


def resolve(table: dict[str, Entry], name: str) -> object:
    """The object behind a name, imported now."""
    module, _, attribute = table[name].target.partition(":")
    return getattr(importlib.import_module(module), attribute)
