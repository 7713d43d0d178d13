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
        "H.264 in yuv420p; plays everywhere",
        {"modality": "video multi-view", "suffix": ".mp4", "options": "quality", "package": "av"},
    ),
    "webm": Entry(
        "orchestrator.exporters.video:write_webm",
        "VP9; plays in browsers",
        {"modality": "video multi-view", "suffix": ".webm", "options": "quality", "package": "av"},
    ),
    "gif": Entry(
        "orchestrator.exporters.video:write_gif",
        "animated, 256 colours a frame",
        {"modality": "video multi-view", "suffix": ".gif"},
    ),
    "animated-webp": Entry(
        "orchestrator.exporters.video:write_webp",
        "animated, lossy; 100 is lossless",
        {"modality": "video multi-view", "suffix": ".webp", "options": "quality"},
    ),
    "frames": Entry(
        "orchestrator.exporters.video:write_frames",
        "a folder of PNG files, one for each frame",
        {"modality": "video multi-view", "suffix": "", "folder": True},
    ),
    "poster": Entry(
        "orchestrator.exporters.video:write_poster",
        "the middle frame as PNG",
        {"modality": "video multi-view", "suffix": ".png"},
    ),
    "contact-sheet": Entry(
        "orchestrator.exporters.video:write_contact_sheet",
        "all frames in one PNG",
        {"modality": "video multi-view", "suffix": ".png"},
    ),
    "wav": Entry(
        "orchestrator.exporters.audio:write_wav",
        "PCM of 16 bits or float32",
        {"modality": "audio music", "suffix": ".wav", "options": "loudness peak samples", "package": "soundfile"},
    ),
    "flac": Entry(
        "orchestrator.exporters.audio:write_flac",
        "lossless and smaller",
        {"modality": "audio music", "suffix": ".flac", "options": "loudness peak", "package": "soundfile"},
    ),
    "ogg": Entry(
        "orchestrator.exporters.audio:write_ogg",
        "Vorbis; lossy",
        {"modality": "audio music", "suffix": ".ogg", "options": "loudness peak", "package": "soundfile"},
    ),
    "spectrogram": Entry(
        "orchestrator.exporters.spectrogram:write_spectrogram",
        "a picture of the mel spectrogram as PNG",
        {"modality": "audio music", "suffix": ".png"},
    ),
    "ply": Entry(
        "orchestrator.exporters.point_cloud:write_ply",
        "points with colours; opens in MeshLab, Blender, Open3D",
        {"modality": "point-cloud", "suffix": ".ply"},
    ),
    "pcd": Entry(
        "orchestrator.exporters.point_cloud:write_pcd",
        "points with colours for PCL and ROS",
        {"modality": "point-cloud", "suffix": ".pcd"},
    ),
    "xyz": Entry(
        "orchestrator.exporters.point_cloud:write_xyz",
        "text: x y z r g b in each line",
        {"modality": "point-cloud", "suffix": ".xyz"},
    ),
    "glb": Entry(
        "orchestrator.exporters.point_cloud:write_glb",
        "glTF points for viewers and engines",
        {"modality": "point-cloud", "suffix": ".glb"},
    ),
    "mesh": Entry(
        "orchestrator.exporters.point_cloud:write_mesh",
        "a surface through the points as GLB",
        {"modality": "point-cloud", "suffix": ".glb", "options": "method depth", "package": "open3d-cpu|open3d"},
    ),
    "still": Entry(
        "orchestrator.exporters.point_cloud:write_still",
        "a rendered view as PNG",
        {"modality": "point-cloud", "suffix": ".png"},
    ),
    "turntable": Entry(
        "orchestrator.exporters.point_cloud:write_turntable",
        "one turn around the points as GIF",
        {"modality": "point-cloud", "suffix": ".gif", "options": "frames seconds"},
    ),
}
"""Facts: modality, what it can write (several with spaces between); suffix of its files; options that it takes; folder,
when it writes a folder of files; package, whose version decides its bytes."""


def resolve(table: dict[str, Entry], name: str) -> object:
    """The object behind a name, imported now."""
    module, _, attribute = table[name].target.partition(":")
    return getattr(importlib.import_module(module), attribute)
