"""Lets torchaudio be imported beside a torch that its native library was not built for.

torchaudio 2.11 loads a library that is linked against CUDA and raises OSError on CPU builds of torch, or RuntimeError
when the CUDA versions differ. Its transforms need none of it. Worse, transformers imports torchaudio whenever it is
installed, so the failure would reach every text encoder. `install` puts a finder in front that answers for
`torchaudio._extension` alone: the real module runs first, and only when it fails do the values of "no native
extension" take its place. Nothing is imported until torchaudio is wanted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, NoReturn

EXTENSION = "torchaudio._extension"


def install() -> None:
    """Put the finder in front of all others; a second call does nothing. `import modalities` calls it."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != EXTENSION:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    def __init__(self, real: Loader) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        try:
            self._real.exec_module(module)
        except (OSError, RuntimeError) as error:
            _set_absent(module, error)


def _set_absent(module: ModuleType, error: Exception) -> None:
    """Give the module what it holds where torchaudio comes without its native library, and the reason."""

    def fail_if_no_align(function: Callable[..., Any]) -> Callable[..., Any]:
        def fail(*_: Any, **__: Any) -> NoReturn:
            raise RuntimeError(
                f"torchaudio's {function.__name__} needs its native library, which did not load: {error}"
            )

        return fail

    values = {
        "_IS_TORCHAUDIO_EXT_AVAILABLE": False,
        "_IS_ALIGN_AVAILABLE": False,
        "_check_cuda_version": lambda: None,
        "fail_if_no_align": fail_if_no_align,
        "load_error": error,
    }
    for name, value in values.items():
        setattr(module, name, value)
