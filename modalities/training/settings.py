"""Training files: YAML to dataclasses, with unknown keys and wrong types refused by name."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

import yaml

from modalities.catalog import TABLES, Entry, outside_entries, resolve
from modalities.contracts import Modality
from modalities.training.loop import LoopOptions
from modalities.training.objectives import COUPLINGS, TIMES
from modalities.training.tokenizer_settings import TokenizerTraining
from modalities.weights.storage import STORAGES

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecData:
    """pictures: composed pictures to train on. held: others, to measure with. jitter: largest shift of an object."""

    pictures: int = 12288
    held: int = 256
    jitter: float = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecTraining:
    """A training of the image autoencoder. folder: checkpoints, log, sheets. export: the finished codec goes there.

    refine: folder of a finished codec whose decoder is trained on; its encoder and latents stay as they are.
    """

    folder: str
    export: str
    corpora: str = ".corpora"
    seed: int = 0
    noise: float = 0.1
    spread: float = 0.02
    refine: str | None = None
    model: dict[str, Any] = field(default_factory=dict)
    data: CodecData = field(default_factory=CodecData)
    loop: LoopOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorTraining:
    """A training of a generator.

    modality, corpus, family: names in the catalog. data: keywords of the corpus's load, and `workers`, the processes
    that compute the pool. codec: folder that a codec's training exported to, or a mapping with `kind` and `config` or
    `of` (a model whose codec is used); left out, that of the modality. pool: folder of the pool, where several
    trainings share one; left out, `pool` in `folder`. model: the generator's configuration; what is left out comes from
    the modality, the corpus and the text encoder. storage: of the exported weights.
    objective, times, coupling: what a family without a loss of its own is trained to do (left out, rectified flow), at
    which times, and how noise is paired with data. loss: what a family with a loss of its own lets a file choose.
    train_points: points of a cloud that a step sees, drawn anew each time; 0 for all. start_from: a model whose tensors
    are taken over where name and shape agree. probe: prompts of the sample sheet. defaults: how the finished model is
    sampled unless a workflow says otherwise. threshold: see `concepts.json`.
    """

    name: str
    modality: str
    corpus: str
    folder: str
    export: str
    family: str = "nextdit"
    codec: str | dict[str, Any] | None = None
    corpora: str = ".corpora"
    pool: str | None = None
    seed: int = 0
    objective: str | None = None
    times: str = "logit-normal"
    coupling: str = "none"
    caption_drop: float = 0.1
    text_tokens: int = 24
    train_points: int = 0
    storage: str = "float16"
    start_from: str | None = None
    threshold: float = 0.68
    text_encoder: dict[str, Any] = field(default_factory=lambda: {"kind": "builtin"})
    model: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    probe: list[str] = field(default_factory=list)
    loop: LoopOptions

    def __post_init__(self) -> None:
        for table, name in (
            ("modality", self.modality),
            ("corpus", self.corpus),
            ("text encoder", str(self.text_encoder.get("kind"))),
        ):
            _known(table, name, [*TABLES[table], *outside_entries(table)])
        self._check_family()
        if isinstance(self.codec, dict):
            _known("codec", str(self.codec.get("kind")), [*TABLES["codec"], *outside_entries("codec")])
        if self.codec is None and not is_without_weights(self.kind.codec):
            raise ValueError(
                f"codec is missing; a {self.modality} needs the folder that its codec's training exported to"
            )
        _known("times", self.times, TIMES)
        _known("coupling", self.coupling, COUPLINGS)
        _known("storage", self.storage, STORAGES)
        if self.train_points and self.modality != "point-cloud":
            raise ValueError(f"train_points is for point clouds; a {self.modality} is trained whole")

    def _check_family(self) -> None:
        """ValueError unless the family can be trained, by the objective that is named."""
        trained = {name: entry for name, entry in _generators().items() if entry.facts.get("training")}
        _known("generator family", self.family, trained)
        if self.objective is None:
            return
        if not trained[self.family].facts.get("objectives"):
            others = ", ".join(name for name, entry in trained.items() if entry.facts.get("objectives"))
            raise ValueError(
                f"objective `{self.objective}` is for a velocity or score, and generator `{self.family}` has a loss of "
                f"its own; leave `objective` out, or train one of: {others}"
            )
        _known("objective", self.objective, [*TABLES["objective"], *outside_entries("objective")])

    @property
    def kind(self) -> Modality:
        """The value of the modality."""
        return cast(Modality, resolve("modality", self.modality))

    @property
    def codec_or_default(self) -> str | dict[str, Any]:
        """The codec that the file names, or that of the modality."""
        return dict(self.kind.codec) if self.codec is None else self.codec


def is_without_weights(codec: Mapping[str, Any]) -> bool:
    """Whether a codec's mapping is all there is of it: its kind has no weights, or they are another model's."""
    entry = TABLES["codec"].get(str(codec["kind"]))
    return "of" in codec or not (entry and entry.facts.get("weights"))


def _generators() -> dict[str, Entry]:
    return TABLES["generator"] | outside_entries("generator")


def _known(table: str, name: str, names: Collection[str]) -> None:
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean `{near[0]}`? " if near else ""
        raise ValueError(f"unknown {table} `{name}`; {hint}known: {', '.join(sorted(names))}")


Training = CodecTraining | GeneratorTraining | TokenizerTraining
KINDS: dict[str, type[Training]] = {
    "codec": CodecTraining,
    "generator": GeneratorTraining,
    "tokenizer": TokenizerTraining,
}


def read_training(path: Path, overrides: Mapping[str, Any] | None = None) -> Training:
    """Read a training file; ValueError says which key is unknown, missing or of the wrong type, and where.

    overrides: values for the keys of `loop` (such as minutes or steps) and for `folder`, `export` and `corpora`.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(values, dict) or values.get("train") not in KINDS:
        raise ValueError(f"{path}: `train` should be one of {', '.join(KINDS)}")
    kind = KINDS[values.pop("train")]
    for key, value in dict(overrides or {}).items():
        if key in ("folder", "export", "corpora"):
            values[key] = value
        else:
            values["loop"] = _with_budget(dict(values.get("loop") or {}), key, value)
    training = build(kind, values, str(path))
    if not isinstance(training, GeneratorTraining) and (training.loop.accumulate > 1 or training.loop.stop is not None):
        raise ValueError(
            f"{path}: loop: accumulate and stop are for generators; here a loss is of its batch as a whole"
        )
    return training


