"""Pickled data read by a small interpreter that cannot run anything: it knows tensors and plain containers, no code.

Python's own unpickler calls whatever a file names. This one never imports and never calls: a global of the file is a
`Name`, an inert pair of strings, and the few that stand for a tensor or a container are built by functions of this
module. Whatever else a file asks for is refused by its name or, where the caller says so, stands in the result as a
`Foreign` object, which holds nothing. Opcodes are split by the standard library's `pickletools`, which runs nothing.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, Protocol

from modalities.weights.convert_values import (
    BUILDERS,
    INERT,
    STORAGES,
    Foreign,
    Name,
    PickledTensor,
    PickleRefused,
    Storage,
    described,
    is_count,
    key_of,
)

LARGEST_PICKLE = 16 * 2**20
"""Bytes of a pickle, without its tensors, and of one string in it. Those of real checkpoints are below one mebibyte."""


class Readable(Protocol):
    """What pickles are read from: no more than is asked for, however much a pickle claims to hold."""

    def read(self, count: int, /) -> bytes:
        """At most `count` bytes."""
        ...

    def readline(self, count: int, /) -> bytes:
        """A line of at most `count` bytes."""
        ...


class Bounded:
    """A file whose reads have a limit, because a pickle may claim strings of any length."""

    def __init__(self, file: Readable, limit: int = LARGEST_PICKLE) -> None:
        self._file = file
        self._left = limit

    def read(self, count: int = -1) -> bytes:
        """At most `count` bytes; PickleRefused beyond the limit."""
        return self._counted(self._file.read(min(count, self._left + 1) if count >= 0 else self._left + 1))

    def readline(self) -> bytes:
        """One line; PickleRefused beyond the limit."""
        return self._counted(self._file.readline(self._left + 1))

    def _counted(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise PickleRefused(f"holds a pickle of more than {LARGEST_PICKLE // 2**20} MiB, which no checkpoint needs")
        return data


def read_pickle(file: Readable, *, skip_objects: bool = False) -> Any:
    """The value of the next pickle in a file: tensors as `PickledTensor`, containers, numbers, text, bytes, None.

    skip_objects: let other objects stand as `Foreign` instead of raising PickleRefused with the name of their class.
    """
    machine = _Machine(skip_objects)
    try:
        for code, argument in _opcodes(file):
            if code == "STOP":
                return machine.pop()
            machine.step(code, argument)
    except (IndexError, KeyError, TypeError) as error:
        raise PickleRefused(f"holds a damaged pickle ({type(error).__name__}: {error})") from None
    raise PickleRefused("holds a pickle without an end")


def _opcodes(file: Readable) -> Iterator[tuple[str, Any]]:
    stream: IO[bytes] = Bounded(file)  # type: ignore[assignment]  # genops reads and reads lines, nothing else
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            yield opcode.name, argument
    except PickleRefused:
        raise
    except (ValueError, OverflowError, MemoryError) as error:
        raise PickleRefused(f"holds a damaged pickle ({error})") from None


MARK = object()
NUMBERS = frozenset(("BINFLOAT", "FLOAT", "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4"))
TEXTS = frozenset(("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"))
STRINGS = frozenset(("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BINSTRING", "SHORT_BINSTRING", "STRING"))
VALUES = NUMBERS | TEXTS | STRINGS
CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "MARK": MARK, "EMPTY_TUPLE": ()}
PUTS = frozenset(("BINPUT", "LONG_BINPUT", "PUT"))
GETS = frozenset(("BINGET", "LONG_BINGET", "GET"))
NOTHING = frozenset(("PROTO", "FRAME"))


class _Machine:
    """A stack, a memo, and one method for each opcode that checkpoints use; there is no other way to do anything."""

    def __init__(self, skip_objects: bool) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._skip = skip_objects

    def pop(self) -> Any:
        """The value on top, taken off."""
        return self._stack.pop()

    def step(self, code: str, argument: Any) -> None:
        """Do one opcode; PickleRefused for one that no checkpoint has."""
        stack = self._stack
        if code in VALUES:
            stack.append(argument)
        elif code in CONSTANTS:
            stack.append(CONSTANTS[code])
        elif code in PUTS:
            self._memo[int(argument)] = stack[-1]
        elif code in GETS:
            stack.append(self._memo[int(argument)])
        elif code not in NOTHING:
            action: Callable[[Any], None] | None = getattr(self, f"_on_{code.lower()}", None)
            if action is None:
                raise PickleRefused(f"holds a pickle with the opcode {code}, which no checkpoint needs")
            action(argument)

    def _marked(self) -> list[Any]:
        """Everything above the last mark, taken off with it."""
        for i in range(len(self._stack) - 1, -1, -1):
            if self._stack[i] is MARK:
                found = self._stack[i + 1 :]
                del self._stack[i:]
                return found
        raise PickleRefused("holds a damaged pickle (no mark)")

    def _on_memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _on_pop(self, _: Any) -> None:
        self._stack.pop()

    def _on_pop_mark(self, _: Any) -> None:
        self._marked()

    def _on_dup(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def _on_empty_dict(self, _: Any) -> None:
        self._stack.append({})

    def _on_empty_list(self, _: Any) -> None:
        self._stack.append([])

    def _on_empty_set(self, _: Any) -> None:
        self._stack.append(set())

    def _on_tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._marked()))

    def _on_tuple1(self, _: Any) -> None:
        self._stack[-1:] = [tuple(self._stack[-1:])]

    def _on_tuple2(self, _: Any) -> None:
        self._stack[-2:] = [tuple(self._stack[-2:])]

    def _on_tuple3(self, _: Any) -> None:
        self._stack[-3:] = [tuple(self._stack[-3:])]

    def _on_list(self, _: Any) -> None:
        self._stack.append(self._marked())

    def _on_dict(self, _: Any) -> None:
        pairs = self._marked()
        self._stack.append({})
        self._fill(pairs)

    def _on_append(self, _: Any) -> None:
        value = self._stack.pop()
        self._extend([value])

    def _on_appends(self, _: Any) -> None:
        self._extend(self._marked())

    def _extend(self, values: Sequence[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif not isinstance(target, Foreign):
            raise PickleRefused("holds a damaged pickle (values for what is no list)")

    def _on_additems(self, _: Any) -> None:
        values, target = self._marked(), self._stack[-1]
        if not isinstance(target, set):
            raise PickleRefused("holds a damaged pickle (items for what is no set)")
        target |= {key_of(value) for value in values}

    def _on_setitem(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._fill([key, value])

    def _on_setitems(self, _: Any) -> None:
        self._fill(self._marked())

    def _fill(self, pairs: Sequence[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, dict):
            for key, value in zip(pairs[::2], pairs[1::2], strict=False):
                target[key_of(key)] = value
        elif not isinstance(target, Foreign):
            raise PickleRefused("holds a damaged pickle (items for what is no mapping)")

    def _on_global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(self._named(Name(module, name)))

    def _on_stack_global(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not isinstance(module, str) or not isinstance(name, str):
            raise PickleRefused("holds a damaged pickle (a global without a name)")
        self._stack.append(self._named(Name(module[:200], name[:200])))

    def _named(self, name: Name) -> Name | Foreign:
        if name in BUILDERS or name in INERT:
            return name
        if self._skip:
            return Foreign(str(name))
        raise PickleRefused(
            f"asks for `{name}`, which is no tensor and no plain container; such a file can run code in other readers. "
            "Nothing of it was run. If you trust its weights, --skip-objects leaves such objects out without building "
            "them"
        )

    def _on_reduce(self, _: Any) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        self._stack.append(self._built(function, arguments))

    def _on_newobj(self, _: Any) -> None:
        self._on_reduce(None)

    def _on_newobj_ex(self, _: Any) -> None:
        self._stack.pop()
        self._on_reduce(None)

    def _on_obj(self, _: Any) -> None:
        parts = self._marked()
        self._stack.append(self._built(parts[0], tuple(parts[1:])))

    def _on_inst(self, argument: str) -> None:
        arguments = tuple(self._marked())
        module, _, name = argument.partition(" ")
        self._stack.append(self._built(self._named(Name(module, name)), arguments))

    def _built(self, function: Any, arguments: Any) -> Any:
        if isinstance(function, Foreign):
            return Foreign(function.name)
        if not isinstance(function, Name) or function not in BUILDERS or not isinstance(arguments, tuple):
            raise PickleRefused(f"builds something from {described(function)}, which is no tensor and no container")
        return BUILDERS[function](*arguments)

    def _on_build(self, _: Any) -> None:
        """Attributes of an object. Those of containers (a state dict's `_metadata`) are of no use here."""
        self._stack.pop()
        if not isinstance(self._stack[-1], dict | Foreign | PickledTensor):
            raise PickleRefused(f"sets attributes of {described(self._stack[-1])}")

    def _on_binpersid(self, _: Any) -> None:
        """A reference to the memory of a tensor: ("storage", type, key, device, elements, and in old files a view)."""
        parts = self._stack.pop()
        if not isinstance(parts, tuple) or len(parts) not in (5, 6) or parts[0] != "storage":
            raise PickleRefused("refers to something outside the pickle that is no tensor")
        kind, key, length = parts[1], parts[2], parts[4]
        if len(parts) == 6 and parts[5] is not None:
            raise PickleRefused(
                "holds views of storages, as very old torch wrote them; save it again with a newer torch"
            )
        dtype = STORAGES.get(kind.name) if isinstance(kind, Name) and kind.module == "torch" else None
        if dtype is None or not isinstance(key, str) or not is_count(length):
            raise PickleRefused(f"holds a tensor of {described(kind)}, which is not known here")
        self._stack.append(Storage(key, dtype, length))
