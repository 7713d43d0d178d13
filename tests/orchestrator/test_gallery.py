"""The gallery: one file, offline, safe with any prompt, usable with thousands of samples."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

from PIL import Image

from orchestrator.gallery import write_gallery

NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(2)> & \u2028 <!-- ]]>"


def row(number: int, prompt: str = "a star", **more: object) -> dict[str, object]:
    return {
        "id": f"p{number}",
        "prompt": prompt,
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
    page = write_gallery(tmp_path, NASTY, [row(0, NASTY)], letters).read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(page)
    assert reader.tags.count("script") == 2
    assert reader.tags.count("img") == 1
    assert reader.addresses == []
    assert data_of(page)["cards"][0]["prompt"] == NASTY
    assert data_of(page)["failed"][0]["error"] == NASTY


def test_the_page_asks_the_network_for_nothing(tmp_path: Path):
    page = write_gallery(tmp_path, "t", [row(0)], []).read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert not re.search(r"https?://|@import|url\(", page)


def test_facts_are_written_as_people_write_them(tmp_path: Path):
    card = data_of(write_gallery(tmp_path, "t", [row(0, cell={})], []).read_text(encoding="utf-8"))["cards"][0]
    assert card["facts"]["size"] == "16 × 16"
    assert card["facts"]["sampler"] == "midpoint"
    assert card["facts"]["guidance"] == "4"


def test_pictures_are_embedded_up_to_a_number_and_then_read_from_media(tmp_path: Path):
    (tmp_path / "media").mkdir()
    for number in range(3):
        Image.new("RGB", (400, 200), (number, 0, 0)).save(tmp_path / "media" / f"p{number}.png")
    page = write_gallery(tmp_path, "t", [row(number) for number in range(10_000)], [])
    cards = data_of(page.read_text(encoding="utf-8"))["cards"]
    assert len(cards) == 10_000
    assert [bool(card["thumbnail"]) for card in cards[:4]] == [True, True, True, False]
    assert cards[9_999]["thumbnail"] == ""
    assert page.stat().st_size < 4_000_000


def test_file_names_become_addresses(tmp_path: Path):
    page = write_gallery(tmp_path, "t", [row(0, file="media/猫 #1?.png")], []).read_text(encoding="utf-8")
    assert data_of(page)["cards"][0]["file"] == "media/%E7%8C%AB%20%231%3F.png"
