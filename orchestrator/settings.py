"""Every key that a workflow file may hold, its type, its limits and one line on what it does.

The JSON Schema for editors (`parhelion schema`) and the checks of `orchestrator.spec` both come from these classes.
Unknown keys are refused. A value that is left out, or null, takes the model's default, then the modality's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from modalities import catalog as modality_catalog
from modalities.catalog import Entry
from orchestrator.catalog import EXPORTERS
from orchestrator.errors import nearest

NAME = r"[A-Za-z][A-Za-z0-9_-]{0,63}"


class Settings(BaseModel):
    """Base of all: nothing unknown, nothing converted, nothing changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)


@dataclass(frozen=True, slots=True)
class Known:
    """Text that must be a name of a catalog table; editors get the list."""

    table: str
    entries: Mapping[str, Entry] = field(hash=False)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "enum": sorted(self.entries)}

    def check(self, name: str) -> str:
        """The name itself, or an error with the nearest one."""
        if name in self.entries or name in modality_catalog.outside_entries(self.table):
            return name
        text = f"unknown {self.table} `{name}`; {nearest(name, self.entries)}"
        raise PydanticCustomError("unknown_name", "{text}", {"text": text})


def bad_name(what: str, name: str) -> str:
    """The message about a name that cannot be one."""
    return f"`{name}` is not a name for a {what}; use a letter, then letters, digits, `-` and `_` (at most 64)"


def _named(what: str) -> AfterValidator:
    def check(name: str) -> str:
        if re.fullmatch(NAME, name):
            return name
        raise PydanticCustomError("bad_name", "{text}", {"text": bad_name(what, name)})

    return AfterValidator(check)


def _short_for(key: str, kinds: tuple[type, ...], shown: Any) -> BeforeValidator:
    """A plain value stands for a mapping that holds nothing but it."""

    def expand(value: Any) -> Any:
        plain = isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds)
        return {key: value} if plain else value

    return BeforeValidator(expand, json_schema_input_type=shown)


SamplerName = Annotated[str, Known("sampler", modality_catalog.SAMPLERS)]
ScheduleName = Annotated[str, Known("schedule", modality_catalog.SCHEDULES)]
MethodName = Annotated[str, Known("extrapolation", modality_catalog.EXTRAPOLATIONS)]
FormatName = Annotated[str, Known("format", EXPORTERS)]
TextEncoderKind = Annotated[str, Known("text encoder", modality_catalog.TEXT_ENCODERS)]
CodecKind = Annotated[str, Known("codec", modality_catalog.CODECS)]
Size = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=4)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
BatchSize = Annotated[int, Field(ge=1, le=4096, description="samples in one batch; it is part of what the files are")]


def _prompt_entry(value: Any) -> Any:
    if isinstance(value, str):
        return {"text": value}
    if isinstance(value, dict):
        return value
    shown = "a list" if isinstance(value, list) else "nothing" if value is None else f"`{str(value).lower()}`"
    raise PydanticCustomError(
        "prompt_type", "{text}", {"text": f"a prompt is text or {{id, text}}; got {shown}; put text in quotes"}
    )


class PromptEntry(Settings):
    """One prompt with an id of its own."""

    text: str = Field(description="the prompt, in any language")
    id: str | None = Field(
        default=None, min_length=1, max_length=200, description="its id; default p00000, p00001, ..."
    )


class PromptFile(Settings):
    """A list of prompts in a file."""

    file: str = Field(min_length=1, description="path beside the workflow; .txt, .csv, .jsonl or .parquet")
    id: str | None = Field(default=None, min_length=1, description="column of the ids; default `id` where there is one")
    text: str | None = Field(default=None, min_length=1, description="column of the texts; default `text`")


class TextEncoderSettings(Settings):
    """The text encoder of a model that does not bring its own, or that is to use another one.

    The kind `builtin` takes no further key; `huggingface` needs a source.
    """

    kind: TextEncoderKind
    source: str | None = Field(default=None, min_length=1, description="folder or hub id of the model")
    tokenizer: str | None = Field(default=None, min_length=1, description="its tokenizer, where that lies elsewhere")
    revision: str | None = Field(default=None, min_length=1, description="branch, tag or commit of a hub id")
    preset: Literal["lumina-next"] | None = Field(
        default=None, description="all that follows at once, as a released model uses it"
    )
    layer: int | None = Field(default=None, description="hidden layer to take; -2 is the one before the last")
    max_length: int | None = Field(default=None, ge=1, le=4096, description="most tokens of a prompt; the rest is cut")
    padding_side: Literal["left", "right"] | None = Field(default=None, description="where short prompts are filled up")
    pad_to_multiple: int | None = Field(default=None, ge=1, description="lengths that the model runs at")
    add_bos: bool | None = Field(default=None, description="begin with the tokenizer's begin-of-sequence token")
    add_eos: bool | None = Field(default=None, description="end with its end-of-sequence token")
    precision: Literal["as-asked", "float32", "bfloat16", "float16"] | None = Field(
        default=None, description="of the text encoder; as-asked is that of the model"
    )
    prefix: str | None = Field(default=None, description="text put before every prompt")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        others = sorted(name for name in self.model_fields_set - {"kind"} if getattr(self, name) is not None)
        if self.kind == "builtin" and others:
            raise PydanticCustomError("kind", "{text}", {"text": f"the kind builtin takes no {', '.join(others)}"})
        if self.kind == "huggingface" and self.source is None:
            raise PydanticCustomError("kind", "the kind huggingface needs a `source`: a folder or a hub id")
        return self


