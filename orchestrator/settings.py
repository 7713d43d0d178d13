"""Every key that a workflow file may hold, its type, its limits and one line on what it does.

The JSON Schema for editors (`parhelion schema`) and the checks of `orchestrator.spec` both come from these classes.
Unknown keys are refused. A value that is left out, or null, takes the model's default, then the modality's. What a
step may say is in `orchestrator.step_settings`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from modalities import catalog as modality_catalog
from orchestrator.setting_types import Known, Settings, Size, named, short_for
from orchestrator.step_settings import StepSettings

ModalityName = Annotated[str, Known("modality", modality_catalog.MODALITIES)]
TextEncoderKind = Annotated[str, Known("text encoder", modality_catalog.TEXT_ENCODERS)]
CodecKind = Annotated[str, Known("codec", modality_catalog.CODECS)]


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
    preset: Literal["lumina-next", "lumina-music"] | None = Field(
        default=None, description="all that follows at once, as a released model uses it"
    )
    layer: int | None = Field(default=None, description="hidden layer to take; -2 is the one before the last")
    max_length: int | None = Field(default=None, ge=1, le=4096, description="most tokens of a prompt; the rest is cut")
    padding_side: Literal["left", "right"] | None = Field(default=None, description="where short prompts are filled up")
    pad_to_multiple: int | None = Field(default=None, ge=1, description="lengths that the model runs at")
    fill: bool | None = Field(default=None, description="fill up to max_length with padding that is read like words")
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
        if self.kind == "class-names":
            raise PydanticCustomError("kind", "the kind class-names reads the classes.json of its own model's folder")
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
    modality: ModalityName | None = Field(
        default=None,
        description="what it makes, where that is more than the folder says, as music from a model of sounds",
    )
    native_size: Size | None = Field(default=None, description="trained size, where the folder does not tell")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="auto is float32 on a CPU and bfloat16 on CUDA"
    )


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

    name: Annotated[str, named("workflow")] = Field(description="name of the workflow; the run folder is runs/<name>")
    seed: int = Field(default=0, ge=0, lt=2**63, description="what all noise derives from")
    repetitions: int = Field(default=1, ge=1, le=100_000, description="samples of each prompt, each from its own noise")
    output: str | None = Field(default=None, min_length=1, description="run folder; default runs/<name>")


class PromptsSettings(Settings):
    """The section `prompts`."""

    prompts: Prompts = Field(description="texts, {id, text}, or {file, id, text} for a list in a file")


class ModelsSettings(Settings):
    """The section `models`."""

    models: dict[
        Annotated[str, named("model")],
        Annotated[ModelSettings, short_for("source", (str,), str | ModelSettings)],
    ] = Field(min_length=1, description="name -> source, or {source, text_encoder, codec, precision}")


class MatrixSettings(Settings):
    """The section `matrix`."""

    matrix: dict[Annotated[str, named("matrix parameter")], Annotated[list[MatrixValue], Field(min_length=1)]] = Field(
        default_factory=dict, description="parameter -> values; used in steps as ${matrix.parameter}"
    )


SECTIONS: tuple[type[Settings], ...] = (HeadSettings, PromptsSettings, ModelsSettings, MatrixSettings)


class WorkflowFile(HeadSettings, PromptsSettings, ModelsSettings, MatrixSettings):
    """A Parhelion workflow: prompts, models and the steps that turn one into files."""

    steps: dict[Annotated[str, named("step")], Annotated[StepSettings, Field(discriminator="stage")]] = Field(
        min_length=1, description="name -> step; steps form a graph through `from`"
    )
