"""The classes that a class-conditional model knows: `classes.json` of its folder, read without torch.

    {"format": "parhelion-classes/1", "names": [["tench", "Tinca tinca"], ["goldfish"], ...]}

Entry k holds the names of class k, the usual one first. A prompt of such a model is one of the names or the number;
where there are no entries, the model is told nothing and the prompt is empty.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from modalities.weights.headers import DescriptionError, read_json

FORMAT = "parhelion-classes/1"
NO_CLASS = -1
"""The number of the empty prompt: the null condition."""


@dataclass(frozen=True, slots=True)
class ClassList:
    """The names of every class, in the order of their numbers."""

    names: tuple[tuple[str, ...], ...]
    _numbers: dict[str, list[int]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for number, names in enumerate(self.names):
            for name in names:
                found = self._numbers.setdefault(_key(name), [])
                if number not in found:
                    found.append(number)

    def number(self, prompt: str) -> int:
        """The number of the class that a prompt names, in small or capital letters; NO_CLASS for an empty one.

        ValueError for what is no class, with the nearest name, and for a name that several classes have.
        """
        key = _key(prompt)
        if not key:
            return NO_CLASS
        if not self.names:
            raise ValueError(f"`{prompt}`: this model knows no classes and reads no text; leave the prompt empty")
        if re.fullmatch(r"-?[0-9]+", key):
            return self._checked(key)
        numbers = self._numbers.get(key, [])
        if len(numbers) > 1:
            several = ", ".join(f"{number} ({' / '.join(self.names[number])})" for number in numbers)
            raise ValueError(f"`{prompt}` names {len(numbers)} classes: {several}; write the number")
        if not numbers:
            raise ValueError(f"`{prompt}` is none of the {len(self.names)} classes; {self._meant(key)}")
        return numbers[0]

    def _checked(self, key: str) -> int:
        if len(key) > 9 or not 0 <= int(key) < len(self.names):
            raise ValueError(f"class {key} is not there; this model knows 0 to {len(self.names) - 1}")
        return int(key)

    def _meant(self, key: str) -> str:
        """What to write in place of a prompt that names no class."""
        words = re.findall(r"\w+", key)
        runs = {" ".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, min(i + 6, len(words)) + 1)}
        inside = sorted(runs & self._numbers.keys(), key=lambda name: (-len(name), name))
        near = inside[:1] or get_close_matches(key, self._numbers, 1)
        nearest = f"nearest: {near[0]} ({self._numbers[near[0]][0]})" if near else f"for example {self.names[0][0]} (0)"
        return nearest if len(words) < 3 and near else f"this model knows classes, not sentences; {nearest}"


def read_classes(path: Path) -> ClassList:
    """The classes in a file. DescriptionError, a ValueError, when it cannot be read or is no such list."""
    values = read_json(path)
    if values.get("format") != FORMAT:
        raise DescriptionError(f"{path}: format is {values.get('format')!r}; this version reads {FORMAT!r}")
    names = values.get("names")
    if not isinstance(names, list) or not all(_are_names(entry) for entry in names):
        raise DescriptionError(f"{path}: `names` should hold one list of names, at least one, for each class")
    return ClassList(tuple(tuple(entry) for entry in names))


def _are_names(entry: object) -> bool:
    return isinstance(entry, list) and bool(entry) and all(isinstance(name, str) and name.strip() for name in entry)


def _key(name: str) -> str:
    """Names that differ in nothing but case, underscores and blanks are one."""
    return " ".join(name.casefold().replace("_", " ").split())