def _with_budget(loop: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A loop with one value changed; a budget in minutes replaces one in steps, and the other way round."""
    for other in {"minutes", "steps"} - {key} if key in ("minutes", "steps") else ():
        loop.pop(other, None)
    return {**loop, key: value}


def build(kind: type[T], values: Mapping[str, Any], place: str) -> T:
    """A dataclass from plain values, nested ones included; ValueError names key and place."""
    hints = get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, 1)
            raise ValueError(f"{place}: unknown key `{key}`" + (f"; did you mean `{near[0]}`?" if near else ""))
    nothing = dataclasses.MISSING
    needed = [n for n, f in fields.items() if f.default is nothing and f.default_factory is nothing]
    missing = [name for name in needed if name not in values]
    if missing:
        raise ValueError(f"{place}: missing {', '.join(missing)}")
    arguments = {key: _value(hints[key], value, f"{place}: {key}") for key, value in values.items()}
    try:
        return kind(**arguments)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _value(hint: Any, value: Any, place: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ValueError(f"{place}: expected a mapping, not {value!r}")
        return build(hint, value, place)  # type: ignore[arg-type]
    nested = [part for part in get_args(hint) if dataclasses.is_dataclass(part)]
    if nested and value is not None:
        return _value(nested[0], value, place)
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        if not isinstance(value, list) or len(value) != len(inner):
            raise ValueError(f"{place}: expected a list of {len(inner)}, not {value!r}")
        return tuple(_value(part, v, place) for part, v in zip(inner, value, strict=True))
    parts = get_args(hint) if get_origin(hint) is UnionType else (hint,)
    allowed = tuple(get_origin(part) or part for part in parts)
    if isinstance(value, bool) and bool not in allowed:
        allowed = ()
    if float in allowed and isinstance(value, int):
        return float(value)
    if not isinstance(value, allowed):
        raise ValueError(f"{place}: expected {' or '.join(_name(a) for a in allowed) or _name(hint)}, not {value!r}")
    return value


def _name(kind: Any) -> str:
    plain = {"int": "a whole number", "float": "a number", "str": "text", "dict": "a mapping", "NoneType": "nothing"}
    return plain.get(getattr(kind, "__name__", str(kind)), getattr(kind, "__name__", str(kind)))
