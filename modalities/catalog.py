"""Every name a workflow may use for a part of `modalities`, and where that part lives.

Nothing is imported until `resolve` is called, so that listing and validating names costs nothing and Ray workers
need no registration. Adding a part is one line here (see CONTRIBUTING.md).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Entry:
    """A name's target as `module:attribute`, one line of description, and facts for planning, which imports nothing.

    Facts by table. modality: axes (their names), channels (of the media), default and largest (size, one number an
    axis), rate (units of the first axis a second), unordered (a set, without neighbours), and what differs from the
    defaults of `GenerateOptions`: steps, schedule, guidance, method, proportional_attention. sampler: evaluations (of
    the network, for a step), order, options (names it takes, separated by spaces), stochastic, adaptive, by_rows (also
    evaluates some samples of a batch), k (default of that option: a step costs 2 - 1 / k on average, the last one 1),
    families (generators whose own it is, without a velocity), steps (False where a number of steps means nothing).
    schedule: options. generator: cost (the module that counts parameters, FLOPs and bytes), training
    (`modalities.training.family`; absent, it cannot be trained here), objectives (trained by one of those; otherwise by
    a loss of its own). codec: stride, lead (units at the start of each axis that are cells of their own), weights
    (whether it has a file of them in a model folder), decode_bytes (memory of decoding one media value).
    text encoder: longest_prompt (characters). objective: directions (takes more noise), twice (differentiates twice).
    """

    target: str
    summary: str
    facts: Mapping[str, float | str | bool] = field(default_factory=dict)


MODALITIES: dict[str, Entry] = {
    "image": Entry(
        "modalities.image:IMAGE",
        "still pictures; axes row and column",
        {"axes": "height width", "channels": 3, "default": "64 64", "largest": "16384 16384"},
    ),
    "video": Entry(
        "modalities.video:VIDEO",
        "short videos; axes frame, row and column",
        {"axes": "frames height width", "channels": 3, "default": "12 64 64", "largest": "1024 4096 4096", "rate": 8},
    ),
    "multi-view": Entry(
        "modalities.multi_view:MULTI_VIEW",
        "views of one object; axes view, row and column",
        {
            "axes": "views height width",
            "channels": 3,
            "default": "8 64 64",
            "largest": "64 4096 4096",
            "method": "position-interpolation",
        },
    ),
    "audio": Entry(
        "modalities.audio:AUDIO",
        "sounds of 16 kHz; one axis",
        {"axes": "samples", "channels": 1, "default": "32256", "largest": "9600000", "rate": 16000, "guidance": 3.0},
    ),
    "music": Entry(
        "modalities.music:MUSIC",
        "longer sounds, guided harder; one axis",
        {
            "axes": "samples",
            "channels": 1,
            "default": "128000",
            "largest": "19200000",
            "rate": 16000,
            "guidance": 5.0,
            "method": "time-aware",
            "proportional_attention": True,
        },
    ),
    "point-cloud": Entry(
        "modalities.point_cloud:POINT_CLOUD",
        "coloured points without order; one axis",
        {"axes": "points", "channels": 6, "default": "256", "largest": "65536", "unordered": True},
    ),
}

SAMPLERS: dict[str, Entry] = {
    "euler": Entry(
        "modalities.flow.samplers:euler", "first order, one evaluation a step", {"evaluations": 1, "order": 1}
    ),
    "midpoint": Entry(
        "modalities.flow.samplers:midpoint", "second order, two evaluations a step", {"evaluations": 2, "order": 2}
    ),
    "heun": Entry("modalities.flow.samplers:heun", "second order, trapezoidal", {"evaluations": 2, "order": 2}),
    "rk4": Entry("modalities.flow.samplers:rk4", "fourth order, the classic tableau", {"evaluations": 4, "order": 4}),
    "rk4-38": Entry(
        "modalities.flow.samplers:rk4_38",
        "fourth order, the 3/8 rule (torchdiffeq's rk4)",
        {"evaluations": 4, "order": 4},
    ),
    "dopri5": Entry(
        "modalities.flow.samplers:dopri5",
        "fifth order with step-size control; takes as many evaluations as its tolerance needs",
        {"evaluations": 6, "order": 5, "adaptive": True, "options": "rtol atol max_steps"},
    ),
    "dpm-solver++": Entry(
        "modalities.flow.samplers:dpm_solver_pp_2m",
        "second-order multistep on the data prediction",
        {"evaluations": 1, "order": 2},
    ),
    "euler-maruyama": Entry(
        "modalities.flow.samplers:euler_maruyama",
        "the reverse SDE; draws noise at every step",
        {"evaluations": 1, "order": 1, "stochastic": True, "options": "diffusion scale"},
    ),
    "poisson-midpoint": Entry(
        "modalities.flow.poisson_midpoint:poisson_midpoint",
        "K small steps of the reverse SDE a step, for two evaluations on average",
        {"evaluations": 2, "order": 1, "stochastic": True, "by_rows": True, "k": 16, "options": "k diffusion scale"},
    ),
    "masked-autoregressive": Entry(
        "modalities.generators.mar.generate:MARGenerator",
        "MAR's own: steps are iterations, each of which draws some of the tokens",
        {"evaluations": 1, "order": 0, "families": "mar", "options": "temperature head_steps guidance_schedule"},
    ),
    "autoregressive": Entry(
        "modalities.generators.digit.generate:DiGITGenerator",
        "DiGIT's own: one semantic token after the other, then the codes, in decoder_steps rounds or one by one",
        {
            "evaluations": 1,
            "order": 0,
            "families": "digit",
            "steps": False,
            "options": "temperature top_k top_p decoder_steps decoder_top_p decoder_temperature",
        },
    ),
}

SCHEDULES: dict[str, Entry] = {
    "uniform": Entry("modalities.flow.schedules:uniform", "equal steps in t"),
    "shifted": Entry(
        "modalities.flow.schedules:shifted", "t / (t + s - s t): more steps near the noise", {"options": "shift"}
    ),
    "resolution-shifted": Entry(
        "modalities.flow.schedules:resolution_shifted",
        "shifted, s grows with the square root of the token ratio",
        {"options": "shift"},
    ),
    "sigmoid": Entry(
        "modalities.flow.schedules:sigmoid", "the sigmoid discretisation of Lumina-Next", {"options": "mu alpha beta"}
    ),
    "rational": Entry(
        "modalities.flow.schedules:rational", "the rational discretisation of Lumina-Next", {"options": "power shift"}
    ),
    "diffusers-flow-match": Entry(
        "modalities.generators.nextdit.lumina_pipeline:flow_match",
        "the grid of diffusers' FlowMatchEulerDiscreteScheduler",
        {"options": "shift"},
    ),
}

EXTRAPOLATIONS: dict[str, Entry] = {
    "none": Entry("modalities.generators.nextdit.extrapolation:none", "positions as they are"),
    "position-interpolation": Entry(
        "modalities.generators.nextdit.extrapolation:position_interpolation", "every frequency divided by the scale"
    ),
    "ntk-aware": Entry("modalities.generators.nextdit.extrapolation:ntk_aware", "the base multiplied by the scale"),
    "frequency-aware": Entry(
        "modalities.generators.nextdit.extrapolation:frequency_aware",
        "NTK anchored where a wave spans the trained length",
    ),
    "time-aware": Entry(
        "modalities.generators.nextdit.extrapolation:time_aware", "from interpolation at t = 0 to NTK at t = 1"
    ),
    "watershed": Entry(
        "modalities.generators.nextdit.extrapolation:watershed",
        "interpolation before a time, NTK after (released Lumina)",
    ),
}

GENERATORS: dict[str, Entry] = {
    "nextdit": Entry(
        "modalities.generators.nextdit.generate:load",
        "Next-DiT flow transformer of Lumina-Next",
        {
            "cost": "modalities.generators.nextdit.cost",
            "training": "modalities.training.flow_family:load",
            "objectives": True,
        },
    ),
    "flagdit": Entry(
        "modalities.generators.flagdit.generate:load",
        "Flag-DiT of one axis: the released Lumina audio and music models",
        {"cost": "modalities.generators.flagdit.cost"},
    ),
    "mar": Entry(
        "modalities.generators.mar.generate:load",
        "MAR: masked tokens in random order, each drawn by a small diffusion",
        {"cost": "modalities.generators.mar.cost", "training": "modalities.training.mar_family:load"},
    ),
    "digit": Entry(
        "modalities.generators.digit.generate:load",
        "DiGIT: semantic tokens one after the other, then VQ codes",
        {"cost": "modalities.generators.digit.cost", "training": "modalities.training.digit_family:load"},
    ),
}

CODECS: dict[str, Entry] = {
    "per-frame": Entry(
        "modalities.codecs.per_frame:load",
        "a codec of pictures on every frame of a video or set of views",
        {"decode_bytes": 200},
    ),
    "image-autoencoder": Entry(
        "modalities.codecs.image_autoencoder:load",
        "the built-in convolutional autoencoder",
        {"stride": 4, "weights": True, "decode_bytes": 200},
    ),
    "quantized-latents": Entry(
        "modalities.codecs.quantized_latents:load",
        "the nearest of a codebook for each latent of another codec; the built-in DiGIT's",
        {"stride": 4, "weights": True, "decode_bytes": 200},
    ),
    "vqgan": Entry(
        "modalities.codecs.vqgan:load",
        "MaskGIT's VQGAN, which the published DiGIT decodes with",
        {"stride": 16, "weights": True},
    ),
    "diffusers-vae": Entry(
        "modalities.codecs.diffusers_vae:load", "AutoencoderKL of diffusers (SDXL, SD)", {"stride": 8}
    ),
    "diffusers-video-vae": Entry(
        "modalities.codecs.diffusers_video_vae:load",
        "causal video autoencoders of diffusers (Wan, HunyuanVideo, LTX-Video)",
        {"lead": "1 0 0"},
    ),
    "mel-griffin-lim": Entry(
        "modalities.codecs.mel_spectrogram:load",
        "log mel spectrograms of 16 kHz sound, turned back by Griffin-Lim; no weights",
        {"stride": 256, "decode_bytes": 600},
    ),
    "points": Entry(
        "modalities.codecs.points:load",
        "coloured points, each by itself; no weights",
        {"stride": 1, "decode_bytes": 100},
    ),
    "bigvgan": Entry(
        "modalities.codecs.bigvgan:load",
        "the BigVGAN vocoder of published generators, on log mel spectrograms",
        {"stride": 256, "decode_bytes": 4000},
    ),
    "vae1d": Entry(
        "modalities.codecs.vae1d:load",
        "autoencoder and vocoder of the released Lumina audio and music",
        {"stride": 512, "weights": True, "decode_bytes": 4000},
    ),
}

TEXT_ENCODERS: dict[str, Entry] = {
    "class-names": Entry(
        "modalities.text.class_names:load",
        "the classes of a class-conditional model, by name or number",
        {"longest_prompt": 200},
    ),
    "builtin": Entry(
        "modalities.text.builtin:load",
        "multilingual encoder in the package: 16 languages, emoji",
        {"longest_prompt": 2000},
    ),
    "huggingface": Entry(
        "modalities.text.huggingface:load",
        "any Hugging Face tokenizer and model; Gemma-2B of Lumina-Next",
        {"longest_prompt": 8000},
    ),
    "lumina-audio": Entry(
        "modalities.text.lumina_audio:load",
        "CLAP's BERT and T5 side by side, as Lumina's audio model reads prompts",
        {"longest_prompt": 8000},
    ),
}

OBJECTIVES: dict[str, Entry] = {
    "rectified-flow": Entry(
        "modalities.training.objectives:rectified_flow", "velocity along straight paths, mean squared"
    ),
    "denoising": Entry(
        "modalities.training.score_matching:denoising", "denoising score matching: rectified flow with other weights"
    ),
    "sliced": Entry(
        "modalities.training.score_matching:sliced",
        "sliced score matching; differentiates the network twice",
        {"directions": True, "twice": True},
    ),
    "finite-difference-sliced": Entry(
        "modalities.training.score_matching:finite_difference_sliced",
        "sliced score matching by finite differences; two evaluations",
        {"directions": True},
    ),
    "lcss": Entry(
        "modalities.training.score_matching:lcss",
        "local curvature smoothing with Stein's identity; two evaluations, no Jacobian",
        {"directions": True},
    ),
    "lcss-plain": Entry(
        "modalities.training.score_matching:lcss_plain",
        "the same in one evaluation, with more variance",
        {"directions": True},
    ),
    "rectified-flow-lcss": Entry(
        "modalities.training.score_matching:rectified_flow_lcss",
        "rectified flow, and LCSS beside it for what is near the data; three evaluations",
        {"directions": True},
    ),
}

CORPORA: dict[str, Entry] = {
    "instruments": Entry(
        "modalities.training.corpora.instruments:load", "clips of instruments, drums and recorded effects, two seconds"
    ),
    "sprite-motion": Entry(
        "modalities.training.corpora.sprite_motion:load", "sprites that move in 13 ways, and animated emoji, as clips"
    ),
    "turntable-views": Entry(
        "modalities.training.corpora.turntable_views:load", "solids and furniture from eight sides, for multi-view"
    ),
    "sprites": Entry("modalities.training.corpora.scenes:load", "emoji on plain backgrounds, for the image model"),
    "solids-and-furniture": Entry(
        "modalities.training.corpora.shapes:load", "coloured point clouds of procedural solids and sampled furniture"
    ),
}
"""What generators are trained on; targets are `load(folder, **data) -> Corpus` (`modalities.training.corpus`)."""

TABLES: dict[str, dict[str, Entry]] = {
    "modality": MODALITIES,
    "sampler": SAMPLERS,
    "schedule": SCHEDULES,
    "extrapolation": EXTRAPOLATIONS,
    "generator": GENERATORS,
    "codec": CODECS,
    "text encoder": TEXT_ENCODERS,
    "objective": OBJECTIVES,
    "corpus": CORPORA,
}


def samplers_of(family: str) -> dict[str, Entry]:
    """The samplers that a family of generators takes: its own, where one names it, else those of velocities."""
    families = {name: str(entry.facts.get("families", "")).split() for name, entry in SAMPLERS.items()}
    own = {name: SAMPLERS[name] for name, known in families.items() if family in known}
    return own or {name: SAMPLERS[name] for name, known in families.items() if not known}


def resolve(table: str, name: str) -> object:
    """The object behind a name, imported now. KeyError lists what is known."""
    entries = TABLES[table] | outside_entries(table)
    if name not in entries:
        raise KeyError(f"unknown {table} `{name}`; known: {', '.join(sorted(entries))}")
    module, _, attribute = entries[name].target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def outside_entries(table: str) -> dict[str, Entry]:
    """Names that installed packages add through the entry-point group `modalities.<table>`."""
    from importlib.metadata import entry_points  # 35 ms, and hardly ever needed

    group = f"modalities.{table.replace(' ', '_')}"
    return {
        point.name: Entry(point.value, f"from {point.dist.name if point.dist else 'outside'}")
        for point in entry_points(group=group)
    }
