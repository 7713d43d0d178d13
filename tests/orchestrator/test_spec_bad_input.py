"""Everything that can be wrong in a workflow: one clear message with its place, all at once, nothing written."""

from __future__ import annotations

import pytest
from planning import GOOD, write_model

from orchestrator.building import build_plan
from orchestrator.errors import WorkflowError
from orchestrator.placement import Placement
from orchestrator.spec import read_workflow

EXTRAPOLATED = """\
name: large
prompts: [a red apple]
models: {image: ./tiny}
matrix: {side: [64, 128]}
steps:
  text:   {stage: encode}
  small:  {stage: generate, from: text}
  large:
    stage: extrapolate
    from: small
    size: [128, "${matrix.side}"]
    strength: 0.5
  pixels: {stage: decode, from: large}
  files:  {stage: export, from: pixels, format: png, path: "{id}{suffix}"}
"""

# name of the case -> (what to replace in GOOD, by what, the message)
ONE_FAULT = {
    "unknown key": ("name: hello", "name: hello\nsed: 1", "w.yaml:2:1: sed: unknown key `sed`; did you mean `seed`?"),
    "unknown step key": (
        "size: [64, 64]",
        "sise: [64, 64]",
        "w.yaml:9:41: steps.small.sise: unknown key `sise`; did you mean `size`?",
    ),
    "bad name": ("name: hello", "name: a/b", "w.yaml:1:7: name: `a/b` is not a name for a workflow"),
    "name missing": ("name: hello\n", "", "w.yaml:1:1: the key `name` is missing"),
    "wrong type": (
        "name: hello",
        "name: hello\nseed: seven",
        "w.yaml:2:7: seed: expected a whole number; got the text `seven`",
    ),
    "a fraction for a count": (
        "size: [64, 64]",
        "steps: 2.5",
        "steps.small.steps: expected a whole number; got `2.5`",
    ),
    "true for a number": ("size: [64, 64]", "guidance: true", "steps.small.guidance: expected a mapping; got `true`"),
    "out of range": (
        "name: hello",
        "name: hello\nrepetitions: 0",
        "w.yaml:2:14: repetitions: expected at least 1; got `0`",
    ),
    "not finite": ("size: [64, 64]", "guidance: .inf", "steps.small.guidance: expected a finite number"),
    "prompt is a number": (
        "a red apple",
        "42",
        "w.yaml:3:5: prompts[0]: a prompt is text or {id, text}; got `42`; put text in quotes",
    ),
    "empty prompt": ("a red apple", '"  "', "w.yaml:3:5: prompts[0]: the prompt is empty"),
    "over-long prompt": (
        "a red apple",
        "x" * 2001,
        "w.yaml:3:5: prompts[0]: the prompt has 2001 characters; the text encoder builtin takes",
    ),
    "duplicate ids": (
        "- 赤いりんご",
        "- {id: p00000, text: b}",
        "w.yaml:4:5: prompts[1]: the id `p00000` stands twice; first at entry 0",
    ),
    "ids that differ by case": (
        "  - a red apple\n  - 赤いりんご",
        "  - {id: A, text: x}\n  - {id: a, text: y}",
        "w.yaml:4:5: prompts[1]: the ids `a` and `A` would give one file name",
    ),
    "no prompts": ("  - a red apple\n  - 赤いりんご", "  []", "prompts: expected at least 1 entry; got 0"),
    "prompt file missing": (
        "prompts:\n  - a red apple\n  - 赤いりんご",
        "prompts: {file: gone.csv}",
        "gone.csv: no such file",
    ),
    "model folder missing": ("./tiny", "./nowhere", "w.yaml:6:10: models.image"),
    "unknown built-in model": ("./tiny", "builtin/imag", "w.yaml:6:10: models.image: no built-in model `builtin/imag`"),
    "text encoder without source": (
        "image: ./tiny",
        "image: {source: ./tiny, text_encoder: {kind: huggingface}}",
        "w.yaml:6:41: models.image.text_encoder: the kind huggingface needs a `source`",
    ),
    "unknown text encoder": (
        "image: ./tiny",
        "image: {source: ./tiny, text_encoder: {kind: hugingface}}",
        "models.image.text_encoder.kind: unknown text encoder `hugingface`; did you mean `huggingface`?",
    ),
    "option of another text encoder": (
        "image: ./tiny",
        "image: {source: ./tiny, text_encoder: {kind: builtin, layer: 2}}",
        "models.image.text_encoder: the kind builtin takes no layer",
    ),
    "model named like a pool": (
        "image: ./tiny",
        "export: ./tiny",
        "w.yaml:6:3: models.export: `export` names the workers of a stage; call the model otherwise",
    ),
    "unknown model": (
        "{stage: encode}",
        "{stage: encode, model: imag}",
        "w.yaml:8:34: steps.text.model: unknown model `imag`; did you mean `image`?",
    ),
    "stage missing": ("{stage: encode}", "{model: image}", "w.yaml:8:3: steps.text: the key `stage` is missing"),
    "unknown stage": (
        "stage: encode",
        "stage: encod",
        "w.yaml:8:19: steps.text.stage: unknown stage `encod`; did you mean `encode`?",
    ),
    "unknown step": (
        "from: text",
        "from: txt",
        "w.yaml:9:35: steps.small.from: unknown step `txt`; did you mean `text`?",
    ),
    "from missing": ("from: text, ", "", "w.yaml:9:3: steps.small: the key `from` is missing"),
    "cycle": (
        "{stage: encode}",
        "{stage: decode, from: files}",
        "w.yaml:8:33: steps.text.from: the steps form a cycle: text -> small -> pixels -> files -> text",
    ),
    "reads what nobody writes": (
        "{stage: decode, from: small}",
        "{stage: decode, from: text}",
        "w.yaml:10:33: steps.pixels.from: step `pixels` (decode) reads latents, which no step before it writes; let "
        "`from` lead to a step with stage: extrapolate or generate",
    ),
    "two writers": (
        "{stage: decode, from: small}",
        "{stage: decode, from: [small, other]}\n  other:  {stage: generate, from: text}",
        "steps.pixels.from: latents could come from `small` and `other`; name only one of them",
    ),
    "nobody reads": (
        "{stage: encode}",
        "{stage: encode}\n  other:  {stage: generate, from: text}",
        "w.yaml:9:3: steps.other: no export depends on the latents of step `other`",
    ),
    "no export": (
        "  files:  {stage: export, from: pixels, format: png}\n",
        "",
        "w.yaml:7:1: steps: no step writes files",
    ),
    "unknown sampler": (
        "size: [64, 64]",
        "sampler: eulr",
        "steps.small.sampler: unknown sampler `eulr`; did you mean `euler`?",
    ),
    "unknown schedule": (
        "size: [64, 64]",
        "schedule: shift",
        "steps.small.schedule: unknown schedule `shift`; did you mean `shifted`?",
    ),
    "unknown method": ("size: [64, 64]", "method: ntk", "steps.small.method: unknown extrapolation `ntk`"),
    "unknown format": ("format: png", "format: pgn", "steps.files.format: unknown format `pgn`; did you mean `png`?"),
    "option of another sampler": (
        "size: [64, 64]",
        "sampler: {name: euler, rtol: 1e-3}",
        "w.yaml:9:64: steps.small.sampler.rtol: sampler `euler` has no option `rtol`; it takes none",
    ),
    "option of another schedule": (
        "size: [64, 64]",
        "schedule: {name: shifted, mu: 0.5}",
        "steps.small.schedule.mu: schedule `shifted` has no option `mu`; it takes shift",
    ),
    "size not divisible": (
        "size: [64, 64]",
        "size: [64, 70]",
        "w.yaml:9:52: steps.small.size[1]: width 70 is not divisible by 8 (codec stride 4 x patch 2); nearest: 64 or",
    ),
    "size of other axes": (
        "size: [64, 64]",
        "size: [64]",
        "steps.small.size: image sizes have 2 numbers (height, width); got 1",
    ),
    "size beyond the limit": (
        "size: [64, 64]",
        "size: [64, 16392]",
        "steps.small.size[1]: width 16392 is more than the limit of 16384",
    ),
    "interval upside down": (
        "size: [64, 64]",
        "guidance: {scale: 2, interval: [0.8, 0.2]}",
        "steps.small.guidance.interval: expected a start below the end",
    ),
    "absolute path": ("format: png", "format: png, path: /tmp/x", "steps.files.path: the path is absolute"),
    "path outside": (
        "format: png",
        "format: png, path: a/../../x",
        "steps.files.path: the path leaves the run folder through `..`",
    ),
    "drive letter": ("format: png", 'format: png, path: "C:x{id}"', "steps.files.path: the path holds `:`"),
    "backslash": ("format: png", "format: png, path: 'a\\{id}'", "steps.files.path: the path holds `\\`"),
    "control character in a path": (
        "format: png",
        'format: png, path: "a\\x07{id}"',
        "steps.files.path: the path holds the control character U+0007",
    ),
    "hidden file": (
        "format: png",
        'format: png, path: ".{id}"',
        "steps.files.path: a part of the path is empty, or starts with a dot",
    ),
    "unknown field": (
        "format: png",
        'format: png, path: "{promt_id}"',
        "steps.files.path: unknown field `{promt_id}`; did you mean `prompt_id`?",
    ),
    "two outputs with one path": (
        "format: png",
        'format: png, path: "same{suffix}"',
        "steps.files.path: sample `p00001` and sample `p00000` of step `files` would both be written to media/same.png",
    ),
    "unused parameter": (
        "name: hello",
        "name: hello\nmatrix: {g: [1]}",
        "w.yaml:2:10: matrix.g: no step uses `${matrix.g}`",
    ),
    "undefined parameter": (
        "size: [64, 64]",
        'guidance: "${matrix.g}"',
        "steps.small.guidance: unknown matrix parameter `g`; the workflow has no matrix",
    ),
    "unknown reference": (
        "size: [64, 64]",
        'guidance: "${env.HOME}"',
        "steps.small.guidance: unknown reference `${env.HOME}`",
    ),
    "alias of nothing": ("./tiny", "*tiny", "w.yaml:6:10: alias `*tiny` names no anchor"),
    "tag": (
        "./tiny",
        "!!python/name:os.system x",
        "w.yaml:6:10: tag `tag:yaml.org,2002:python/name:os.system` is not allowed",
    ),
    "duplicate key": ("name: hello", "name: hello\nname: again", "w.yaml:2:1: key `name` stands twice; first at 1:1"),
    "output is a list": ("name: hello", "name: hello\noutput: [a]", "w.yaml:2:9: output: expected text; got a list"),
}


