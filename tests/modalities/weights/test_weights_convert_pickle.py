"""Pickles that want to run something, claim too much, or are cut short: nothing runs, and the reason is named."""

from __future__ import annotations

import collections
import copyreg
import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from modalities.contracts import CheckpointError
from modalities.weights.convert_archive import opened
from modalities.weights.convert_pickle import read_pickle
from modalities.weights.convert_values import Foreign, PickledTensor, PickleRefused

HIT = "PARHELION_PICKLE_RAN"


class Evil:
    """Pickles as a call of anything with anything."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, state: Any = None) -> None:
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.parts


def attacks() -> dict[str, bytes]:
    mark = f"import os; os.environ['{HIT}'] = '1'"
    dumped = {
        "os.system": Evil(os.system, f"touch {HIT}"),
        "builtins.eval": Evil(eval, f"__import__('os').environ.__setitem__('{HIT}', '1')"),
        "builtins.exec": Evil(exec, mark),
        "builtins.getattr": Evil(getattr, Evil(__import__, "os"), "system"),
        "subprocess.Popen": Evil(subprocess.Popen, ["true"]),
        "importlib": Evil(__import__, "os"),
        "functools.partial": Evil(__import__("functools").partial, print, 1),
        "open": Evil(open, HIT, "w"),
        "torch.load": Evil(torch.load, "x.pt"),
        "torch.hub.load": Evil(torch.hub.load, "a/b", "c"),
        "copyreg": Evil(copyreg._reconstructor, Evil, object, None),
        "a subclass of tensors": Evil(torch._tensor._rebuild_from_type_v2, print, int, (), None),
        "a method of a container": Evil(collections.OrderedDict.fromkeys, [1]),
    }
    found = {name: pickle.dumps({"state_dict": value}, protocol=2) for name, value in dumped.items()}
    found["protocol 4"] = pickle.dumps({"a": Evil(os.system, "true")}, protocol=4)
    found["protocol 0"] = pickle.dumps(Evil(os.system, "true"), protocol=0)
    found["the opcode INST"] = b"(S'true'\nios\nsystem\n."
    found["the opcode OBJ"] = b"(cos\nsystem\nS'true'\no."
    found["the opcode NEWOBJ"] = b"cos\nsystem\nS'true'\n\x85\x81."
    found["an extension"] = b"\x82\x01)R."
    found["a global inside a name"] = b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R."
    found["attributes of a builder"] = b"ctorch._utils\n_rebuild_tensor_v2\n}S'x'\nI1\nsb."
    found["a rebuild of no storage"] = b"ctorch._utils\n_rebuild_tensor_v2\n(S'os'\nI0\n))t\x52."
    found["a rebuild beyond its storage"] = rebuilt(length=4, shape=(1000, 1000), strides=(0, 0))
    found["a rebuild at a negative offset"] = rebuilt(length=4, shape=(2,), strides=(1,), offset=-8)
    found["a rebuild with a step outside"] = rebuilt(length=4, shape=(2,), strides=(2**40,))
    found["a persistent id of something else"] = pickle.dumps(("module", "os", "x", "cpu", 1), 2)[:-1] + b"Q."
    found["a container as a key"] = b"}]I1\ns."
    found["a call of a number"] = b"I3\n)R."
    found["a chain of getattr"] = b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n(S'os'\ntRS'system'\ntR(S'true'\ntR."
    return found


def rebuilt(*, length: int, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> bytes:
    """A tensor of a storage, by hand."""
    out = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\n"
    numbers = b"".join(f"I{n}\n".encode() for n in shape)
    steps = b"".join(f"I{n}\n".encode() for n in strides)
    return (
        out + f"I{length}\n".encode() + b"tQ" + f"I{offset}\n".encode() + b"(" + numbers + b"t(" + steps + b"t\x89}tR."
    )


class Watch:
    """The interpreter's own record of what is run, opened, imported or looked up, while it is on."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.is_on = False
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.is_on:
            self.events.append(event)

    def __enter__(self) -> list[str]:
        self.events, self.is_on = [], True
        return self.events

    def __exit__(self, *_: object) -> None:
        self.is_on = False


