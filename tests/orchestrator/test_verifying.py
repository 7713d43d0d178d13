"""verify: a run folder that is as it should be, and every way in which it is not. reproduce: the same bytes again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.__main__ import main
from orchestrator.errors import RunRefused
from orchestrator.placement import Placement
from orchestrator.reproducing import Reproduction, reproduce
from orchestrator.run import run
from orchestrator.verifying import verify
from tests.reading import rows_of


def again(path: Path, *samples: str) -> Reproduction:
    return reproduce(path, samples, ("cpu",), 1, lambda event: None)


@pytest.fixture
def finished(make_plan) -> Path:
    """The folder of a run of two prompts and two cells: four pictures."""
    return run(make_plan(prompts=2), Placement(), lambda event: None).folder


def rewrite(folder: Path, change: Callable[[list[dict]], object]) -> None:
    rows = rows_of(folder)
    change(rows)
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_a_finished_run_is_true_until_something_in_it_changes(finished: Path, capsys: pytest.CaptureFixture[str]):
    found = verify(finished)
    assert (found.samples, found.failed, found.faults) == (4, 0, ())
    assert found.bytes == sum(row["bytes"] for row in rows_of(finished))
    assert main(["verify", str(finished)]) == 0
    assert "4 samples as the manifest says" in capsys.readouterr().out
    first, second, third, _ = (finished / row["file"] for row in rows_of(finished))
    names = [row["id"] for row in rows_of(finished)]
    data = bytearray(first.read_bytes())
    data[-1] ^= 1
    first.write_bytes(data)
    second.unlink()
    third.write_bytes(third.read_bytes() + b"x")
    (finished / "media" / "stranger.png").write_bytes(b"x")
    (finished / "media" / ".a.png.7.part").write_bytes(b"x")
    faults = verify(finished).faults
    assert len(faults) == 5
    for name, words in zip(
        names, ("as hash; the manifest says", "is missing", "bytes; the manifest says"), strict=False
    ):
        assert sum(f"sample `{name}`" in fault and words in fault for fault in faults) == 1, (name, words, faults)
    assert any("stranger.png: no row" in fault for fault in faults)
    assert any(".a.png.7.part: half-written" in fault for fault in faults)
    assert main(["verify", str(finished)]) == 1
    captured = capsys.readouterr()
    assert "5 faults" in captured.out
    assert f"sample `{names[1]}` of step `files`: media/" in captured.err


def test_a_manifest_that_says_something_else_is_found_out(finished: Path):
    names = [row["id"] for row in rows_of(finished)]
    rewrite(finished, lambda rows: rows[0].update(seed=1))
    assert verify(finished).faults == (
        f"sample `{names[0]}` of step `files`: its row says another seed than plan.json",
    )
    rewrite(finished, lambda rows: rows.pop(0))
    faults = verify(finished).faults
    assert faults[0] == f"sample `{names[0]}` of step `files`: neither made nor a dead letter"
    assert "no row of the manifest names it" in faults[1]
    rewrite(finished, lambda rows: rows[0].update(file="../x.png"))
    assert any("no place below media/" in fault for fault in verify(finished).faults)
    (finished / "journal.jsonl").touch()
    assert verify(finished).faults[0].startswith("journal.jsonl: the run has not ended")
    document = json.loads((finished / "fingerprint.json").read_text())
    document["identity"]["seed"] += 1
    (finished / "fingerprint.json").write_text(json.dumps(document))
    assert verify(finished).faults[0] == "fingerprint.json: is not that of plan.json"


def test_what_is_no_run_is_refused(tmp_path: Path, finished: Path):
    with pytest.raises(RunRefused, match="holds no run"):
        verify(tmp_path)
    with pytest.raises(RunRefused, match="neither a run folder nor a file in one"):
        again(tmp_path / "x.png")
    with pytest.raises(RunRefused, match="unknown sample `p9`"):
        again(finished, "p9")
    with pytest.raises(RunRefused, match=r"media/none.png is no file of the run"):
        again(finished / "media" / "none.png")
    assert main(["verify", str(tmp_path)]) == 2


def test_samples_are_made_again_to_the_byte(finished: Path, capsys: pytest.CaptureFixture[str]):
    rows = rows_of(finished)
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    found = again(finished, rows[3]["id"])
    assert [(each.file, each.is_equal) for each in found.comparisons] == [(rows[3]["file"], True)]
    assert found.notes == ()
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before, "the folder is left alone"
    rewrite(finished, lambda rows: rows[1].update(sha256="0" * 64))
    assert main(["reproduce", str(finished / rows[1]["file"]), "--devices", "cpu"]) == 1
    assert f"{rows[1]['file']}: differs; {'0' * 64} before, {rows[1]['sha256']} now" in capsys.readouterr().out
    assert main(["reproduce", str(finished), "--devices", "cpu"]) == 0
    assert capsys.readouterr().out == f"{rows[0]['file']}: equal, {rows[0]['sha256']}\n"


def test_other_weights_are_refused_and_other_packages_named(make_plan, tiny_model: Path, tmp_path: Path):
    model = shutil.copytree(tiny_model, tmp_path / "own")
    folder = run(make_plan(prompts=1, model=model), Placement(), lambda event: None).folder
    document = json.loads((folder / "fingerprint.json").read_text())
    document["identity"]["packages"]["numpy"] = "0.1"
    (folder / "fingerprint.json").write_text(json.dumps(document))
    found = again(folder)
    assert [note.split(":")[0] for note in found.notes] == ["packages.numpy"]
    assert all(each.is_equal for each in found.comparisons)
    (model / "codec.safetensors").write_bytes((model / "codec.safetensors").read_bytes() + b"\0")
    with pytest.raises(RunRefused, match=r"models\.image\.weights_hash"):
        again(folder)
