"""The gallery in a real browser: all media are there, and the points turn when they are dragged."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from test_gallery import EXPORTS, write_media

from orchestrator.gallery import write_gallery

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--window-size=1200,900",
]  # fmt: skip
CLOCK = "<body><script>window.requestAnimationFrame = (draw) => setTimeout(draw, 16);</script>"
"""A browser in virtual time draws no frames by itself."""
SCRIPT = """
<script>
const wait = (ms) => new Promise((done) => setTimeout(done, ms)), answer = {};
const pictureOfPoints = () => document.querySelector(".view canvas").toDataURL();
const moves = (canvas, kind, clientX, clientY) =>
  canvas.dispatchEvent(new PointerEvent(kind, { clientX, clientY, pointerId: 1, bubbles: true }));
(async () => {
  await wait(1500);
  const canvas = document.querySelector(".view canvas"), video = document.querySelector("video");
  const sound = document.querySelector("audio"), count = (what) => document.querySelectorAll(what).length;
  answer.kinds = [...document.querySelectorAll(".view")].map((view) => view.className);
  answer.video = [video.videoWidth, video.videoHeight, video.muted, video.loop, Math.round(video.duration * 10)];
  answer.sound = [sound.controls, Math.round(sound.duration * 1000)];
  answer.pictures = [...document.images].map((image) => image.naturalWidth > 0);
  const before = pictureOfPoints();
  moves(canvas, "pointerdown", 50, 50); moves(canvas, "pointermove", 110, 60); moves(canvas, "pointerup", 110, 60);
  await wait(200);
  const dragged = pictureOfPoints();
  canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowUp" }));
  await wait(200);
  answer.turned = [before.length > 3000, before !== dragged, dragged !== pictureOfPoints()];
  document.querySelector(".view.sound button").click();
  await wait(200);
  answer.dialog = [document.querySelector("dialog").open, count("dialog audio, dialog img"), count("#files a")];
  const result = document.createElement("pre");
  result.id = "answer"; result.textContent = JSON.stringify(answer);
  document.body.append(result);
})();
</script></body>"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_the_page_plays_and_turns(tmp_path: Path):
    page = write_gallery(tmp_path, "t", EXPORTS, write_media(tmp_path), [])
    driven = tmp_path / "driven.html"
    driven.write_text(
        page.read_text(encoding="utf-8").replace("<body>", CLOCK).replace("</body>", SCRIPT), encoding="utf-8"
    )
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=8000"]
    run = subprocess.run(
        [*command, "--dump-dom", driven.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    found = re.search(r'<pre id="answer">(.*?)</pre>', run.stdout)
    assert found is not None, run.stdout[-2000:]
    answer = json.loads(found.group(1))
    assert answer["kinds"] == ["view picture", "view video", "view sound", "view points"]
    assert answer["video"] == [16, 16, True, True, 5]
    assert answer["sound"] == [True, 256]
    assert all(answer["pictures"])
    assert answer["turned"] == [True, True, True], "dragging and arrow keys change what is drawn"
    assert answer["dialog"] == [True, 2, 2]