def problems_of(text: str, folder) -> list[str]:
    """Every fault of a workflow, its file's name cut to the last part; the folder must stay as it was."""
    file = folder / "w.yaml"
    file.write_text(text, encoding="utf-8")
    before = sorted(folder.rglob("*"))
    with pytest.raises(WorkflowError) as caught:
        build_plan(read_workflow(file), Placement(), hash_weights=False)
    assert caught.value.exit_status == 2
    assert sorted(folder.rglob("*")) == before
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


@pytest.mark.parametrize("case", ONE_FAULT)
def test_a_fault_gives_one_message_with_its_place(case, folder):
    old, new, expected = ONE_FAULT[case]
    assert GOOD.count(old) == 1
    found = problems_of(GOOD.replace(old, new), folder)
    assert len(found) == 1, found
    assert expected in found[0]
    assert found[0].startswith(("w.yaml:", "gone.csv"))


def test_all_faults_are_reported_at_once_and_in_order(folder):
    text = GOOD.replace("hello", "he llo").replace("a red apple", '""').replace("[64, 64]", "[66, 64], sampler: eulr")
    text = text.replace("from: pixels", "from: pixls").replace("png", "pgn").replace("./tiny", "./gone")
    found = problems_of(text, folder)
    assert [line.split(":")[1] for line in found] == ["1", "3", "6", "9", "11", "11"]


