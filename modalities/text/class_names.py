"""Class names as a text encoder, for models that are told a class instead of a sentence.

A prompt is the name of a class or its number; the empty prompt is the null condition, which guidance leads away from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from modalities.contracts import CheckpointError, Conditioning
from modalities.weights.class_list import ClassList, read_classes


class ClassNames:
    """Prompts to tokens `[B, 1, 1]` that hold the number of the class, -1 for the empty prompt. Always float32."""

    width = 1

    def __init__(self, classes: ClassList, device: torch.device | str = "cpu") -> None:
        self.classes = classes
        self.device = torch.device(device)
        listed = "\n".join("\t".join(names) for names in classes.names)
        self.fingerprint = hashlib.sha256(f"class-names\n{listed}".encode()).hexdigest()

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Encode prompts. ValueError for one that names no class, with the nearest name."""
        numbers = [float(self.classes.number(prompt)) for prompt in prompts]
        tokens = torch.tensor(numbers, device=self.device)[:, None, None]
        return Conditioning(tokens=tokens, mask=torch.ones(tokens.shape[:2], dtype=torch.bool, device=self.device))

    def unknown_words(self, prompt: str) -> list[str]:
        """The prompt itself where it names no class."""
        try:
            self.classes.number(prompt)
        except ValueError:
            return [prompt]
        return []


def load(spec: Mapping[str, object], device: torch.device | str, dtype: torch.dtype) -> ClassNames:
    """The encoder of a mapping `{"kind": "class-names", "file": ...}`, a file in the format of `class_list.py`.

    `dtype` is not followed: narrow types cannot hold every number. CheckpointError when the file is no such list.
    """
    unknown = set(spec) - {"kind", "file"}
    if unknown or "file" not in spec:
        raise ValueError(
            f"the text encoder class-names takes `file`, its classes.json, and nothing else; got {dict(spec)}"
        )
    try:
        return ClassNames(read_classes(Path(str(spec["file"]))), device)
    except ValueError as error:
        raise CheckpointError(str(error)) from None
