"""What a step of a workflow may say: the settings of every stage, and of the samplers and formats that it names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from modalities import catalog as modality_catalog
from orchestrator.catalog import EXPORTERS
from orchestrator.setting_types import Fraction, Known, Positive, Settings, Size, short_for
from orchestrator.sizes import SIZE_WORDS

SamplerName = Annotated[str, Known("sampler", modality_catalog.SAMPLERS)]
ScheduleName = Annotated[str, Known("schedule", modality_catalog.SCHEDULES)]
MethodName = Annotated[str, Known("extrapolation", modality_catalog.EXTRAPOLATIONS)]
FormatName = Annotated[str, Known("format", EXPORTERS)]
BatchSize = Annotated[int, Field(ge=1, le=4096, description="samples in one batch; it is part of what the files are")]


class SamplerSettings(Settings):
    """A sampler and the options that it takes."""

    name: SamplerName
    rtol: Positive | None = Field(default=None, description="dopri5: relative tolerance")
    atol: Positive | None = Field(default=None, description="dopri5: absolute tolerance")
    max_steps: int | None = Field(default=None, ge=1, description="dopri5: most trial steps")
    diffusion: Literal["decreasing", "middle", "memoryless"] | None = Field(
        default=None, description="euler-maruyama, poisson-midpoint: how much noise at which time"
    )
    scale: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="euler-maruyama, poisson-midpoint: amount of noise"
    )
    k: int | None = Field(default=None, ge=1, le=1000, description="poisson-midpoint: small steps in each; default 16")
    temperature: Annotated[float, Field(ge=0, le=10)] | None = Field(
        default=None, description="masked-autoregressive, autoregressive: how varied the draws are; default 1"
    )
    head_steps: int | None = Field(
        default=None, ge=2, le=1000, description="masked-autoregressive: diffusion steps of each token; default 100"
    )
    guidance_schedule: Literal["linear", "constant"] | None = Field(
        default=None, description="masked-autoregressive: whether guidance grows with the known tokens; default linear"
    )
    top_k: int | None = Field(
        default=None, ge=0, le=1_000_000, description="autoregressive: most tokens to draw from; default 0, all"
    )
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="autoregressive: likeliest tokens to draw from, by their probability; default 1, all"
    )
    decoder_steps: int | None = Field(
        default=None, ge=0, le=100_000, description="autoregressive: rounds of the second stage; 0 is code by code"
    )
    decoder_top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="autoregressive: top_p of a second stage that goes code by code; default 0.8"
    )
    decoder_temperature: Annotated[float, Field(gt=0, le=10)] | None = Field(
        default=None, description="autoregressive: how varied the codes of the second stage are; default 1"
    )


class ScheduleSettings(Settings):
    """A time grid and the options that it takes."""

    name: ScheduleName
    shift: Positive | None = Field(default=None, description="shifted, resolution-shifted, rational: s")
    mu: float | None = Field(default=None, description="sigmoid: where the steps grow")
    alpha: Positive | None = Field(default=None, description="sigmoid: how fast they grow")
    beta: Positive | None = Field(default=None, description="sigmoid: how fast they shrink at the end")
    power: Annotated[float, Field(ge=1)] | None = Field(
        default=None, description="rational: slope in logit coordinates"
    )


def _ordered(pair: list[float]) -> list[float]:
    if pair[0] < pair[1]:
        return pair
    raise PydanticCustomError("interval", "expected a start below the end, such as [0.2, 1]")


class GuidanceSettings(Settings):
    """Classifier-free guidance."""

    scale: float = Field(ge=0, le=100, description="1 follows the prompt as trained; more follows it harder")
    interval: Annotated[list[Fraction], Field(min_length=2, max_length=2), AfterValidator(_ordered)] | None = Field(
        default=None, description="times [start, end] in which guidance acts; noise is 0, data is 1"
    )
    channels: int | None = Field(default=None, ge=1, description="guide only the first channels (3 in released Lumina)")


Sampler = Annotated[SamplerSettings, short_for("name", (str,), SamplerName | SamplerSettings)]
Schedule = Annotated[ScheduleSettings, short_for("name", (str,), ScheduleName | ScheduleSettings)]
Guidance = Annotated[GuidanceSettings, short_for("scale", (int, float), float | GuidanceSettings)]
Duration = Annotated[float, WithJsonSchema({"type": "number", "exclusiveMinimum": 0})]
Count = Annotated[int, WithJsonSchema({"type": "integer", "minimum": 1})]
From = Annotated[
    list[str],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value, json_schema_input_type=str | list[str]),
    Field(min_length=1),
]
_MODEL = "name of a model; may be left out when there is only one or an earlier step names it"
_SIZE = "in media units, one number for each axis: [height, width], [frames, height, width], [samples], [points]"


class FormatSettings(Settings):
    """A format of files and the options that it takes."""

    name: FormatName
    quality: Annotated[int, Field(ge=0, le=100)] | None = Field(default=None, description="of lossy pictures and video")
    loudness: Annotated[float, Field(ge=-70, le=0)] | Literal["as-made"] | None = Field(
        default=None, description="loudness that sounds are brought to, in LUFS; default as-made, which leaves them"
    )
    peak: Annotated[float, Field(ge=-60, le=0)] | None = Field(
        default=None, description="largest true peak of a sound, in dBFS; default -1"
    )
    samples: Literal["int16", "float32"] | None = Field(default=None, description="wav: form of its numbers")
    method: Literal["poisson", "ball-pivoting"] | None = Field(
        default=None, description="mesh: how a surface is put through the points"
    )
    depth: Annotated[int, Field(ge=1, le=12)] | None = Field(
        default=None, description="mesh: of the octree of method poisson"
    )
    frames: Annotated[int, Field(ge=1, le=1000)] | None = Field(default=None, description="turntable: its pictures")
    seconds: Annotated[float, Field(gt=0, le=600)] | None = Field(default=None, description="turntable: its length")


Format = Annotated[FormatSettings, short_for("name", (str,), FormatName | FormatSettings)]


class EncodeStep(Settings):
    """Prompts to conditioning, with the text encoder of a model."""

    stage: Literal["encode"]
    model: str | None = Field(default=None, description=_MODEL)
    negative_prompt: str | None = Field(default=None, description="what guidance moves away from; default empty")
    batch_size: BatchSize | None = None


class SamplingStep(Settings):
    """What generate and extrapolate have in common."""

    from_: From = Field(alias="from", description="step or steps that this one continues")
    model: str | None = Field(default=None, description=_MODEL)
    size: Size | None = Field(default=None, description=f"{_SIZE}; default the model's own")
    duration: Duration | None = Field(default=None, description="in place of size: seconds of video, audio or music")
    frames: Count | None = Field(default=None, description="in place of size: frames of a video")
    views: Count | None = Field(default=None, description="in place of size: views of an object")
    points: Count | None = Field(default=None, description="in place of size: points of a point cloud")
    sampler: Sampler | None = Field(default=None, description="name, or {name, options}; default midpoint")
    steps: int | None = Field(default=None, ge=1, le=10_000, description="intervals of the time grid; default 20")
    schedule: Schedule | None = Field(default=None, description="name, or {name, options}; default shifted")
    guidance: Guidance | None = Field(default=None, description="scale, or {scale, interval, channels}; default 4")
    method: MethodName | None = Field(default=None, description="how positions are rescaled at an untrained size")
    watershed: Fraction | None = Field(default=None, description="watershed: the time of the switch; default 0.3")
    proportional_attention: bool | None = Field(default=None, description="widen attention with the number of tokens")
    context_drop: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        default=None, description="largest fraction of keys and values pooled away; default 0"
    )
    scale: Literal["per-axis", "area", "area-always"] | None = Field(
        default=None, description="what the rescaling is measured from; default per-axis"
    )
    batch_size: BatchSize | None = None


class GenerateStep(SamplingStep):
    """Conditioning to latents."""

    stage: Literal["generate"]


class ExtrapolateStep(SamplingStep):
    """Conditioning, and latents when an earlier step made some, to latents of another size, which must be said."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": [key]} for key in ("size", *SIZE_WORDS)]})

    stage: Literal["extrapolate"]
    strength: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="1 starts from noise; less starts from the earlier latents. Default 0.6 with latents, else 1",
    )


class DecodeStep(Settings):
    """Latents to media."""

    stage: Literal["decode"]
    from_: From = Field(alias="from", description="step or steps that this one continues")
    batch_size: BatchSize | None = None


class ExportStep(Settings):
    """Media to files."""

    stage: Literal["export"]
    from_: From = Field(alias="from", description="step or steps that this one continues")
    format: Format = Field(description="name, or {name, options}; `parhelion list formats` shows both")
    path: str | None = Field(
        default=None,
        description="path below media/ in the run folder, with {id}, {prompt_id}, {step}, {repetition}, {suffix} and "
        "matrix parameters by name; default {id}{suffix}, below the step's name when several steps export",
    )
    batch_size: BatchSize | None = None


STEPS: dict[str, type[Settings]] = {
    "encode": EncodeStep,
    "generate": GenerateStep,
    "extrapolate": ExtrapolateStep,
    "decode": DecodeStep,
    "export": ExportStep,
}
StepSettings = EncodeStep | GenerateStep | ExtrapolateStep | DecodeStep | ExportStep