def test_a_fault_in_one_cell_of_the_matrix_names_the_cell(folder):
    found = problems_of(EXTRAPOLATED.replace("[64, 128]", "[64, 100]"), folder)
    assert found == [
        "w.yaml:11:17: steps.large.size[1]: width 100 is not divisible by 8 (codec stride 4 x patch 2); "
        "nearest: 96 or 104 (with side = 100)"
    ]


def test_a_fault_in_every_cell_is_said_once(folder):
    assert len(problems_of(EXTRAPOLATED.replace("strength: 0.5", "strength: 2"), folder)) == 1


def test_strength_needs_latents_to_start_from(folder):
    text = EXTRAPOLATED.replace("from: small\n", "from: text\n").replace(
        "  small:  {stage: generate, from: text}\n", ""
    )
    found = problems_of(text, folder)
    assert len(found) == 1
    assert (
        "w.yaml:11:15: steps.large.strength: strength 0.5 starts from earlier latents, and no step before" in found[0]
    )


@pytest.mark.parametrize("key", ["from", "model", "batch_size", "path"])
def test_what_a_matrix_cannot_change_is_said(key, folder):
    places = {
        "from": ("from: small\n", 'from: "${matrix.side}"\n'),
        "model": ("from: small\n", 'from: small\n    model: "${matrix.side}"\n'),
        "batch_size": ("from: small\n", 'from: small\n    batch_size: "${matrix.side}"\n'),
        "path": ("{id}{suffix}", "${matrix.side}{id}"),
    }
    found = problems_of(EXTRAPOLATED.replace(*places[key]), folder)
    assert any("cannot change within a matrix" in line or "write `{side}`" in line for line in found)


