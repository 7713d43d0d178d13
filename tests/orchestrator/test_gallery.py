"""The gallery: one file, offline, safe with any prompt, usable with thousands of samples."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import torch
from PIL import Image

from orchestrator.catalog import EXPORTERS, resolve
from orchestrator.gallery import Exported, write_gallery
from orchestrator.previews import Previews, read_ply, read_xyz

NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(2)> & \u2028 <!-- ]]>"


EXPORTS = {
    "files": Exported("image", "pixels", ("guidance",)),
    "videos": Exported("video", "frames", ()),
    "sounds": Exported("audio", "wave", ()),
    "spectra": Exported("audio", "wave", ()),
    "clouds": Exported("point-cloud", "points", ()),
    "turns": Exported("point-cloud", "points", ()),
}

IMAGES = {"files": EXPORTS["files"]}


def row(number: int, prompt: str = "a star", **more: object) -> dict[str, object]:
    return {
        "id": f"p{number}",
        "prompt": prompt,
        "prompt_id": f"p{number}",
        "repetition": 0,
        "step": "files",
        "cell": {"guidance": 4},
        "size": [16, 16],
        "sampler": {"name": "midpoint", "rtol": None},
        "guidance": {"scale": 4.0, "interval": [0.0, 1.0], "channels": None},
        "seed": 5,
        "model": "image",
        "file": f"media/p{number}.png",
        **more,
    }


def data_of(page: str) -> dict[str, list[dict[str, object]]]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


class Reader(HTMLParser):
    """Collects what a browser would act on."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href") and value]


def test_nothing_in_a_prompt_becomes_markup(tmp_path: Path):
    letters = [{"id": "p9", "prompt": NASTY, "error": NASTY}]
    page = write_gallery(tmp_path, NASTY, IMAGES, [row(0, NASTY)], letters).read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(page)
    assert reader.tags.count("script") == 2
    assert reader.tags.count("img") == 0
    assert reader.addresses == []
    assert data_of(page)["cards"][0]["prompt"] == NASTY
    assert data_of(page)["failed"][0]["error"] == NASTY


def test_the_page_asks_the_network_for_nothing(tmp_path: Path):
    page = write_gallery(tmp_path, "t", IMAGES, [row(0)], []).read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert not re.search(r"https?://|@import|url\(", page)


def test_facts_are_written_as_people_write_them(tmp_path: Path):
    card = data_of(write_gallery(tmp_path, "t", IMAGES, [row(0, cell={})], []).read_text(encoding="utf-8"))["cards"][0]
    assert card["facts"]["size"] == "16 × 16"
    assert card["facts"]["sampler"] == "midpoint"
    assert card["facts"]["guidance"] == "4"


def test_pictures_are_embedded_up_to_a_number_and_then_read_from_media(tmp_path: Path):
    (tmp_path / "media").mkdir()
    for number in range(3):
        Image.new("RGB", (400, 200), (number, 0, 0)).save(tmp_path / "media" / f"p{number}.png")
    page = write_gallery(tmp_path, "t", IMAGES, [row(number) for number in range(10_000)], [])
    cards = data_of(page.read_text(encoding="utf-8"))["cards"]
    assert len(cards) == 10_000
    assert [bool(card["small"]) for card in cards[:4]] == [True, True, True, False]
    assert cards[9_999]["small"] == ""
    assert page.stat().st_size < 4_000_000


def write_media(folder: Path) -> list[dict[str, object]]:
    """A prompt in all media, written by the exporters; answers the rows of their manifest."""
    (folder / "media").mkdir()
    source = torch.Generator().manual_seed(0)
    cloud = torch.rand(6, 300, generator=source) * 2 - 1
    frames = (torch.rand(3, 4, 16, 16, generator=source) * 255).to(torch.uint8)
    wave = torch.sin(torch.arange(4096) / 9)[None] / 2
    made = [
        ("files", "png", frames[:, 0], [16, 16]),
        ("videos", "mp4", frames, [4, 16, 16]),
        ("sounds", "wav", wave, [4096]),
        ("spectra", "spectrogram", wave, [4096]),
        ("clouds", "ply", cloud, [300]),
        ("turns", "turntable", cloud, [300]),
    ]
    rows = []
    for step, name, media, size in made:
        file = f"media/{step}-p0{EXPORTERS[name].facts['suffix']}"
        facts = {
            "prompt": "a star",
            "modality": EXPORTS[step].modality,
            "rate": {"audio": 16_000, "video": 8}.get(EXPORTS[step].modality, 0),
        }
        options = {"frames": 2, "seconds": 1} if name == "turntable" else {}
        resolve(EXPORTERS, name)(media, folder / file, {**facts, "workflow": "", "options": options})
        rows.append(row(0, step=step, cell={}, size=size, file=file))
    return rows


