"""A disk that is full ends a run with one clear line; what was finished is kept, and nothing is half there."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import ExecutorError
from orchestrator.placement import Placement
from orchestrator.run import run
from tests.reading import media_of


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 160 KiB, where the tests may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("file systems can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_the_run_and_more_room_finishes_it(make_plan, small_disk: Path):
    plan = make_plan(prompts=24)
    whole = run(plan, Placement(), lambda event: None)
    plan = dataclasses.replace(plan, output=str(small_disk / "run"))
    with pytest.raises(ExecutorError, match=r"the disk is full: .* run the same command again"):
        run(plan, Placement(), lambda event: None)
    there, good = media_of(small_disk / "run"), media_of(whole.folder)
    assert 0 < len(there) < len(good)
    assert all(good[name] == data for name, data in there.items())
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    again = run(plan, Placement(), lambda event: None)
    assert again.resumed > 0
    assert media_of(again.folder) == good
    assert (again.folder / "manifest.jsonl").read_bytes() == (whole.folder / "manifest.jsonl").read_bytes()
