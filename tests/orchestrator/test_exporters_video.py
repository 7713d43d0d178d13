"""Video files: they decode again to the same frames at the same rate, and say what made them."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from orchestrator.catalog import EXPORTERS, resolve
from orchestrator.exporters import image
from orchestrator.exporters.video import read_facts

FACTS = {
    "id": "p0",
    "prompt": '红色的车 🚗 qui va à gauche — "quoted" <b> العربية\nsecond line',
    "seed": 2**62 + 1,
    "workflow": "name: x\nprompts: [🚗]\n",
}
TOLD = {"rate": 8.0, "modality": "video", "options": {}}
STREAMS, ANIMATIONS, STILLS = ["mp4", "webm"], ["gif", "animated-webp"], ["poster", "contact-sheet"]
VIDEO_FORMATS = [name for name, entry in EXPORTERS.items() if "video" in str(entry.facts["modality"]).split()]


def clip(frames: int = 12, height: int = 32, width: int = 48) -> torch.Tensor:
    """A disc that moves to the right over a ramp."""
    row = torch.arange(height).view(1, -1, 1)
    column = torch.arange(width).view(1, 1, -1)
    middle = torch.linspace(10, width - 10, frames).view(-1, 1, 1)
    disc = torch.sigmoid(8 - ((row - height / 2) ** 2 + (column - middle) ** 2) ** 0.5)
    ramp = (column / width).expand(frames, height, width)
    return torch.stack([60 + 180 * disc, 20 + 120 * ramp + 90 * disc, 200 - 120 * disc]).to(torch.uint8)


def write(name: str, media: torch.Tensor, path: Path, **facts: object) -> None:
    resolve(EXPORTERS, name)(media, path, {**FACTS, **TOLD, **facts})


def read(path: Path) -> tuple[torch.Tensor, float]:
    """Frames `[3, frames, height, width]` and seconds of a file."""
    if path.read_bytes()[:4] in (b"GIF8", b"RIFF"):
        with Image.open(path) as animation:
            seconds, frames = 0.0, []
            for i in range(animation.n_frames):
                animation.seek(i)
                frames.append(np.asarray(animation.convert("RGB")))
                seconds += animation.info["duration"] / 1000
    else:
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            seconds = container.duration / 1e6
    return torch.from_numpy(np.stack(frames)).permute(3, 0, 1, 2), seconds


def psnr(first: torch.Tensor, second: torch.Tensor) -> float:
    error = (first.float() - second.float()).square().mean() / 255**2
    return float(-10 * error.clamp_min(1e-10).log10())


@pytest.mark.parametrize("name", [*STREAMS, *ANIMATIONS])
def test_a_file_decodes_to_the_same_clip_and_says_what_made_it(name: str, tmp_path: Path):
    write(name, clip(), tmp_path / "aside.part")
    frames, seconds = read(tmp_path / "aside.part")
    assert frames.shape == clip().shape
    assert seconds == pytest.approx(1.5, abs=0.011)
    assert psnr(frames, clip()) > 30
    assert read_facts(tmp_path / "aside.part") == FACTS


@pytest.mark.parametrize("name", VIDEO_FORMATS)
@pytest.mark.parametrize(("frames", "height", "width"), [(1, 16, 16), (3, 17, 23), (2, 1, 1)])
def test_one_frame_and_odd_sizes_are_written(name: str, frames: int, height: int, width: int, tmp_path: Path):
    media, path = clip(frames, height, width), tmp_path / "out"
    write(name, media, path)
    even = (3, frames, height + height % 2, width + width % 2)
    if name in STREAMS:
        found, _ = read(path)
        assert found.shape == even
        assert psnr(found[:, :, :height, :width], media) > 16
    elif name in ANIMATIONS:
        assert read(path)[0].shape[2:] == media.shape[2:]


def test_an_mp4_plays_while_it_loads_and_holds_no_times(tmp_path: Path):
    write("mp4", clip(), tmp_path / "a.mp4")
    data = (tmp_path / "a.mp4").read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.average_rate, stream.frames) == (8, 12)
        assert "creation_time" not in {**container.metadata, **stream.metadata}


@pytest.mark.parametrize("name", [*STREAMS, "animated-webp"])
def test_more_quality_makes_larger_files(name: str, tmp_path: Path):
    for quality in (20, 90):
        write(name, clip(), tmp_path / str(quality), options={"quality": quality})
    assert (tmp_path / "20").stat().st_size < (tmp_path / "90").stat().st_size


def test_an_animated_webp_of_quality_100_loses_nothing(tmp_path: Path):
    write("animated-webp", clip(), tmp_path / "a.webp", options={"quality": 100})
    assert torch.equal(read(tmp_path / "a.webp")[0], clip())


def test_frames_poster_and_sheet_show_the_clip_without_loss(tmp_path: Path):
    media = clip(5, 8, 12)
    write("frames", media, tmp_path / "frames")
    names = sorted(path.name for path in (tmp_path / "frames").iterdir())
    assert names == [f"{i:04d}.png" for i in range(5)]
    for i, name in enumerate(names):
        assert torch.equal(pixels(tmp_path / "frames" / name), media[:, i])
    write("poster", media, tmp_path / "poster.png")
    assert torch.equal(pixels(tmp_path / "poster.png"), media[:, 2])
    assert image.read_facts(tmp_path / "poster.png") == FACTS
    write("contact-sheet", media, tmp_path / "sheet.png")
    sheet = pixels(tmp_path / "sheet.png")
    assert sheet.shape == (3, 16, 36)
    assert torch.equal(sheet[:, 8:, 12:24], media[:, 4])
    assert bool((sheet[:, 8:, 24:] == 255).all())


def pixels(path: Path) -> torch.Tensor:
    with Image.open(path) as picture:
        return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)


def test_views_without_a_rate_are_shown_four_a_second(tmp_path: Path):
    write("mp4", clip(4), tmp_path / "views.mp4", rate=0, modality="multi-view")
    assert read(tmp_path / "views.mp4")[1] == pytest.approx(1.0)


@pytest.mark.parametrize("name", VIDEO_FORMATS)
def test_what_is_no_video_is_refused(name: str, tmp_path: Path):
    for media in (clip()[:, :0], clip()[0], clip().float(), clip()[:1]):
        with pytest.raises(ValueError, match=r"a video is \[3, frames, height, width\] in uint8"):
            write(name, media, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_equal_input_gives_equal_bytes_in_any_process(tmp_path: Path):
    write_all(tmp_path / "here")
    code = "import sys; from tests.orchestrator.test_exporters_video import write_all; write_all(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "there")], check=True, cwd=Path(__file__).parents[2])
    files = [path for path in (tmp_path / "here").rglob("*") if path.is_file()]
    assert len(files) == len(VIDEO_FORMATS) - 1 + 12
    for path in files:
        assert path.read_bytes() == (tmp_path / "there" / path.relative_to(tmp_path / "here")).read_bytes()


def write_all(folder: str | Path) -> None:
    Path(folder).mkdir()
    for name in VIDEO_FORMATS:
        write(name, clip(), Path(folder) / name)


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file sizes are of POSIX systems")
def test_a_disk_that_is_full_is_an_os_error(tmp_path: Path):
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from tests.orchestrator.test_exporters_video import VIDEO_FORMATS, clip, write\n"
        "media, refused = clip(24, 96, 96), []\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))\n"
        "for name in VIDEO_FORMATS:\n"
        "    try:\n"
        "        write(name, media, Path(sys.argv[1]) / name)\n"
        "    except OSError:\n"
        "        refused.append(name)\n"
        "sys.exit(0 if refused == VIDEO_FORMATS else 3)\n"
    )
    arguments = [sys.executable, "-B", "-c", code, str(tmp_path)]
    assert subprocess.run(arguments, cwd=Path(__file__).parents[2], check=False).returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="needs the C library of Linux to fill new memory")
@pytest.mark.parametrize("name", STREAMS)
def test_what_memory_held_before_changes_no_byte(name: str, tmp_path: Path):
    """New memory is filled with other values each time; an encoder that reads it before writing is found out."""
    library, perturb = ctypes.CDLL(None), -6
    source = torch.Generator().manual_seed(0)
    patches = torch.rand(13, 3, 8, 8, generator=source)
    patches = torch.nn.functional.interpolate(patches, size=(64, 64), mode="bilinear")
    media = ((0.7 * patches[:1] + 0.3 * patches[1:]) * 255).to(torch.uint8).transpose(0, 1).contiguous()
    try:
        found = set()
        for value in (1, 85, 128, 200, 255):
            library.mallopt(perturb, value)
            write(name, media.clone(), tmp_path / "clip")
            found.add((tmp_path / "clip").read_bytes())
    finally:
        library.mallopt(perturb, 0)
    assert len(found) == 1
