"""MAR and DiGIT in workflows: what their steps take, what they cost, and every wrong request named before a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import pytest
from planning import GOOD
from safetensors.numpy import save_file

from modalities.catalog import samplers_of
from modalities.generators.digit import cost as digit_cost
from modalities.generators.mar import cost as mar_cost
from modalities.weights.class_list import ClassList, read_classes
from orchestrator.building import build_plan
from orchestrator.commandline.listing import lines_of
from orchestrator.errors import WorkflowError
from orchestrator.estimate import estimate
from orchestrator.placement import Placement
from orchestrator.schema import workflow_schema

STAGE = {"dim": 16, "layers": 1, "heads": 2, "ffn": 32, "positions": 80}
CONFIGS = {
    "mar": {
        "patch": [2, 2],
        "in_channels": 4,
        "trained_tokens": [8, 8],
        "dim": 16,
        "layers": 1,
        "heads": 2,
        "decoder_dim": 16,
        "decoder_layers": 1,
        "decoder_heads": 2,
        "buffer": 4,
        "classes": 3,
        "head_dim": 16,
        "head_layers": 1,
    },
    "digit": {
        "clusters": 10,
        "grid": [4, 4],
        "codes": 20,
        "code_grid": [8, 8],
        "classes": 3,
        "semantic": {**STAGE, "pre_norm": False},
        "decoder": STAGE,
        "decoder_order": "masked",
    },
}
COSTS = {"mar": mar_cost, "digit": digit_cost}
NAMES = [["tench", "Tinca tinca"], ["crane"], ["crane", "tower crane"]]
WORKFLOW = GOOD.replace("a red apple", "tench").replace("赤いりんご", "tower_crane").replace(", size: [64, 64]", "")


def write_family(folder: Path, family: str, *, classes: bool = True, defaults=None, **changes) -> Path:
    """A tiny model of a family whose weights are zeros: 64 x 64 pictures, conditioned by class."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {**CONFIGS[family], **changes}
    tensors = {n: numpy.zeros(s, numpy.float32) for n, s in COSTS[family].expected_shapes(config).items()}
    save_file(tensors, folder / "generator.safetensors")
    save_file({"x": numpy.zeros((2, 2), numpy.float32)}, folder / "codec.safetensors")
    text = {"kind": "class-names", "file": "./classes.json"} if classes else {"kind": "builtin"}
    description = {
        "format": "parhelion-model/1",
        "name": family,
        "modality": "image",
        "generator": {"family": family, "config": config},
        "codec": {"kind": "image-autoencoder", "config": {}},
        "text_encoder": text,
        "native_size": [64, 64],
        "defaults": defaults or {},
    }
    (folder / "model.json").write_text(json.dumps(description))
    (folder / "classes.json").write_text(json.dumps({"format": "parhelion-classes/1", "names": NAMES}))
    return folder


@pytest.fixture
def families(folder: Path) -> Path:
    """A working folder that also holds the models `mar` and `digit`."""
    write_family(folder / "mar", "mar")
    write_family(folder / "digit", "digit")
    return folder


def workflow(family: str, options: str = "") -> str:
    text = WORKFLOW.replace("./tiny", f"./{family}")
    return text.replace("from: text", f"from: text, {options}") if options else text


def faults(read, text: str) -> list[str]:
    with pytest.raises(WorkflowError) as caught:
        read(text)
    return [str(problem) for problem in caught.value.problems]


def test_each_family_has_its_own_samplers():
    assert list(samplers_of("mar")) == ["masked-autoregressive"]
    assert list(samplers_of("digit")) == ["autoregressive"]
    assert samplers_of("nextdit") == samplers_of("flagdit")
    assert {"euler", "poisson-midpoint"} <= set(samplers_of("nextdit"))
    assert not {"masked-autoregressive", "autoregressive"} & set(samplers_of("nextdit"))


def test_options_hold_what_means_something_to_the_family(families: Path, planned):
    options = planned(workflow("mar", "steps: 16, guidance: 3")).step("small").options
    assert options == {
        "sampler": {"name": "masked-autoregressive"},
        "steps": 16,
        "guidance": {"scale": 3},
        "model": "image",
        "size": [64, 64],
    }
    options = planned(workflow("digit", "sampler: {name: autoregressive, top_k: 5}")).step("small").options
    assert options == {
        "sampler": {"name": "autoregressive", "top_k": 5},
        "guidance": {"scale": 1.0},
        "model": "image",
        "size": [64, 64],
    }


def test_sampler_options_of_the_model_stay_beside_those_of_the_file(families: Path, planned):
    defaults = {
        "sampler": "masked-autoregressive",
        "sampler_options": {"head_steps": 25, "temperature": 0.9},
        "steps": 32,
        "guidance": {"scale": 2.0},
    }
    write_family(families / "mar", "mar", defaults=defaults)
    options = planned(workflow("mar", "sampler: {name: masked-autoregressive, temperature: 1.1}")).step("small").options
    assert options["sampler"] == {"name": "masked-autoregressive", "head_steps": 25, "temperature": 1.1}
    assert (options["steps"], options["guidance"]) == (32, {"scale": 2.0})