@pytest.fixture(scope="module")
def watch() -> Watch:
    b"a".decode("raw-unicode-escape")  # the codec of old pickles' text, which Python imports when it is first used
    return Watch()


@pytest.mark.parametrize("name", attacks())
@pytest.mark.parametrize("skip_objects", [False, True])
def test_nothing_that_a_pickle_asks_for_is_run(name: str, skip_objects: bool, watch: Watch) -> None:
    data = io.BytesIO(attacks()[name])
    with watch as events:
        try:
            value = read_pickle(data, skip_objects=skip_objects)
        except PickleRefused:
            value = None
    assert events == []
    assert value is None or (skip_objects and "Foreign" in repr(value))


def test_the_watch_sees_what_other_readers_run(watch: Watch) -> None:
    data = pickle.dumps(Evil(eval, "1 + 1"), protocol=2)
    with watch as events:
        pickle.loads(data)
    assert {"pickle.find_class", "exec"} <= set(events)


@pytest.mark.parametrize(
    ("value", "asked"),
    [
        (Evil(os.system, "true"), r"`(posix|nt)\.system`"),
        (Evil(eval, "1"), r"`(builtins|__builtin__)\.eval`"),
        (Path("a"), r"`pathlib\."),
        (collections.Counter("aab"), r"`collections\.Counter`"),
    ],
)
def test_the_refusal_names_what_was_asked_for(value: Any, asked: str, tmp_path: Path) -> None:
    file = tmp_path / "model.ckpt"
    torch.save({"state_dict": {"a": torch.ones(2)}, "callbacks": value}, file)
    with pytest.raises(CheckpointError, match=rf"model\.ckpt: asks for {asked}.*--skip-objects"), opened(file):
        pass
    with opened(file, skip_objects=True) as checkpoint:
        assert isinstance(checkpoint.value["callbacks"], Foreign)
        assert torch.equal(checkpoint.tensor(checkpoint.value["state_dict"]["a"]), torch.ones(2))


