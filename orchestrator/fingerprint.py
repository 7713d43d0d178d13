"""What decides the bytes of a run, kept as plain values, so that a difference between two runs can be named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from orchestrator.catalog import EXPORTERS
from orchestrator.plan import Prompt, Step
from orchestrator.validation import cells_of, substitute

FORMAT = "parhelion-fingerprint/1"
PACKAGES = ("parhelion", "torch", "numpy", "tokenizers", "pillow")
PACKAGES_OF_PARTS = {
    "huggingface": "transformers",
    "diffusers-vae": "diffusers",
    "diffusers-video-vae": "diffusers",
    "mel-griffin-lim": "torchaudio",
    "bigvgan": "torchaudio",
}
"""Packages that only some text encoders and codecs use; those of formats are in their catalog."""


def identity_of(
    *,
    seed: int,
    prompts: Sequence[Prompt],
    matrix: Mapping[str, Sequence[Any]],
    steps: Iterable[Step],
    models: Mapping[str, Mapping[str, Any]],
    device: str,
) -> dict[str, Any]:
    """Everything that decides what the files hold. Where it runs (workers, executor, folders) is left out.

    device: the kind, cpu or cuda: the two round differently. models: as in `Plan.models`; a model whose weights were
    not read is known by its source.
    """
    steps = list(steps)
    used = {part for facts in models.values() for part in facts["parts"]}
    packages = [*PACKAGES, *(package for kind, package in PACKAGES_OF_PARTS.items() if kind in used)]
    packages += _packages_of_formats(steps, matrix)
    listed = canonical([[prompt.id, prompt.text] for prompt in prompts])
    return {
        "format": FORMAT,
        "seed": seed,
        "device": device,
        "prompts": {"count": len(prompts), "sha256": hashlib.sha256(listed.encode()).hexdigest()},
        "matrix": {axis: list(values) for axis, values in matrix.items()},
        "steps": {step.name: _step(step) for step in steps},
        "models": {name: _model(facts) for name, facts in models.items()},
        "packages": {package: _version(package) for package in dict.fromkeys(packages)},
    }


def fingerprint_of(identity: Mapping[str, Any]) -> str:
    """SHA-256 of an identity as 64 hex digits."""
    return hashlib.sha256(canonical(identity).encode()).hexdigest()


def canonical(value: Any) -> str:
    """JSON with sorted keys and one form for each number: 4 and 4.0 are the same."""
    return json.dumps(_one_form(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _one_form(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _one_form(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_one_form(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _step(step: Step) -> dict[str, Any]:
    names = ("stage", "options", "reads", "axes", "repetitions", "batch_size")
    plain: dict[str, Any] = _one_form({name: getattr(step, name) for name in names})
    return plain


def _model(facts: Mapping[str, Any]) -> dict[str, Any]:
    names = ["modality", "family", "precision", "weights_hash"]
    if facts["weights_hash"] is None:
        names += ["source", "overrides"]
    return {name: facts[name] for name in names}


def _packages_of_formats(steps: Iterable[Step], matrix: Mapping[str, Sequence[Any]]) -> list[str]:
    """Packages that the formats of a workflow are written with."""
    exports = [step for step in steps if step.stage == "export"]
    names = [
        str(substitute(step.options["format"]["name"], dict(cell)))
        for step in exports
        for cell in cells_of(step.axes, matrix)
    ]
    return [
        str(EXPORTERS[name].facts["package"]) for name in dict.fromkeys(names) if "package" in EXPORTERS[name].facts
    ]


def _version(package: str) -> str:
    """The version of a package; of several names for one (`open3d-cpu|open3d`), of the one that is installed."""
    for name in package.split("|"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "not installed"
