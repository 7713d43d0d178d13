"""From a workflow to a plan: defaults, axes, repetitions, batches, pools, file names, fingerprints."""

from __future__ import annotations

import json

import pytest
from planning import GOOD, write_model

from modalities.catalog import SAMPLERS, SCHEDULES
from orchestrator.building import build_plan
from orchestrator.catalog import STAGES
from orchestrator.errors import WorkflowError
from orchestrator.fingerprint import canonical, fingerprint_of
from orchestrator.options import SAMPLING_DEFAULTS
from orchestrator.placement import Placement
from orchestrator.spec import read_workflow

WHOLE = """\
name: whole
seed: 5
prompts: [a, b, c]
models: {image: {source: ./tiny, precision: float32}}
repetitions: 2
matrix: {guidance: [2, 4.5], side: [64, 128]}
steps:
  files:  {stage: export, from: pixels, format: webp, path: "{prompt_id}/{side}-{guidance}-{repetition}{suffix}"}
  pixels: {stage: decode, from: large}
  large:  {stage: extrapolate, from: small, size: [64, "${matrix.side}"], steps: 10, strength: 0.5}
  small:  {stage: generate, from: text, guidance: "${matrix.guidance}", sampler: {name: dopri5, rtol: 1e-3},
           batch_size: 3}
  text:   {stage: encode, negative_prompt: blurry}
output: out/here
"""


def test_steps_are_ordered_resolved_and_wired(planned):
    plan = planned(WHOLE)
    assert [step.name for step in plan.steps] == ["text", "small", "large", "pixels", "files"]
    text, small, large, pixels, files = plan.steps
    assert text.options == {"model": "image", "negative_prompt": "blurry", "readers": ["image"]}
    assert small.reads == {"conditioning": "text", "negative": "text"}
    assert large.reads == {"conditioning": "text", "negative": "text", "latents": "small"}
    assert pixels.reads == {"latents": "large"}
    assert files.reads == {"media": "pixels"}
    assert [step.axes for step in plan.steps] == [(), ("guidance",), *[("guidance", "side")] * 3]
    assert [step.repetitions for step in plan.steps] == [1, 2, 2, 2, 2]
    assert [step.pool for step in plan.steps] == ["text:builtin", *["model:image"] * 3, "export"]
    assert small.options["guidance"] == {"scale": "${matrix.guidance}"}
    assert small.options["sampler"] == {"name": "dopri5", "rtol": 1e-3}
    assert small.options["size"] == [64, 64]
    assert small.options["method"] == "none"
    assert "strength" not in small.options
    assert large.options["size"] == [64, "${matrix.side}"]
    assert large.options["method"] == "time-aware"
    assert (small.batch_size, text.batch_size) == (3, STAGES["encode"].facts["batch"])
    assert plan.output == "out/here"
    assert plan.num_samples(files) * len(list(plan.cells(files))) == 3 * 2 * 4


def test_defaults_are_those_of_the_generator():
    from modalities.contracts import GenerateOptions

    options = GenerateOptions()
    assert {
        "sampler": {"name": options.sampler, **options.sampler_options},
        "steps": options.steps,
        "schedule": {"name": options.schedule, **options.schedule_options},
        "guidance": {"scale": options.guidance.scale},
        "method": options.extrapolation.method,
        "watershed": options.extrapolation.watershed,
        "proportional_attention": options.extrapolation.proportional_attention,
        "context_drop": options.extrapolation.context_drop,
        "scale": options.extrapolation.scale,
    } == SAMPLING_DEFAULTS


def test_stage_facts_are_those_of_the_stages():
    from orchestrator.catalog import resolve

    for name, entry in STAGES.items():
        stage = resolve(STAGES, name)
        for fact, attribute in (("reads", "reads"), ("optional", "optional_reads"), ("writes", "writes")):
            assert set(str(entry.facts.get(fact, "")).split()) == getattr(stage, attribute), (name, fact)


