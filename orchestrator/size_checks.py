"""What is wrong with the sizes that steps ask for, and the nearest one that a model can make. Reports, never raises."""

from __future__ import annotations

from collections.abc import Sequence

from modalities.catalog import MODALITIES
from orchestrator.models import PlannedModel
from orchestrator.places import Document
from orchestrator.sizes import SIZE_WORDS, rounded, words_of
from orchestrator.step_settings import ExtrapolateStep, SamplingStep


def check_size(document: Document, at: tuple[str, ...], settings: SamplingStep, model: PlannedModel | None) -> None:
    """Report what is wrong with the size of a step that generates, however it is said. at: path of the step."""
    words = [word for word in SIZE_WORDS if getattr(settings, word) is not None]
    given = [*(["size"] if settings.size is not None else []), *words]
    if not given and isinstance(settings, ExtrapolateStep):
        also = words_of(model.axes, model.rate) if model is not None else []
        document.report(at, f"the key `{'` or `'.join(['size', *also])}` is missing", at_key=True)
    if model is None:
        return
    known = words_of(model.axes, model.rate)
    for word in words:
        if word not in known:
            document.report((*at, word), f"{model.modality} has no `{word}`; {_other_ways(word, model)}", at_key=True)
    if len(given) > 1:
        second = given[1]
        document.report(
            (*at, second), f"`{given[0]}` says the {model.axes[0]} already; leave out one of them", at_key=True
        )
    elif words and words[0] in known:
        _check_word(document, (*at, words[0]), getattr(settings, words[0]), model)
    elif settings.size is not None:
        _check_lengths(document, (*at, "size"), settings.size, model)
    elif not given and not model.is_known:
        document.report(at, f"say the size; `{model.source}` is not on this machine yet", at_key=True)


def _other_ways(word: str, model: PlannedModel) -> str:
    """How a size of a model can be said, and which modalities have a word."""
    ways = [*words_of(model.axes, model.rate), f"size: [{', '.join(model.axes)}]"]
    having = [
        name
        for name, entry in MODALITIES.items()
        if word in words_of(str(entry.facts["axes"]).split(), float(entry.facts.get("rate", 0)))
    ]
    return f"say {' or '.join(ways)} (`{word}` is for {', '.join(having)})"


def _check_word(document: Document, at: tuple[str, ...], amount: float, model: PlannedModel) -> None:
    word, axis, unit, limit = at[-1], model.axes[0], model.units[0], model.largest[0]
    offset = model.offset[0]
    per_unit = model.rate if word == "duration" else 1.0
    shown = f"{amount:g} s" if word == "duration" else f"{amount:,}"
    if amount <= 0:
        least = f"{(unit + offset) / per_unit:g}"
        document.report(at, f"{word} {shown} is nothing; the least that this model makes is {least}")
    elif amount * per_unit > limit or rounded(amount, per_unit, unit, offset) > limit:
        most = f"{((limit - offset) // unit * unit + offset) / per_unit:g}"
        length = f" ({round(amount * per_unit):,} {axis})" if word == "duration" else ""
        document.report(at, f"{word} {shown}{length} is more than the limit of {limit:,} {axis}; the most is {most}")


def _check_lengths(document: Document, at: tuple[str, ...], size: Sequence[int], model: PlannedModel) -> None:
    if len(size) != len(model.axes):
        count = "1 number" if len(model.axes) == 1 else f"{len(model.axes)} numbers"
        document.report(at, f"{model.modality} sizes have {count} ({', '.join(model.axes)}); got {len(size)}")
        return
    faults = len(document.problems)
    rows = zip(model.axes, size, model.units, model.offset, model.largest, strict=True)
    for index, (axis, length, unit, offset, limit) in enumerate(rows):
        if length > limit:
            document.report((*at, index), f"{axis} {length} is more than the limit of {limit}")
        elif (length - offset) % unit:
            low = (length - offset) // unit * unit + offset
            near = " or ".join(str(n) for n in (low, low + unit) if n > 0)
            reason = f"codec stride {model.stride[index]} x patch {model.patch[index]}"
            rule = f"{offset % unit} more than a multiple of" if offset else "divisible by"
            document.report((*at, index), f"{axis} {length} is not {rule} {unit} ({reason}); nearest: {near}")
    if model.is_known and len(document.problems) == faults:
        try:
            model.num_tokens(size)
        except ValueError as error:
            document.report(at, f"{error}; expected {list(model.description.native_size)}")
