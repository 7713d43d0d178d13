"""Results in parts: the newest of each in one file, whose name has the date of the last."""

from __future__ import annotations

import json
from pathlib import Path

import dated_parts
import pytest
from dated_parts import dates, newest, write_part


def test_a_part_of_today_stands_beside_parts_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dated_parts, "RESULTS", tmp_path)
    old = {"parts": {"first": {"date": "2020-01-02", "rows": [1]}, "second": {"date": "2020-01-02", "rows": [2]}}}
    (tmp_path / "some-2020-01-02.json").write_text(json.dumps(old), encoding="utf-8")
    (tmp_path / "some-other-2024-01-02.json").write_text("{}", encoding="utf-8")
    path = write_part("some", "second", {"rows": [3]})
    assert newest("some") == path
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([path.name, "some-other-2024-01-02.json"])
    parts = json.loads(path.read_text(encoding="utf-8"))["parts"]
    assert parts["first"] == old["parts"]["first"]
    assert parts["second"]["rows"] == [3]
    assert parts["second"]["machine"]["cores"]
    assert dates(parts) == f"2020-01-02 to {path.stem[-10:]}"


def test_the_first_part_makes_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dated_parts, "RESULTS", tmp_path)
    assert newest("some") is None
    path = write_part("some", "first", {})
    assert dates(json.loads(path.read_text(encoding="utf-8"))["parts"]) == path.stem[-10:]
