"""A stage that fails on purpose, to see what becomes of the others. `install` makes it known in a Ray worker too."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace

from modalities.catalog import Entry
from orchestrator.catalog import STAGES
from orchestrator.errors import ExecutorError, StageError
from orchestrator.item import Item
from orchestrator.plan import Plan, Pool, Step
from orchestrator.stages.base import Outcome, Stage


class Fragile(Stage):
    """Hands media on. options: what to do when a prompt has the word: `raise`, `answer`, `crash` or `give_up`."""

    reads = frozenset({"media"})
    writes = frozenset({"media"})

    def setup(self) -> None:
        self.seen: list[list[str]] = []

    def process(self, items: Sequence[Item]) -> list[Outcome]:
        time.sleep(float(self.options.get("seconds", 0)))
        word, then = str(self.options["word"]), self.options["then"]
        hit = [item for item in items if word in item.sample.prompt]
        if hit and then == "raise":
            raise ArithmeticError(f"cannot look at a {word}")
        if hit and then == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if hit and then == "give_up":
            raise ExecutorError("nothing works any more")
        return [
            StageError(item.sample.step, item.sample.id, f"a {word} again") if item in hit else item for item in items
        ]


def install() -> None:
    STAGES["fragile"] = Entry("tests.orchestrator.fragile:Fragile", "fails on purpose")


def with_fragile(plan: Plan, word: str, then: str, **options: object) -> Plan:
    """The plan with a fragile step, in a pool of its own, between `pixels` and `files`."""
    pixels, files = plan.step("pixels"), plan.step("files")
    fragile = Step(
        name="look",
        stage="fragile",
        options={"word": word, "then": then, **options},
        reads={"media": "pixels"},
        axes=pixels.axes,
        repetitions=pixels.repetitions,
        batch_size=3,
        pool="fragile",
    )
    steps = [step for step in plan.steps if step.name != "files"]
    pools = {**plan.pools, "fragile": Pool(name="fragile", workers=1, devices=0, memory_bytes=0)}
    return replace(plan, steps=(*steps, fragile, replace(files, reads={"media": "look"})), pools=pools)
