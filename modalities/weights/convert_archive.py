"""The files that `torch.save` writes, zip archives and those of before 2020, opened without running anything in them.

Tensors are read one by one, when asked for, so a checkpoint larger than memory can be converted. Every claim of a file
(sizes, offsets, names, compression) is checked against the bytes that are there before anything is read or allocated.
"""

from __future__ import annotations

import io
import os
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

import torch
from torch import Tensor

from modalities.contracts import CheckpointError
from modalities.weights.convert_pickle import LARGEST_PICKLE, read_pickle
from modalities.weights.convert_values import ITEM_BYTES, PickledTensor, PickleRefused, Storage

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
MOST_ENTRIES = 200_000


class PickledCheckpoint:
    """An open checkpoint: `value` is what was saved, with a `PickledTensor` wherever a tensor stands."""

    def __init__(self, path: Path, file: IO[bytes], *, skip_objects: bool = False) -> None:
        """Read everything but the numbers. PickleRefused says why a file is not read."""
        self.path = path
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._places: dict[str, tuple[int, int]] = {}
        self._archive: zipfile.ZipFile | None = None
        self._entries: dict[str, zipfile.ZipInfo] = {}
        start = file.read(4)
        file.seek(0)
        if start == b"PK\x03\x04":
            self.value = self._from_zip(skip_objects)
        elif start[:1] == b"\x80":
            self.value = self._from_legacy(skip_objects)
        else:
            raise PickleRefused("is no file of torch.save, neither a zip archive nor a pickle")

    def tensor(self, found: PickledTensor) -> Tensor:
        """The numbers of a tensor, on the CPU, contiguous and with memory of its own."""
        data = self._storage(found.storage)
        dtype = getattr(torch, found.storage.dtype)
        if not data:
            return torch.empty(found.shape, dtype=dtype)
        flat = torch.frombuffer(data, dtype=dtype)
        view = torch.as_strided(flat, found.shape, found.strides, found.offset)
        return view.clone(memory_format=torch.contiguous_format)

    def _storage(self, storage: Storage) -> bytearray:
        wanted = storage.length * ITEM_BYTES[storage.dtype]
        if self._archive is not None:
            entry = self._entries.get(storage.key)
            if entry is None:
                raise PickleRefused(f"lacks the numbers of a tensor (`{storage.key}`)")
            if entry.file_size != wanted:
                raise PickleRefused(f"claims {wanted} bytes for a tensor but holds {entry.file_size}")
            return bytearray(self._entry(entry))
        if storage.key not in self._places:
            raise PickleRefused(f"lacks the numbers of a tensor (`{storage.key}`)")
        offset, length = self._places[storage.key]
        if length * ITEM_BYTES[storage.dtype] != wanted or offset + wanted > self._size:
            raise PickleRefused(f"claims {wanted} bytes for a tensor but holds {max(0, self._size - offset)}")
        self._file.seek(offset)
        return bytearray(self._file.read(wanted))

    def _entry(self, entry: zipfile.ZipInfo) -> bytes:
        assert self._archive is not None
        try:
            return self._archive.read(entry)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise PickleRefused(f"holds a damaged archive ({error})") from None

    def _from_zip(self, skip_objects: bool) -> Any:
        try:
            self._archive = zipfile.ZipFile(self._file)
        except (zipfile.BadZipFile, struct.error, NotImplementedError, ValueError) as error:
            raise PickleRefused(f"is cut short or no zip archive ({error})") from None
        entries = self._checked_entries(self._archive)
        pickles = [name for name in entries if PurePosixPath(name).name == "data.pkl"]
        if len(pickles) != 1:
            raise PickleRefused("is a zip archive, but not one of torch.save (no single data.pkl in it)")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}constants.pkl" in entries:
            raise PickleRefused("holds a TorchScript program, not weights")
        if f"{root}byteorder" in entries and self._entry(entries[f"{root}byteorder"])[:16] != b"little":
            raise PickleRefused("holds big-endian numbers")
        prefix = f"{root}data/"
        self._entries = {n.removeprefix(prefix): entry for n, entry in entries.items() if n.startswith(prefix)}
        if entries[pickles[0]].file_size > LARGEST_PICKLE:
            raise PickleRefused(f"holds a pickle of more than {LARGEST_PICKLE // 2**20} MiB")
        return read_pickle(io.BytesIO(self._entry(entries[pickles[0]])), skip_objects=skip_objects)

    def _checked_entries(self, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
        """Entries by name; refused when they leave the archive, are packed, doubled, or larger than the file."""
        found: dict[str, zipfile.ZipInfo] = {}
        infos = archive.infolist()
        if len(infos) > MOST_ENTRIES:
            raise PickleRefused(f"is an archive of {len(infos)} entries; expected at most {MOST_ENTRIES}")
        for info in infos:
            name = info.filename
            if name.startswith("/") or "\\" in name or ":" in name or ".." in PurePosixPath(name).parts:
                raise PickleRefused(f"holds an entry that leaves its archive: {name[:100]!r}")
            if name in found:
                raise PickleRefused(f"holds two entries of one name: {name[:100]!r}")
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.file_size != info.compress_size:
                raise PickleRefused(f"holds a packed or locked entry ({name[:100]!r}), which torch.save never writes")
            found[name] = info
        if sum(info.file_size for info in infos) > self._size:
            raise PickleRefused(f"claims more bytes than the {self._size} that the file has")
        return found

    def _from_legacy(self, skip_objects: bool) -> Any:
        """Magic number, protocol, facts of the machine, the value, the keys of its storages, and their numbers."""
        file = self._file
        if read_pickle(file) != LEGACY_MAGIC or read_pickle(file) != LEGACY_PROTOCOL:
            raise PickleRefused("is a pickle, but not one of torch.save")
        machine = read_pickle(file)
        if not isinstance(machine, dict) or machine.get("little_endian") is not True or sys.byteorder != "little":
            raise PickleRefused("holds big-endian numbers")
        value = read_pickle(file, skip_objects=skip_objects)
        keys = read_pickle(file)
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise PickleRefused("has a damaged list of storages")
        sizes = _storage_bytes(value)
        for key in keys:
            head = file.read(8)
            (length,) = struct.unpack("<q", head) if len(head) == 8 else (-1,)
            if length < 0:
                raise PickleRefused("is cut short")
            self._places[key] = (file.tell(), length)
            if key not in sizes or sizes[key][1] != length:
                raise PickleRefused(f"has a storage (`{key}`) of another size than its tensors say")
            end = file.tell() + length * ITEM_BYTES[sizes[key][0]]
            if end > self._size:
                raise PickleRefused(f"is cut short: {self._size} bytes of at least {end}")
            file.seek(end)
        return value


def _storage_bytes(value: Any) -> dict[str, tuple[str, int]]:
    """Type and length of every storage that the tensors of a value lie in, found without recursion."""
    found: dict[str, tuple[str, int]] = {}
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, PickledTensor):
            found[each.storage.key] = (each.storage.dtype, each.storage.length)
        elif isinstance(each, dict | list | tuple) and id(each) not in seen:
            seen.add(id(each))
            waiting.extend(each.values() if isinstance(each, dict) else each)
    return found


@contextmanager
def opened(path: Path, *, skip_objects: bool = False) -> Iterator[PickledCheckpoint]:
    """A checkpoint file, open for as long as its tensors are read; CheckpointError names the file and what is wrong."""
    try:
        with path.open("rb") as file:
            yield PickledCheckpoint(path, file, skip_objects=skip_objects)
    except PickleRefused as error:
        raise CheckpointError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise CheckpointError(f"{path}: a folder; name the file") from None
