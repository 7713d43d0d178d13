"""What Ctrl-C does to a run: once, it ends after the batches that run now; twice, at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

INTERRUPTED = 130
_KEPT = "what is finished is kept, and the same command resumes the run"


def interruptible(work: Callable[[], int]) -> int:
    """Do work that can be resumed; answers its exit status, or 130 when it was interrupted."""
    with _second_interrupt_ends_at_once():
        try:
            return work()
        except KeyboardInterrupt:
            print(f"interrupted; {_KEPT}", file=sys.stderr, flush=True)
            return INTERRUPTED


@contextlib.contextmanager
def _second_interrupt_ends_at_once() -> Iterator[None]:
    """A network evaluation cannot be broken off, so the first interrupt may take as long as a batch.

    The second one leaves without waiting. That is safe at any moment: run folders survive a killed process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal seen
        if seen:
            os.write(2, f"\nstopped at once; {_KEPT}\n".encode())
            os._exit(INTERRUPTED)
        seen = True
        os.write(2, b"\nending after the batches that run now; press Ctrl-C again to stop at once\n")
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