def test_wrong_defaults_of_a_model_are_named_where_it_is_used(families: Path, read):
    write_family(families / "mar", "mar", defaults={"sampler": "euler"})
    (found,) = faults(read, workflow("mar"))
    assert "steps.small: sampler `euler` follows a velocity or score" in found
    write_family(families / "digit", "digit", defaults={"guidance": {"scale": 3.0}})
    (found,) = faults(read, workflow("digit"))
    assert "guidance 3 moves away from a null condition" in found
    assert "use 1" in found
    read(workflow("digit", "guidance: 1"))


# what is asked of which family -> (path within steps.small, the message)
WRONG = [
    ("mar", "sampler: euler", "sampler", "follows a velocity or score, which model `image` (mar) does not have"),
    ("digit", "sampler: poisson-midpoint", "sampler", "use `autoregressive`"),
    ("tiny", "sampler: autoregressive", "sampler", "is of the family digit, which model `image` (nextdit) is not"),
    ("mar", "steps: 65", "steps", "65 iterations for 64 tokens; each draws at least one, so at most 64"),
    ("digit", "steps: 5", "steps", "`steps` means nothing to model `image` (digit)"),
    ("mar", "schedule: shifted", "schedule", "`schedule` places the times of a velocity"),
    ("digit", "method: ntk-aware", "method", "`method` rescales rotary positions"),
    ("mar", "proportional_attention: true", "proportional_attention", "leave it out"),
    ("mar", "guidance: {scale: 3, interval: [0.2, 1]}", "guidance.interval", "belongs to a velocity"),
    ("digit", "guidance: 3", "guidance", "guidance 3 moves away from a null condition"),
    ("mar", "size: [128, 64]", "size", "a MAR makes the size that it was trained at alone"),
    ("digit", "sampler: {name: autoregressive, decoder_steps: 65}", "sampler.decoder_steps", "at most 64"),
    ("digit", "sampler: {name: autoregressive, decoder_steps: 0}", "sampler.decoder_steps", "trained in rounds"),
    ("digit", "sampler: {name: autoregressive, temperature: 0}", "sampler.temperature", "top_k: 1"),
    ("mar", "sampler: {name: masked-autoregressive, top_k: 5}", "sampler.top_k", "has no option `top_k`"),
    ("mar", "sampler: {name: masked-autoregressive, head_steps: 1}", "sampler.head_steps", "expected at least 2"),
    ("mar", "sampler: {name: masked-autoregressive, guidance_schedule: cosine}", "sampler.guidance_schedule", "linear"),
]


@pytest.mark.parametrize(("family", "options", "place", "message"), WRONG, ids=[f"{w[0]} {w[1]}" for w in WRONG])
def test_what_a_family_does_not_have_is_one_message_with_its_place(families, read, family, options, place, message):
    text = workflow(family, options).replace("tench", "a red apple" if family == "tiny" else "tench")
    found = faults(read, text)
    assert len(found) == 1, found
    line, column, path = found[0].split("w.yaml:")[1].split(":")[:3]
    assert (line, path.strip()) == ("9", f"steps.small.{place}")
    assert int(column) > 1
    assert message in found[0]


def test_larger_sizes_are_not_for_learned_positions(families, read):
    text = workflow("mar").replace("pixels: {stage: decode, from: small}", "pixels: {stage: decode, from: large}")
    text += "  large: {stage: extrapolate, from: small, size: [64, 64]}\n"
    (found,) = faults(read, text)
    assert "steps.large.stage: model `image` (mar) learned the positions of its one size" in found


def test_prompts_of_a_model_of_classes_are_classes(families, read):
    assert [prompt.text for prompt in read(workflow("mar")).prompts] == ["tench", "tower_crane"]
    text = workflow("mar").replace("- tench", '- a photo of a tench\n  - tensh\n  - crane\n  - "7"\n  - "2"')
    found = faults(read, text)
    assert [one.split("prompts[")[1][:2] for one in found] == ["0]", "1]", "2]", "3]"]
    assert "this model knows classes, not sentences; nearest: tench (0)" in found[0]
    assert "`tensh` is none of the 3 classes; nearest: tench (0)" in found[1]
    assert "`crane` names 2 classes: 1 (crane), 2 (crane / tower crane); write the number" in found[2]
    assert "class 7 is not there; this model knows 0 to 2" in found[3]


def test_prompts_of_classes_in_a_file_have_their_lines(families, read):
    (families / "list.txt").write_text("tench\na red apple\n")
    start, rest = workflow("digit").split("prompts:\n")
    text = f"{start}prompts: {{file: list.txt}}\nmodels:{rest.split('models:')[1]}"
    (found,) = faults(read, text)
    assert "list.txt:2:1" in found
    assert "not sentences" in found


