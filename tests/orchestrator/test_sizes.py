"""Sizes in words: seconds, frames, views, points; rounded to what a model can make, and clear when they cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from planning import write_model

from orchestrator.building import build_plan
from orchestrator.errors import WorkflowError
from orchestrator.estimate import report_memory
from orchestrator.item import Sample
from orchestrator.placement import Placement
from orchestrator.recipe import recipe, resolved_options
from orchestrator.sizes import rounded
from orchestrator.spec import read_workflow

TEXT = """\
name: made
prompts: [a red apple]
models: {{it: ./{modality}}}
{matrix}steps:
  text:  {{stage: encode}}
  first: {{stage: generate, from: text{size}}}
  media: {{stage: decode, from: first}}
  files: {{stage: export, from: media, format: {format}}}
"""
FORMATS = {"image": "png", "video": "mp4", "multi-view": "gif", "audio": "wav", "point-cloud": "ply"}


@pytest.fixture
def read_size(tmp_path: Path):
    """A function from a modality and what a step says of its size to the workflow."""

    def read(modality: str, size: str, matrix: str = "", text: str = TEXT):
        write_model(tmp_path / modality, modality=modality)
        file = tmp_path / "w.yaml"
        filled = text.format(
            modality=modality, size=f", {size}" if size else "", format=FORMATS[modality], matrix=matrix
        )
        file.write_text(filled, encoding="utf-8")
        return read_workflow(file)

    return read


@pytest.mark.parametrize(
    ("modality", "said", "size"),
    [
        ("video", "frames: 24", [24, 64, 64]),
        ("video", "frames: 11", [12, 64, 64]),
        ("video", "duration: 3", [24, 64, 64]),
        ("video", "", [12, 64, 64]),
        ("video", "size: [24, 128, 128]", [24, 128, 128]),
        ("multi-view", "views: 5", [5, 64, 64]),
        ("audio", "duration: 4", [64_000]),
        ("audio", "duration: 2.01", [32_256]),
        ("audio", "duration: 0.001", [512]),
        ("point-cloud", "points: 4095", [4095]),
        ("point-cloud", "points: 1", [1]),
    ],
)
def test_a_word_is_rounded_to_the_nearest_size_that_the_model_can_make(read_size, modality, said, size):
    plan = build_plan(read_size(modality, said), Placement(), hash_weights=False)
    assert plan.step("first").options["size"] == size


def test_halves_are_rounded_up():
    assert [rounded(amount, 1, 4) for amount in (1, 2, 5, 6, 10, 12)] == [4, 4, 4, 8, 12, 12]


def test_a_matrix_parameter_stands_for_a_word(read_size):
    spec = read_size("point-cloud", 'points: "${matrix.density}"', "matrix: {density: [256, 1000, 1300]}\n")
    plan = build_plan(spec, Placement(), hash_weights=False)
    step, files = plan.step("first"), plan.step("files")
    cells = [dict(cell) for cell in plan.cells(step)]
    assert [resolved_options(step, cell)["size"] for cell in cells] == [[256], [1000], [1300]]
    sample = Sample(id="p", step="files", prompt_id="p00000", prompt="x", repetition=0, cell=cells[2], seed=1)
    assert recipe(plan, files, sample)["size"] == [1300]
    assert step.batch_size == 3, "batches are those of the largest"


NOT_MAKEABLE = {
    "no frames": ("video", "frames: 0", "first.frames: frames 0 is nothing; the least that this model makes is 2"),
    "no time": (
        "audio",
        "duration: 0",
        "steps.first.duration: duration 0 s is nothing; the least that this model makes is 0.032",
    ),
    "no points": ("point-cloud", "points: -3", "points -3 is nothing; the least that this model makes is 1"),
    "text for a number": ("audio", "duration: long", "duration: expected a number; got the text `long`"),
    "part of a frame": ("video", "frames: 2.5", "frames: expected a whole number; got `2.5`"),
    "too many frames": (
        "video",
        "frames: 2000",
        "frames 2,000 is more than the limit of 1,024 frames; the most is 1024",
    ),
    "too long": (
        "audio",
        "duration: 900",
        "duration 900 s (14,400,000 samples) is more than the limit of 9,600,000 samples; the most is 600",
    ),
    "too dense": (
        "point-cloud",
        "points: 70000",
        "points 70,000 is more than the limit of 65,536 points; the most is 65536",
    ),
    "frames of a sound": (
        "audio",
        "frames: 10",
        "audio has no `frames`; say duration or size: [samples] (`frames` is for video)",
    ),
    "time of points": (
        "point-cloud",
        "duration: 2",
        "point-cloud has no `duration`; say points or size: [points] (`duration` is for video, audio, music)",
    ),
    "neighbours of points": (
        "point-cloud",
        "points: 512, context_drop: 0.5",
        "steps.first.context_drop: context_drop merges neighbours, and a point-cloud has no order; leave it out",
    ),
    "points of a picture": ("image", "points: 9", "image has no `points`; say size: [height, width]"),
    "said twice": (
        "video",
        "size: [12, 64, 64], frames: 12",
        "steps.first.frames: `size` says the frames already; leave out one of them",
    ),
    "two words": ("video", "duration: 2, frames: 12", "`duration` says the frames already; leave out one of them"),
    "wrong number of axes": ("audio", "size: [64, 64]", "audio sizes have 1 number (samples); got 2"),
    "between two sizes": ("audio", "size: [1000]", "samples 1000 is not divisible by 512 (codec stride 256 x patch 2)"),
    "beyond the limit of its axis": ("multi-view", "size: [65, 64, 64]", "views 65 is more than the limit of 64"),
    "extrapolated to nothing": (
        "audio",
        "stage: extrapolate",
        "steps.first: the key `size` or `duration` is missing",
    ),
}


@pytest.mark.parametrize("case", NOT_MAKEABLE, ids=str)
def test_a_size_that_cannot_be_made_is_named_with_the_nearest_that_can(read_size, case):
    modality, said, message = NOT_MAKEABLE[case]
    text = TEXT
    if said.startswith("stage"):
        text, said = TEXT.replace("stage: generate", "stage: extrapolate"), ""
    with pytest.raises(WorkflowError) as caught:
        read_size(modality, said, text=text)
    assert message in str(caught.value)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("modality", "said", "message"),
    [
        ("point-cloud", "points: 65536, batch_size: 64", r"steps.first.points: a batch of 64 samples of 65536 points"),
        ("audio", "duration: 600, batch_size: 64", r"steps.first.duration: a batch of 64 samples of 9600000 samples"),
        ("video", "frames: 1024, batch_size: 64", r"steps.first.frames: a batch of 64 samples of 1024x64x64"),
    ],
)
def test_more_than_a_worker_can_hold_is_an_error(read_size, modality, said, message):
    spec = read_size(modality, said)
    where = Placement(memory_bytes=2**30)
    plan = build_plan(spec, where, hash_weights=False)
    with pytest.raises(WorkflowError, match=message + r".* needs about .* GiB; a worker here has 1.0 GiB"):
        report_memory(spec, plan, where)


def test_decoding_counts_too(read_size):
    spec = read_size(
        "video", "size: [64, 512, 512]", text=TEXT.replace("stage: decode", "stage: decode, batch_size: 8")
    )
    where = Placement(memory_bytes=4 * 2**30)
    plan = build_plan(spec, where, hash_weights=False)
    with pytest.raises(WorkflowError, match="decoding a batch of 8 samples of 64x512x512"):
        report_memory(spec, plan, where)


@pytest.mark.parametrize(
    ("modality", "format_", "message"),
    [
        (
            "video",
            "wav",
            "format `wav` is not for video; use mp4, webm, gif, animated-webp, frames, poster, contact-sheet",
        ),
        ("audio", "png", "format `png` is not for audio; use wav, flac, ogg, spectrogram"),
        ("point-cloud", "mp4", "format `mp4` is not for point-cloud; use ply, pcd, xyz, glb, mesh, still, turntable"),
        (
            "audio",
            "{name: wav, quality: 3}",
            "steps.files.format.quality: format `wav` has no option `quality`; it takes loudness",
        ),
        ("audio", "{name: wav, loudness: 3}", "steps.files.format.loudness: expected at most 0; got `3`"),
        ("point-cloud", "{name: ply, depth: 3}", "format `ply` has no option `depth`; it takes none"),
        ("point-cloud", "{name: mesh, method: posson}", "unknown value the text `posson`; did you mean `poisson`?"),
    ],
)
def test_a_format_must_fit_the_media_and_take_its_options(read_size, modality, format_, message):
    with pytest.raises(WorkflowError) as caught:
        read_size(modality, "", text=TEXT.replace("{format}", format_.replace("{", "{{").replace("}", "}}")))
    assert message in str(caught.value)


def test_options_of_a_format_reach_the_export_step(read_size):
    spec = read_size("audio", "", text=TEXT.replace("{format}", "{{name: wav, loudness: -23}}"))
    options = build_plan(spec, Placement(), hash_weights=False).step("files").options
    assert options["format"] == {"name": "wav", "loudness": -23}
    assert (options["modality"], options["rate"]) == ("audio", 16_000)


@pytest.fixture
def read_causal(read_size, tmp_path: Path):
    """As `read_size` for videos, of a model whose codec makes one cell of the first frame and one of each four more."""

    def read(said: str):
        read_size("video", "")
        place = tmp_path / "video" / "model.json"
        values = json.loads(place.read_text()) | {"codec": {"kind": "diffusers-video-vae"}, "native_size": [45, 64, 64]}
        place.write_text(json.dumps(values))
        file = tmp_path / "w.yaml"
        file.write_text(TEXT.format(modality="video", size=f", {said}", format="mp4", matrix=""), encoding="utf-8")
        return read_workflow(file)

    return read


@pytest.mark.parametrize(("said", "frames"), [("frames: 12", 13), ("frames: 1", 5), ("duration: 3", 21)])
def test_a_causal_codec_makes_one_frame_more(read_causal, said, frames):
    plan = build_plan(read_causal(said), Placement(), hash_weights=False)
    assert plan.step("first").options["size"] == [frames, 64, 64]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            "size: [12, 64, 64]",
            "frames 12 is not 5 more than a multiple of 8 (codec stride 4 x patch 2); nearest: 5 or 13",
        ),
        ("frames: 0", "frames 0 is nothing; the least that this model makes is 5"),
        ("frames: 2000", "the most is 1021"),
    ],
)
def test_a_size_that_a_causal_codec_cannot_make_is_named(read_causal, said, message):
    with pytest.raises(WorkflowError) as caught:
        read_causal(said)
    assert message in str(caught.value)
