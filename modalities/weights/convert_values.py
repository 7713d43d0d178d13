"""What a pickled checkpoint may hold, as inert values: names, tensors whose numbers still lie in the file, containers.

`BUILDERS` is the whole list of what a file can have built; every builder checks what it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

ITEM_BYTES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}
STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}


class PickleRefused(ValueError):
    """A pickle asks for something that is no tensor and no plain container, or is damaged."""


@dataclass(frozen=True, slots=True)
class Name:
    """A global that a pickle names. It stands for nothing and can do nothing."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True)
class Foreign:
    """What stands where a file has an object of another class: its name, and nothing of its content."""

    name: str


@dataclass(frozen=True, slots=True)
class Storage:
    """The memory of one or more tensors: its key in the file, element type and number of elements."""

    key: str
    dtype: str
    length: int


@dataclass(frozen=True, slots=True)
class PickledTensor:
    """A tensor whose numbers still lie in the file; offset and strides count elements of the storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes of the tensor's numbers."""
        return prod(self.shape) * ITEM_BYTES[self.storage.dtype]


def key_of(value: Any) -> Any:
    """A value that may be a key; containers may not, since hashing deep ones can exhaust the stack."""
    plain = (str, bytes, int, float, bool, type(None), Name, Foreign)
    if isinstance(value, plain) or (isinstance(value, tuple) and all(isinstance(part, plain) for part in value)):
        return value
    raise PickleRefused("holds a damaged pickle (a container as a key)")


def is_count(value: Any) -> bool:
    """Whether a value can be a size, an offset or a number of elements."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**48


def described(value: Any) -> str:
    """A value in an error: the global that it names, or its type."""
    return f"`{value}`" if isinstance(value, Name) else f"a {type(value).__name__}"


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> PickledTensor:
    """A tensor of a storage, after its claims were checked: no number outside the storage, and none twice."""
    counts = (offset, *shape, *strides) if isinstance(shape, tuple) and isinstance(strides, tuple) else (None,)
    if not isinstance(storage, Storage) or len(counts) > 33 or not all(map(is_count, counts)):
        raise PickleRefused("holds a damaged tensor")
    if len(shape) != len(strides):
        raise PickleRefused("holds a damaged tensor")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if prod(shape) and (last >= storage.length or prod(shape) > storage.length):
        raise PickleRefused(f"holds a tensor of shape {list(shape)} in a storage of {storage.length} elements")
    return PickledTensor(storage, offset, shape, strides)


def _parameter(data: Any, *_: Any) -> PickledTensor:
    if not isinstance(data, PickledTensor):
        raise PickleRefused("holds a damaged parameter")
    return data


def _mapping(*arguments: Any) -> dict[Any, Any]:
    """An (ordered or default) dictionary, empty or from pairs."""
    pairs = arguments[-1] if arguments and isinstance(arguments[-1], list | tuple) else ()
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise PickleRefused("holds a damaged mapping")
    return {key_of(key): value for key, value in pairs}


def _set(values: Any = ()) -> set[Any]:
    if not isinstance(values, list | tuple | set):
        raise PickleRefused("holds a damaged set")
    return {key_of(value) for value in values}


def _size(values: Any = ()) -> tuple[Any, ...]:
    if not isinstance(values, list | tuple) or not all(map(is_count, values)):
        raise PickleRefused("holds a damaged size")
    return tuple(values)


def _device(*arguments: Any) -> str:
    if not all(isinstance(part, str | int) for part in arguments):
        raise PickleRefused("holds a damaged device")
    return ":".join(str(part) for part in arguments)


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    """Bytes as protocol 2 writes them: text in Latin-1."""
    if not isinstance(text, str) or encoding != "latin1" or any(ord(letter) > 255 for letter in text):
        raise PickleRefused("holds damaged bytes")
    return text.encode("latin1")


BUILDERS: dict[Name, Callable[..., Any]] = {
    Name("torch._utils", "_rebuild_tensor_v2"): _tensor,
    Name("torch._utils", "_rebuild_tensor"): _tensor,
    Name("torch._utils", "_rebuild_parameter"): _parameter,
    Name("collections", "OrderedDict"): _mapping,
    Name("collections", "defaultdict"): _mapping,
    Name("builtins", "set"): _set,
    Name("__builtin__", "set"): _set,
    Name("torch", "Size"): _size,
    Name("torch", "device"): _device,
    Name("_codecs", "encode"): _encoded,
}
INERT = frozenset(
    [Name("torch", name) for name in (*STORAGES, *ITEM_BYTES)]
    + [Name(module, name) for module in ("builtins", "__builtin__") for name in ("dict", "list", "int", "float")]
)
"""Globals that may be mentioned and stand for themselves: types of storages, of numbers, of what a dictionary holds."""