def test_a_negative_prompt_needs_a_class_and_a_null_condition(families, read):
    asked = "text:   {stage: encode, negative_prompt: tench}"
    (found,) = faults(read, workflow("digit").replace("text:   {stage: encode}", asked))
    assert "steps.text.negative_prompt: model `image` (digit) was trained without a null condition" in found
    read(workflow("mar").replace("text:   {stage: encode}", asked))
    (found,) = faults(read, workflow("mar").replace("text:   {stage: encode}", asked.replace("tench", "blurry")))
    assert "steps.text.negative_prompt: model `image`: `blurry` is none of the 3 classes" in found


def test_classes_that_cannot_be_read_are_the_models_fault(families, read):
    (families / "mar" / "classes.json").write_text(json.dumps({"format": "parhelion-classes/1", "names": [[]]}))
    (found,) = faults(read, workflow("mar"))
    assert "models.image" in found
    assert "one list of names, at least one, for each class" in found
    (families / "mar" / "classes.json").unlink()
    assert "no such file" in faults(read, workflow("mar"))[0]


def test_a_model_that_is_told_nothing_takes_the_empty_prompt(families, read):
    (families / "digit" / "classes.json").write_text(json.dumps({"format": "parhelion-classes/1", "names": []}))
    text = workflow("digit").replace("- tench", '- ""')
    (found,) = faults(read, text)
    assert "prompts[1]: model `image`: `tower_crane`: this model knows no classes" in found
    assert read(text.replace("- tower_crane", '- ""')).prompts[0].text == ""


def test_classes_are_found_by_any_name_in_any_case(tmp_path: Path):
    file = tmp_path / "classes.json"
    file.write_text(json.dumps({"format": "parhelion-classes/1", "names": NAMES}))
    classes = read_classes(file)
    assert [classes.number(text) for text in ("TENCH", "tinca  TINCA", "Tower_Crane", "1", " ")] == [0, 0, 2, 1, -1]
    file.write_text("{}")
    with pytest.raises(ValueError, match="this version reads 'parhelion-classes/1'"):
        read_classes(file)
    with pytest.raises(ValueError, match="for example tench"):
        ClassList((("tench",),)).number("zzzzz qq")


def test_kinds_of_a_models_own_folder_cannot_be_given(families, read):
    text = workflow("mar").replace("image: ./mar", "image: {source: ./mar, text_encoder: {kind: class-names}}")
    assert any("its own model's folder" in found for found in faults(read, text))


@pytest.mark.parametrize(
    ("family", "options", "evaluations"),
    [
        ("mar", "steps: 16, guidance: 3", 32),
        ("mar", "steps: 16, guidance: 1", 16),
        ("digit", "", 16 + 8),
        ("digit", "sampler: {name: autoregressive, decoder_steps: 3}", 16 + 3),
    ],
)
def test_plans_count_what_the_family_counts(families, read, family, options, evaluations):
    spec = read(workflow(family, options))
    plan = build_plan(spec, Placement(), hash_weights=False)
    found = estimate(spec, plan, Placement()).steps[1]
    assert found.evaluations == evaluations
    assert found.flops is not None
    assert found.flops > 0


def test_operations_grow_with_what_is_asked():
    def mar(steps: int, head: int, scale: float) -> int:
        sampler = {"name": "masked-autoregressive", "head_steps": head}
        return mar_cost.sample_flops(
            CONFIGS["mar"], 1, {"sampler": sampler, "steps": steps, "guidance": {"scale": scale}}
        )

    assert mar(32, 10, 1) - mar(16, 10, 1) == mar(64, 10, 1) - mar(48, 10, 1) > 0
    assert mar(16, 20, 1) > mar(16, 10, 1)
    assert mar(16, 10, 1) < mar(16, 10, 2) < 2 * mar(16, 10, 1)
    one = mar_cost.flops(CONFIGS["mar"], 64, 1)
    assert mar(64, 100, 1) == pytest.approx(64 * one, rel=1e-3)

    def digit(rounds: int) -> int:
        options = {"sampler": {"name": "autoregressive", "decoder_steps": rounds}, "guidance": {"scale": 1}}
        return digit_cost.sample_flops(CONFIGS["digit"], 1, options)

    assert digit(0) == digit_cost.flops(CONFIGS["digit"], 16 + 64, 1)
    assert digit(4) - digit(3) == digit(3) - digit(2) > 0


def test_lists_and_schema_show_the_samplers_and_their_options():
    lines = "\n".join(lines_of("samplers"))
    assert "masked-autoregressive" in lines
    assert "for mar; options: temperature, head_steps, guidance_schedule" in lines
    assert "for digit; options: temperature, top_k, top_p, decoder_steps" in lines
    properties = workflow_schema()["$defs"]["SamplerSettings"]["properties"]
    assert {"temperature", "head_steps", "guidance_schedule", "top_k", "top_p", "decoder_steps"} <= set(properties)
