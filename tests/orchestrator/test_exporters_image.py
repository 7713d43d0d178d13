"""Image files: what is written inside can be read back, equal input gives equal bytes, bad input is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from orchestrator.catalog import EXPORTERS, resolve
from orchestrator.exporters.image import read_facts

FACTS = {
    "id": "p0-guidance=4",
    "prompt": '红苹果 🍎 on bleu é — "quoted" <b> العربية\nsecond line',
    "seed": 2**62 + 1,
    "model_hash": "ab" * 32,
    "workflow": "name: x\nprompts: [🍎]\n",
}
IMAGE_FORMATS = [name for name, entry in EXPORTERS.items() if entry.facts["modality"] == "image"]


def picture(height: int = 24, width: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 3, 2, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0]
    return (smooth * 255).to(torch.uint8)


@pytest.mark.parametrize("name", IMAGE_FORMATS)
def test_a_file_holds_the_picture_and_what_made_it(name: str, tmp_path: Path):
    path = tmp_path / "aside.part"
    resolve(EXPORTERS, name)(picture(), path, FACTS)
    assert read_facts(path) == FACTS
    with Image.open(path) as found:
        assert found.size == (16, 24)
        pixels = torch.frombuffer(bytearray(found.convert("RGB").tobytes()), dtype=torch.uint8).reshape(24, 16, 3)
    error = (pixels.permute(2, 0, 1).int() - picture().int()).abs().float().mean()
    assert error == 0 if name == "png" else error < 6


def test_equal_input_gives_equal_bytes_in_any_process(tmp_path: Path):
    write_all(tmp_path / "here")
    code = "import sys; from tests.orchestrator.test_exporters_image import write_all; write_all(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "there")], check=True, cwd=Path(__file__).parents[2])
    for name in IMAGE_FORMATS:
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def write_all(folder: Path | str) -> None:
    """The test picture in every format."""
    Path(folder).mkdir()
    for name in IMAGE_FORMATS:
        resolve(EXPORTERS, name)(picture(), Path(folder) / name, FACTS)


def test_what_exif_cannot_hold_leaves_the_workflow_out_and_says_so(tmp_path: Path):
    long = {**FACTS, "workflow": "x" * 70_000}
    path = tmp_path / "x.jpg"
    resolve(EXPORTERS, "jpeg")(picture(), path, long)
    assert "workflow.yaml" in read_facts(path)["workflow"]
    resolve(EXPORTERS, "png")(picture(), tmp_path / "x.png", long)
    assert read_facts(tmp_path / "x.png") == long
    with pytest.raises(ValueError, match="too long for Exif"):
        resolve(EXPORTERS, "jpeg")(picture(), path, {**FACTS, "prompt": "y" * 70_000})


@pytest.mark.parametrize("media", [torch.zeros(3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8)])
def test_what_is_no_picture_is_refused(media: torch.Tensor, tmp_path: Path):
    with pytest.raises(ValueError, match="an image is"):
        resolve(EXPORTERS, "png")(media, tmp_path / "x.png", FACTS)


def test_a_foreign_picture_holds_no_facts(tmp_path: Path):
    for name in ("x.png", "x.jpg"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
        with pytest.raises(ValueError, match="no facts"):
            read_facts(tmp_path / name)