def saved(tmp_path: Path, *, legacy: bool = False, name: str = "model.pt") -> tuple[Path, dict[str, Any]]:
    base = torch.arange(24.0).reshape(4, 6)
    value = {
        "plain": base.clone(),
        "half": base[:, :3].half(),
        "brain": base.bfloat16(),
        "turned": base.t(),
        "part": base[1:3, 2:4],
        "shared": base,
        "whole": torch.arange(5),
        "bytes": torch.tensor([1, 255], dtype=torch.uint8),
        "truth": torch.tensor([True, False]),
        "number": torch.tensor(3.5),
        "empty": torch.empty(0, 4),
        "parameter": torch.nn.Parameter(base * 2),
        "facts": {"epoch": 3, "name": "x", "rate": 1e-4, "list": [1, (2, None)], "raw": b"ab", "size": torch.Size([2])},
        "module": torch.nn.Linear(2, 3).state_dict(),
    }
    torch.save(value, tmp_path / name, _use_new_zipfile_serialization=not legacy)
    return tmp_path / name, value


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_and_containers_come_back_as_torch_reads_them(legacy: bool, tmp_path: Path) -> None:
    file, value = saved(tmp_path, legacy=legacy)
    with opened(file) as checkpoint:
        found = checkpoint.value
        assert list(found) == list(value)
        for name, tensor in value.items():
            if isinstance(tensor, torch.Tensor):
                read = checkpoint.tensor(found[name])
                assert read.dtype == tensor.dtype
                assert read.is_contiguous()
                assert torch.equal(read, tensor.detach())
        assert {**found["facts"], "size": (2,)} == {**value["facts"], "size": (2,)}
        assert isinstance(found["module"]["weight"], PickledTensor)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_cut_short_anywhere_is_refused(legacy: bool, tmp_path: Path) -> None:
    file, value = saved(tmp_path, legacy=legacy)
    data = file.read_bytes()
    for part in (0, 3, 10, len(data) // 4, len(data) // 2, len(data) - 40, len(data) - 1):
        file.write_bytes(data[:part])
        with pytest.raises(CheckpointError, match=r"model\.pt: "):
            read_all(file, value)


def read_all(file: Path, names: Iterable[str]) -> None:
    with opened(file) as checkpoint:
        for name in names:
            if isinstance(checkpoint.value[name], PickledTensor):
                checkpoint.tensor(checkpoint.value[name])


def test_damaged_bytes_raise_nothing_but_refusals(tmp_path: Path) -> None:
    file, _ = saved(tmp_path, legacy=True)
    data = file.read_bytes()
    source = torch.Generator().manual_seed(0)
    for place in torch.randint(0, min(len(data), 3000), (150,), generator=source).tolist():
        changed = bytearray(data)
        changed[place] ^= 0x55
        file.write_bytes(changed)
        try:
            with opened(file) as checkpoint:
                assert checkpoint.value is not None
        except CheckpointError:
            pass


def rewritten(file: Path, change: Callable[[str, bytes], tuple[str, bytes] | None], **options: Any) -> Path:
    """The same archive with every entry passed through `change`."""
    out = file.with_name("changed.pt")
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(out, "w", **options) as target:
        for name in source.namelist():
            entry = change(name, source.read(name))
            if entry is not None:
                target.writestr(*entry)
    return out


def refusal(file: Path) -> str:
    with pytest.raises(CheckpointError) as caught, opened(file) as checkpoint:
        checkpoint.tensor(checkpoint.value["plain"])
    return str(caught.value)


def test_archives_that_torch_never_writes_are_refused(tmp_path: Path) -> None:
    file, _ = saved(tmp_path)

    def leaving(name: str, data: bytes) -> tuple[str, bytes]:
        return ("../../evil.so" if name.endswith("data/0") else name, data)

    assert "leaves its archive" in refusal(rewritten(file, leaving))
    packed = rewritten(file, lambda name, data: (name, data + bytes(2**20)), compression=zipfile.ZIP_DEFLATED)
    assert "packed or locked" in refusal(packed)
    assert "data.pkl" in refusal(rewritten(file, lambda name, data: None if name.endswith(".pkl") else (name, data)))
    assert "lacks the numbers" in refusal(
        rewritten(file, lambda name, data: None if name.endswith("data/0") else (name, data))
    )
    assert "claims 96 bytes for a tensor but holds 4" in refusal(
        rewritten(file, lambda name, data: (name, data[:4] if name.endswith("data/0") else data))
    )
    assert "big-endian" in refusal(
        rewritten(file, lambda name, data: (name, b"big" if name.endswith("byteorder") else data))
    )
    scripted = file.with_name("changed.pt")
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(scripted, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
        target.writestr(f"{source.namelist()[0].split('/')[0]}/constants.pkl", b"x")
    assert "TorchScript" in refusal(scripted)


def test_sizes_that_are_only_claimed_are_refused(tmp_path: Path) -> None:
    huge = b"\x80\x02X" + struct.pack("<I", 2**31) + b"abc."
    with pytest.raises(PickleRefused):
        read_pickle(io.BytesIO(huge))
    with pytest.raises(PickleRefused, match="more than 16 MiB"):
        read_pickle(io.BytesIO(b"\x80\x02X" + struct.pack("<I", 2**25) + bytes(2**25) + b"."))
    nested = b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b"."
    read_pickle(io.BytesIO(nested))
    file = tmp_path / "old.pt"
    torch.save({"plain": torch.ones(4)}, file, _use_new_zipfile_serialization=False)
    data = file.read_bytes()
    file.write_bytes(data[:-24] + struct.pack("<q", 2**60) + data[-16:])
    assert "another size" in refusal(file)
    text = tmp_path / "words.pt"
    text.write_text("hello")
    assert "neither a zip archive nor a pickle" in refusal(text)
    assert "no such file" in refusal(tmp_path / "absent.pt")
