"""Estimates: counts that can be checked by hand, memory that stops a run before it starts, rates that are learnt."""

from __future__ import annotations

import json

import pytest
from planning import GOOD

from modalities.generators.nextdit import cost
from orchestrator.building import build_plan
from orchestrator.commandline.placing import bytes_of
from orchestrator.commandline.showing import plan_lines, plan_values, shown_bytes
from orchestrator.errors import WorkflowError
from orchestrator.estimate import estimate, report_memory
from orchestrator.placement import Placement, find_devices, machine_memory
from orchestrator.rates import CONSTANTS, rate_key, rate_of, rates_file, read_rates, write_rates

OPTIONS = "size: [64, 64], steps: 10, schedule: uniform, sampler: midpoint, guidance: 4"


@pytest.fixture
def estimated(read):
    def run(text, where=None):
        spec, where = read(text), where or Placement()
        plan = build_plan(spec, where, hash_weights=False)
        return spec, plan, estimate(spec, plan, where)

    return run


@pytest.mark.parametrize(
    ("options", "evaluations"),
    [
        ("", 10 * 2 * 2),
        ("sampler: euler", 10 * 2),
        ("sampler: rk4", 10 * 4 * 2),
        ("sampler: poisson-midpoint", 37),  # 2 (9 (2 - 1/16) + 1) = 36.875
        ("sampler: {name: poisson-midpoint, k: 2}", 29),
        ("guidance: 1", 10 * 2),
        ("guidance: {scale: 4, interval: [0, 0.45]}", 2 * (5 * 2 + 5)),
        ("schedule: {name: shifted, shift: 1}", 40),
    ],
)
def test_evaluations_follow_sampler_and_guidance(estimated, options, evaluations):
    key = options.partition(":")[0]
    kept = [part for part in OPTIONS.split(", ") if not part.startswith(key or "-")]
    _, _, found = estimated(GOOD.replace("size: [64, 64]", ", ".join([*kept, *([options] if options else [])])))
    assert found.steps[1].evaluations == evaluations


def test_strength_walks_the_rest_of_the_grid(estimated):
    text = GOOD.replace("from: small", "from: large").replace("size: [64, 64]", OPTIONS)
    text += (
        f"  large: {{stage: extrapolate, from: small, strength: 0.45, {OPTIONS.replace('[64, 64]', '[128, 64]')}}}\n"
    )
    _, plan, found = estimated(text)
    by_name = {entry.step: entry for entry in found.steps}
    assert by_name["large"].evaluations == 5 * 2 * 2
    assert by_name["large"].tokens == (16 * 8, 16 * 8)
    assert [step.name for step in plan.steps].index("large") == 2


def test_operations_are_those_of_the_cost_model(estimated):
    spec, _, found = estimated(GOOD.replace("size: [64, 64]", OPTIONS))
    config = spec.models["image"].description.generator_config
    one = 40 * cost.flops(config, 64, 16) + 2 * cost.text_flops(config, 16)
    assert found.steps[1].tokens == (64, 64)
    assert found.steps[1].flops == 2 * one
    assert found.steps[1].seconds == pytest.approx(2 * one / CONSTANTS["cpu/generate"])
    assert found.fits is True


def test_a_matrix_adds_up(estimated):
    text = GOOD.replace("name: hello", "name: hello\nmatrix: {side: [64, 128]}").replace(
        "[64, 64]", '[64, "${matrix.side}"]'
    )
    _, _, found = estimated(text)
    assert found.steps[1].samples == 4
    assert found.steps[1].tokens == (64, 128)
    assert found.steps[0].samples == 2


def test_rates_are_learnt_and_survive(folder, estimated):
    _, _, before = estimated(GOOD)
    assert not before.steps[1].is_measured
    key = rate_key("cpu", "generate", before.steps[1].part)
    write_rates({key: 1e6})
    write_rates({"cpu/export/png": 2.0})
    assert read_rates() == {key: 1e6, "cpu/export/png": 2.0}
    _, _, after = estimated(GOOD)
    assert after.steps[1].is_measured
    assert after.steps[1].seconds == pytest.approx(after.steps[1].flops / 1e6)
    assert rates_file().is_relative_to(folder)
    rates_file().write_text("not json")
    assert read_rates() == {}
    assert rate_of("cuda", "decode", "something else", {}).per_second == CONSTANTS["cuda/decode"]


