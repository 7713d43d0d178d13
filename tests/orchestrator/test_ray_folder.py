"""A machine that does not see the run folder says so, instead of writing files where nobody looks."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import ExecutorError
from orchestrator.executors.base import Setting
from orchestrator.executors.ray.actors import check_folder
from orchestrator.folder import locked


def test_a_folder_is_known_by_the_token_of_its_lock(tmp_path: Path):
    with locked(tmp_path / "run") as token:
        check_folder(Setting(folder=tmp_path / "run", token=token))
        with pytest.raises(ExecutorError, match=r"does not see the run folder .* shares"):
            check_folder(Setting(folder=tmp_path / "run", token="of another folder of the same name"))
    with pytest.raises(ExecutorError, match="does not see the run folder"):
        check_folder(Setting(folder=tmp_path / "elsewhere", token=token))