@pytest.mark.parametrize(("table", "entries"), [("sampler", SAMPLERS), ("schedule", SCHEDULES)])
def test_options_in_the_catalog_are_those_of_the_functions(table, entries):
    import importlib
    import inspect

    from modalities.catalog import resolve

    supplied = {"callback", "noise", "rows", "tokens", "trained_tokens"}
    for name, entry in entries.items():
        if "families" in entry.facts:  # a generator's own, which says in OPTIONS what it takes
            module = importlib.import_module(entry.target.partition(":")[0])
            assert set(str(entry.facts["options"]).split()) == set(module.OPTIONS), name
            assert name == module.SAMPLER
            continue
        parameters = inspect.signature(resolve(table, name)).parameters.values()
        own = {each.name for each in parameters if each.kind is each.KEYWORD_ONLY} - supplied
        assert set(str(entry.facts.get("options", "")).split()) == own, name


def test_every_option_of_a_sampler_schedule_or_format_can_be_written():
    from orchestrator.catalog import EXPORTERS
    from orchestrator.step_settings import FormatSettings, SamplerSettings, ScheduleSettings

    tables = ((SAMPLERS, SamplerSettings), (SCHEDULES, ScheduleSettings), (EXPORTERS, FormatSettings))
    for entries, settings in tables:
        known = {option for entry in entries.values() for option in str(entry.facts.get("options", "")).split()}
        assert known == set(settings.model_fields) - {"name"}


def test_every_choice_of_a_text_encoder_can_be_written():
    import dataclasses

    from modalities.text.huggingface import PRESETS, HuggingFaceText
    from orchestrator.settings import TextEncoderSettings

    own = {field.name for field in dataclasses.fields(HuggingFaceText)}
    assert set(TextEncoderSettings.model_fields) == own | {"kind", "source", "tokenizer", "revision", "preset"}
    assert all(TextEncoderSettings(kind="huggingface", source="a/b", preset=name) for name in PRESETS)


def test_a_models_own_defaults_come_before_ours_and_after_the_files(folder, planned):
    defaults = {
        "sampler": "euler",
        "steps": 7,
        "schedule": "shifted",
        "schedule_options": {"shift": 2.0},
        "guidance": {"scale": 3.0, "channels": 3},
        "extrapolation": {"method": "ntk-aware", "proportional_attention": True},
    }
    write_model(folder / "tiny", defaults=defaults)
    options = planned(GOOD.replace("size: [64, 64]", "steps: 9")).step("small").options
    assert options["sampler"] == {"name": "euler"}
    assert options["steps"] == 9
    assert options["schedule"] == {"name": "shifted", "shift": 2.0}
    assert options["guidance"] == {"scale": 3.0, "channels": 3}
    assert options["method"] == "ntk-aware"
    assert options["proportional_attention"] is True
    assert planned(GOOD.replace("size: [64, 64]", "guidance: 5")).step("small").options["guidance"] == {"scale": 5}


def test_extrapolation_starts_from_latents_when_there_are_some(planned):
    text = WHOLE.replace(", strength: 0.5", "")
    assert planned(text).step("large").options["strength"] == 0.6
    alone = text.replace("from: small", "from: text").replace("matrix: {guidance: [2, 4.5], ", "matrix: {")
    kept = [line for line in alone.splitlines() if "small:" not in line and "batch_size" not in line]
    alone = "\n".join(kept).replace("-{guidance}", "")
    large = planned(alone).step("large")
    assert large.options["strength"] == 1.0
    assert "latents" not in large.reads


def test_large_samples_get_smaller_batches_that_depend_on_the_workflow_alone(planned):
    sizes = {"[64, 64]": 8, "[512, 512]": 1, "[256, 128]": 8, "[256, 256]": 4}
    for size, batch in sizes.items():
        assert planned(GOOD.replace("[64, 64]", size)).step("small").batch_size == batch