def test_what_one_prompt_gave_stands_together(tmp_path: Path):
    rows = write_media(tmp_path)
    other = [{**each, "prompt_id": "p1", "prompt": NASTY} for each in rows]
    order = [each for pair in zip(rows, other, strict=True) for each in pair]
    data = data_of(write_gallery(tmp_path, "t", EXPORTS, order, []).read_text(encoding="utf-8"))
    assert data["grouped"]
    cards = data["cards"]
    assert [card["prompt_id"] for card in cards] == ["p0"] * 4 + ["p1"] * 4
    assert [card["kind"] for card in cards[:4]] == ["picture", "video", "sound", "points"]
    assert [len(card["files"]) for card in cards[:4]] == [1, 1, 2, 2], "files of one sample share a card"
    assert [card["small"].partition(",")[0] for card in cards[:3]] == [
        "data:image/webp;base64",
        "data:video/mp4;base64",
        "data:audio/wav;base64",
    ]
    assert cards[2]["picture"]["small"].startswith("data:image/webp")
    assert cards[3]["picture"]["small"].startswith("data:image/gif")
    assert len(base64.b64decode(cards[3]["small"])) == 9 * 300
    sizes = [card["facts"]["size"] for card in cards[:4]]
    assert sizes == ["16 × 16", "4 frames of 16 × 16", "0.26 s", "300 points"]


def test_what_is_large_is_read_from_media_or_linked(tmp_path: Path):
    rows = write_media(tmp_path)
    small = Previews(num_bytes=100)
    assert small.whole(tmp_path / str(rows[1]["file"])) == ""
    assert small.points(tmp_path / str(rows[4]["file"])) == ""
    many = {**rows[1], "file": "media/x.mp4"}
    (tmp_path / "media" / "x.mp4").write_bytes(bytes(700 * 1024))
    (tmp_path / "media" / "broken.ply").write_bytes(b"ply\nformat ascii 1.0\nelement vertex 9\nend_header\n1 2")
    broken = {**rows[4], "file": "media/broken.ply"}
    frames = {**rows[1], "step": "files", "file": "media/all", "files": 4}
    (tmp_path / "media" / "all").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "media" / "all" / "0000.png")
    data = data_of(write_gallery(tmp_path, "t", EXPORTS, [many, broken, frames], []).read_text(encoding="utf-8"))
    kinds = {card["file"]: (card["kind"], card["small"][:10]) for card in data["cards"]}
    assert kinds == {
        "media/x.mp4": ("video", ""),
        "media/broken.ply": ("link", ""),
        "media/all/0000.png": ("picture", "data:image"),
    }


def test_points_of_text_files_are_read_too(tmp_path: Path):
    text = "ply\nformat ascii 1.0\ncomment x\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\n"
    (tmp_path / "a.ply").write_text(text + "element face 0\nproperty list uchar int i\nend_header\n0 0 0\n0 2 0\n")
    places, colours = read_ply(tmp_path / "a.ply")
    assert (places.tolist(), colours.tolist()) == ([[0, 0, 0], [0, 2, 0]], [[128] * 3] * 2)
    (tmp_path / "a.xyz").write_text("0 0 1 1.0 0.0 0.0\n1 0 0 0.0 0.0 1.0\n")
    assert read_xyz(tmp_path / "a.xyz")[1].tolist() == [[255, 0, 0], [0, 0, 255]]
    assert Previews().points(tmp_path / "a.ply") != ""


def test_file_names_become_addresses(tmp_path: Path):
    page = write_gallery(tmp_path, "t", IMAGES, [row(0, file="media/猫 #1?.png")], []).read_text(encoding="utf-8")
    assert data_of(page)["cards"][0]["file"] == "media/%E7%8C%AB%20%231%3F.png"