def test_a_size_beyond_memory_is_refused_with_numbers(read):
    spec = read(GOOD.replace("[64, 64]", "[8192, 8192]"))
    where = Placement(memory_bytes=700 * 2**20)
    plan = build_plan(spec, where, hash_weights=False)
    with pytest.raises(WorkflowError) as caught:
        report_memory(spec, plan, where)
    message = str(caught.value)
    assert "w.yaml:9:47: steps.small.size: one sample of 8192x8192 (1,048,576 tokens) needs about" in message
    assert "a worker here has 0.7 GiB; choose a smaller size" in message


def test_memory_of_a_cluster_is_not_judged_from_here(read):
    spec = read(GOOD.replace("[64, 64]", "[16384, 16384]"))
    where = Placement(address="auto")
    plan = build_plan(spec, where, hash_weights=False)
    report_memory(spec, plan, where)
    found = estimate(spec, plan, where)
    assert found.limit_bytes is None
    assert found.fits is None
    assert any("the cluster decides" in line for line in plan_lines(plan, found, where))


def test_an_absent_hub_model_leaves_unknowns(estimated, monkeypatch, folder):
    monkeypatch.setenv("HF_HOME", str(folder / "hub"))
    text = GOOD.replace("./tiny", "someone/some-model")
    _, plan, found = estimated(text)
    assert found.seconds is None
    assert found.steps[1].flops is None
    lines = plan_lines(plan, found, Placement())
    assert "time: unknown until the model is on this machine" in lines


def test_the_plan_is_shown_in_full(estimated):
    _, plan, found = estimated(GOOD)
    where = Placement()
    text = "\n".join(plan_lines(plan, found, where))
    for part in (
        "workflow hello: 2 prompts",
        "small   generate",
        "executor local on cpu",
        "memory: fits",
        "fingerprint",
    ):
        assert part in text
    values = json.loads(json.dumps(plan_values(plan, found, where)))
    assert values["steps"][1]["tokens"] == [64, 64]
    assert values["fits"] is True


def test_amounts_of_memory():
    assert bytes_of("16GiB") == 16 * 2**30
    assert bytes_of("16 GB") == 16 * 10**9
    assert bytes_of("900M") == 900 * 2**20
    assert bytes_of("1.5g") == 3 * 2**29
    assert bytes_of("4096") == 4096
    for text in ("much", "-1", "1 XB", ""):
        with pytest.raises(ValueError, match="amount of memory"):
            bytes_of(text)
    assert shown_bytes(3 * 2**29) == "1.5 GiB"
    assert shown_bytes(5 * 2**20) == "5 MiB"
    assert (machine_memory() or 2**30) > 2**28


def test_devices_are_named_or_found():
    assert find_devices("cpu") == ("cpu",)
    assert find_devices("cuda:0, cuda:2") == ("cuda:0", "cuda:2")
    for text in ("gpu", "cuda:x", "cuda:0,cuda:0", ""):
        with pytest.raises(ValueError):
            find_devices(text)


def test_the_executor_follows_from_the_place():
    assert Placement().chosen_executor() == "local"
    assert Placement(devices=("cuda:0",)).chosen_executor() == "local"
    assert Placement(devices=("cuda:0", "cuda:1")).chosen_executor() == "ray"
    assert Placement(address="auto").chosen_executor() == "ray"
    assert Placement(workers={"image": 2}).chosen_executor() == "ray"
    assert Placement(executor="local", workers={"image": 2}).chosen_executor() == "local"
    where = Placement(devices=("cuda:0", "cuda:1"), workers={"text": 3, "model:b": 5})
    assert [where.workers_of(pool) for pool in ("text:builtin", "model:a", "model:b", "export")] == [3, 2, 5, 1]