def test_two_exports_get_folders_of_their_own(planned):
    plan = planned(GOOD + "  more:   {stage: export, from: pixels, format: jpeg}\n")
    assert plan.step("files").options["path"] == "files/{id}{suffix}"
    assert plan.step("more").options["path"] == "more/{id}{suffix}"


def test_pools_share_the_devices(planned):
    where = Placement(executor="ray", devices=("cuda:0", "cuda:1"), workers={"image": 4, "text": 2, "export": 3})
    plan = planned(GOOD, where)
    assert {name: (pool.workers, pool.devices) for name, pool in plan.pools.items()} == {
        "text:builtin": (2, 0.0),
        "model:image": (4, 0.5),
        "export": (3, 0.0),
    }
    assert plan.models["image"]["precision"] == "bfloat16"
    assert planned(GOOD).models["image"]["precision"] == "float32"


def test_the_fingerprint_tells_what_is_made_and_not_where(planned, folder):
    first = planned(GOOD, hash_weights=True)
    again = planned(f"# a comment\n{GOOD}", Placement(executor="ray", workers={"*": 5}, threads=2), hash_weights=True)
    assert first.fingerprint == again.fingerprint == fingerprint_of(first.identity)
    changes = {
        "seed": GOOD.replace("name: hello", "name: hello\nseed: 1"),
        "prompts": GOOD.replace("a red apple", "a green apple"),
        "steps": GOOD.replace("size: [64, 64]", "guidance: 3"),
    }
    for key, text in changes.items():
        other = planned(text, hash_weights=True)
        assert other.fingerprint != first.fingerprint
        assert [name for name in first.identity if first.identity[name] != other.identity[name]] == [key]
    assert planned(GOOD, Placement(devices=("cuda:0",))).identity["device"] == "cuda"
    write_model(folder / "tiny", value=0.5)
    other = planned(GOOD, hash_weights=True)
    assert [name for name in first.identity if first.identity[name] != other.identity[name]] == ["models"]


def test_a_fingerprint_does_not_depend_on_where_the_model_lies(folder, planned):
    (folder / "elsewhere").mkdir()
    (folder / "tiny").rename(folder / "elsewhere" / "t")
    moved = planned(GOOD.replace("./tiny", "./elsewhere/t"), hash_weights=True)
    write_model(folder / "tiny")
    assert planned(GOOD, hash_weights=True).fingerprint == moved.fingerprint


def test_numbers_have_one_form():
    assert canonical({"a": 4.0, "b": [1e-6, True]}) == canonical({"b": (1e-6, True), "a": 4})
    assert json.loads(canonical({"a": 0.5})) == {"a": 0.5}


def test_ids_of_every_script_give_files(folder):
    lines = ["id,text", "a/b,x", "犬,y", "CON,z"]
    (folder / "p.csv").write_text("\n".join(lines), encoding="utf-8")
    text = GOOD.replace("  - a red apple\n  - 赤いりんご", "  file: p.csv")
    (folder / "w.yaml").write_text(text, encoding="utf-8")
    plan = build_plan(read_workflow(folder / "w.yaml"), Placement(), hash_weights=False)
    task = next(task for task in plan.tasks() if task.step == "files")
    assert [sample.prompt_id for sample in plan.samples(task)] == ["a/b", "犬", "CON"]
    assert [sample.id.split("-")[0] for sample in plan.samples(task)] == ["a", "犬", "CON"]


def test_a_link_out_of_the_run_folder_is_refused(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "w.yaml").write_text(GOOD.replace("format: png", 'format: png, path: "a/{id}{suffix}"'), encoding="utf-8")
    (folder / "outside").mkdir()
    (folder / "runs/hello/media").mkdir(parents=True)
    build_plan(read_workflow(folder / "w.yaml"), Placement(), hash_weights=False)
    (folder / "runs/hello/media/a").symlink_to(folder / "outside")
    with pytest.raises(WorkflowError, match="runs/hello/media/a is a link that leads to"):
        build_plan(read_workflow(folder / "w.yaml"), Placement(), hash_weights=False)
