"""What a run shows while it goes on, in all four styles, with a clock of its own."""

from __future__ import annotations

import io
import json

import pytest

from orchestrator.executors.base import Event
from orchestrator.progress import Count, Progress, describe, shown_seconds, watching

EVENTS = [
    Event(kind="expected", step="small", samples=4),
    Event(kind="ready", step="model:image", seconds=1.5),
    Event(kind="batch", step="small", samples=2, seconds=0.5),
    Event(kind="note", step="", text="a word is unknown"),
    Event(kind="note", step="", text="a word is unknown"),
    Event(kind="retry", step="small", text="once more"),
    Event(kind="batch", step="small", samples=2, failed=1, seconds=0.5),
]


class Ticks:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_counts_rates_and_the_time_left(planned):
    clock = Ticks()
    progress = Progress.of(planned(), clock)
    assert progress.counts["small"].total == 2
    progress.see(Event(kind="expected", step="small", samples=10))
    clock.now = 102.0
    progress.see(Event(kind="batch", step="small", samples=4, seconds=1.0))
    count = progress.counts["small"]
    assert count.rate() == 4.0
    clock.now = 104.0
    progress.see(Event(kind="batch", step="small", samples=2, failed=1, seconds=2.0))
    assert (count.done, count.failed, count.busy) == (6, 1, 3.0)
    assert count.rate() == 2.0
    assert count.seconds_left() == 2.0
    assert describe(count) == "6/10, 2 a second, 2.0 s left, 1 failed"
    progress.see(Event(kind="batch", step="unheard of", samples=2))


def test_a_step_that_has_not_begun_has_no_rate():
    count = Count(5)
    assert (count.rate(), count.seconds_left()) == (0.0, None)
    assert describe(count) == "0/5"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (12.3, "12 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s")],
)
def test_times_are_said_as_people_say_them(seconds, text):
    assert shown_seconds(seconds) == text


def shown(plan, style: str) -> str:
    stream = io.StringIO()
    with watching(plan, style, stream) as (progress, observer):
        for event in EVENTS:
            observer(event)
    assert progress.counts["small"].done == 4
    assert progress.notes == ["a word is unknown"]
    return stream.getvalue()


def test_quiet_shows_nothing_and_counts(planned):
    assert shown(planned(), "quiet") == ""


def test_lines_for_logs(planned):
    lines = shown(planned(), "lines").splitlines()
    assert lines[0] == "model:image: ready after 1.5 s"
    assert lines[1].startswith("small: 2/4")
    assert "small: once more" in lines
    assert lines[-1].startswith("small: 4/4")
    assert lines[-1].endswith("1 failed")


def test_json_lines_for_programs(planned):
    values = [json.loads(line) for line in shown(planned(), "json").splitlines()]
    assert len(values) == len(EVENTS)
    assert values[2] == {"kind": "batch", "step": "small", "samples": 2, "seconds": 0.5}


def test_the_live_table_names_every_step(planned):
    text = shown(planned(), "table")
    for part in ("text", "small", "pixels", "files", "4/4 (1 failed)", "once more"):
        assert part in text