class CodecSettings(Settings):
    """The codec of a model that does not bring its own."""

    kind: CodecKind
    source: str = Field(min_length=1, description="folder or hub id")


class ModelSettings(Settings):
    """A model: where it is, and what to put in place of its parts."""

    source: str = Field(min_length=1, description="builtin/<name>, a folder, or a hub id such as org/name")
    text_encoder: TextEncoderSettings | None = Field(default=None, description="in place of the model's own")
    codec: CodecSettings | None = Field(default=None, description="in place of the model's own")
    ema: bool | None = Field(default=None, description="take the averaged weights of an original Lumina folder")
    native_size: Size | None = Field(default=None, description="trained size, where the folder does not tell")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="auto is float32 on a CPU and bfloat16 on CUDA"
    )


class SamplerSettings(Settings):
    """A sampler and the options that it takes."""

    name: SamplerName
    rtol: Positive | None = Field(default=None, description="dopri5: relative tolerance")
    atol: Positive | None = Field(default=None, description="dopri5: absolute tolerance")
    max_steps: int | None = Field(default=None, ge=1, description="dopri5: most trial steps")
    diffusion: Literal["decreasing", "middle", "memoryless"] | None = Field(
        default=None, description="euler-maruyama: how much noise at which time"
    )
    scale: Annotated[float, Field(ge=0)] | None = Field(default=None, description="euler-maruyama: amount of noise")


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


Sampler = Annotated[SamplerSettings, _short_for("name", (str,), SamplerName | SamplerSettings)]
Schedule = Annotated[ScheduleSettings, _short_for("name", (str,), ScheduleName | ScheduleSettings)]
Guidance = Annotated[GuidanceSettings, _short_for("scale", (int, float), float | GuidanceSettings)]
From = Annotated[
    list[str],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value, json_schema_input_type=str | list[str]),
    Field(min_length=1),
]
_MODEL = "name of a model; may be left out when there is only one or an earlier step names it"
_SIZE = "in pixels, [height, width]"


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
    size: Size | None = Field(default=None, description=f"{_SIZE}; default the model's own")


class ExtrapolateStep(SamplingStep):
    """Conditioning, and latents when an earlier step made some, to latents of another size."""

    stage: Literal["extrapolate"]
    size: Size = Field(description=_SIZE)
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
    format: FormatName
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


def _matrix_value(value: Any) -> Any:
    numbers = isinstance(value, list) and value and all(type(entry) in (int, float) for entry in value)
    if isinstance(value, str | int | float) or numbers:
        return value
    raise PydanticCustomError("matrix_value", "expected a number, text, true, false or a list of numbers")


MatrixValue = Annotated[
    Any,
    AfterValidator(_matrix_value),
    WithJsonSchema({"type": ["number", "string", "boolean", "array"], "items": {"type": "number"}}),
]
Prompts = Annotated[
    Annotated[
        list[Annotated[PromptEntry, BeforeValidator(_prompt_entry, json_schema_input_type=str | PromptEntry)]],
        Field(min_length=1),
        Tag("list"),
    ]
    | Annotated[PromptFile, Tag("file")],
    Discriminator(lambda value: "file" if isinstance(value, dict) else "list"),
]


class HeadSettings(Settings):
    """What concerns the whole workflow."""

    name: Annotated[str, _named("workflow")] = Field(description="name of the workflow; the run folder is runs/<name>")
    seed: int = Field(default=0, ge=0, lt=2**63, description="what all noise derives from")
    repetitions: int = Field(default=1, ge=1, le=100_000, description="samples of each prompt, each from its own noise")
    output: str | None = Field(default=None, min_length=1, description="run folder; default runs/<name>")


class PromptsSettings(Settings):
    """The section `prompts`."""

    prompts: Prompts = Field(description="texts, {id, text}, or {file, id, text} for a list in a file")


class ModelsSettings(Settings):
    """The section `models`."""

    models: dict[
        Annotated[str, _named("model")],
        Annotated[ModelSettings, _short_for("source", (str,), str | ModelSettings)],
    ] = Field(min_length=1, description="name -> source, or {source, text_encoder, codec, precision}")


class MatrixSettings(Settings):
    """The section `matrix`."""

    matrix: dict[Annotated[str, _named("matrix parameter")], Annotated[list[MatrixValue], Field(min_length=1)]] = Field(
        default_factory=dict, description="parameter -> values; used in steps as ${matrix.parameter}"
    )


SECTIONS: tuple[type[Settings], ...] = (HeadSettings, PromptsSettings, ModelsSettings, MatrixSettings)


class WorkflowFile(HeadSettings, PromptsSettings, ModelsSettings, MatrixSettings):
    """A Parhelion workflow: prompts, models and the steps that turn one into files."""

    steps: dict[Annotated[str, _named("step")], Annotated[StepSettings, Field(discriminator="stage")]] = Field(
        min_length=1, description="name -> step; steps form a graph through `from`"
    )