def test_too_many_cells_are_refused(folder):
    text = EXTRAPOLATED.replace("side: [64, 128]", f"side: {[8 * n for n in range(1, 2002)]}")
    assert any("the matrix has 2001 combinations" in line for line in problems_of(text, folder))


def test_conditioning_of_another_text_encoder_is_refused(folder):
    write_model(folder / "other", text_encoder={"kind": "huggingface", "source": "org/text", "preset": "lumina-next"})
    text = GOOD.replace("image: ./tiny", "image: ./tiny\n  other: ./other")
    text = text.replace("{stage: encode}", "{stage: encode, model: other}").replace(
        "from: text,", "from: text, model: image,"
    )
    found = problems_of(text, folder)
    assert len(found) == 1
    assert "steps.small.from: step `small` needs the text encoder of model `image` (builtin), but `text`" in found[0]


def test_several_models_without_a_choice_are_refused(folder):
    found = problems_of(GOOD.replace("image: ./tiny", "image: ./tiny\n  other: ./tiny"), folder)
    assert any("w.yaml:9:3: steps.text: say which model: image, other" in line for line in found)


def test_a_pickled_checkpoint_is_refused(folder):
    (folder / "tiny" / "generator.safetensors").write_bytes(b"PK\x03\x04 a zip of pickles")
    found = problems_of(GOOD, folder)
    assert len(found) == 1
    assert "w.yaml:6:10: models.image" in found[0]
    assert "pickled" in found[0]


def test_a_truncated_checkpoint_is_refused(folder):
    file = folder / "tiny" / "generator.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert "cut short" in problems_of(GOOD, folder)[0]


def test_a_checkpoint_of_other_shapes_is_refused(folder):
    text = (folder / "tiny" / "model.json").read_text()
    (folder / "tiny" / "model.json").write_text(text.replace('"layers": 2', '"layers": 3'))
    assert "do not fit the configuration" in problems_of(GOOD, folder)[0]
