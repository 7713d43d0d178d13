"""The commands of `parhelion`: run, plan, validate, list, schema, train, verify, reproduce, convert."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.building import build_plan
from orchestrator.commandline.converting import convert
from orchestrator.commandline.interrupting import INTERRUPTED, interruptible
from orchestrator.commandline.listing import KINDS, lines_of
from orchestrator.commandline.placing import check_workers, place
from orchestrator.commandline.running import Request, run_workflow
from orchestrator.commandline.showing import plan_lines, plan_values
from orchestrator.commandline.training import TrainRequest
from orchestrator.commandline.training import train as train_model
from orchestrator.commandline.verifying import reproduce, verify
from orchestrator.errors import nearest
from orchestrator.estimate import estimate, report_memory
from orchestrator.placement import Placement
from orchestrator.spec import WorkflowSpec, read_workflow

HASHED_AT_PLAN_BYTES = 256 * 2**20
"""`plan` reads the weights for the fingerprint when they are smaller than this; `run` always does."""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Workflow = Annotated[Path, typer.Argument(help="the workflow file, for example workflows/image.yaml")]
Executor = Annotated[str | None, typer.Option(metavar="NAME", help="auto, local (this process) or ray [default: auto]")]
Address = Annotated[str | None, typer.Option(metavar="ADDRESS", help="of a running Ray cluster: auto, or host:port")]
Workers = Annotated[
    list[str] | None, typer.Option(metavar="N", help="workers of every model, or of one: image=2; may be repeated")
]
Devices = Annotated[str | None, typer.Option(metavar="LIST", help="auto, cpu, cuda, or cuda:0,cuda:1 [default: auto]")]
Memory = Annotated[str | None, typer.Option(metavar="SIZE", help="memory that one worker may use, for example 16GiB")]
Threads = Annotated[int | None, typer.Option(min=1, metavar="N", help="CPU threads of one worker")]
Cluster = Annotated[Path | None, typer.Option(metavar="FILE", help="a YAML file that holds these settings")]
Output = Annotated[str | None, typer.Option(metavar="FOLDER", help="run folder, in place of the workflow's")]
Limit = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="only the first N prompts, in a run folder of their own")
]


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"parhelion {version('parhelion')}")
        raise typer.Exit


@app.callback()
def common(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Turns a YAML workflow and a list of prompts into files."""


@app.command()
def run(
    workflow: Workflow,
    executor: Executor = None,
    address: Address = None,
    workers: Workers = None,
    devices: Devices = None,
    memory: Memory = None,
    threads: Threads = None,
    cluster: Cluster = None,
    output: Output = None,
    limit: Limit = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="use a new run folder beside one that is taken")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="print nothing but errors")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object per line")] = False,
) -> None:
    """Make everything that a workflow asks for. Running it again resumes it."""
    where = _place(executor, address, workers, devices, memory, threads, cluster)
    style = "json" if as_json else "quiet" if quiet else "table" if sys.stderr.isatty() else "lines"
    raise typer.Exit(interruptible(lambda: run_workflow(Request(workflow, where, output, limit, fresh, style))))


@app.command()
def plan(
    workflow: Workflow,
    executor: Executor = None,
    address: Address = None,
    workers: Workers = None,
    devices: Devices = None,
    memory: Memory = None,
    threads: Threads = None,
    cluster: Cluster = None,
    output: Output = None,
    limit: Limit = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    check_prompts: Annotated[
        bool, typer.Option("--check-prompts", help="load the text encoder and name prompts that the model cannot know")
    ] = False,
) -> None:
    """Say what a run would cost, before anything is loaded: samples, operations, time, memory, files."""
    where = _place(executor, address, workers, devices, memory, threads, cluster)
    spec = narrowed(read_workflow(workflow), output, limit)
    sizes = [path.stat().st_size for model in spec.models.values() for path in model.description.weight_files()]
    built = build_plan(spec, where, hash_weights=sum(sizes) <= HASHED_AT_PLAN_BYTES)
    check_workers(built, where.workers)
    report_memory(spec, built, where)
    found = estimate(spec, built, where)
    reports = _checked_prompts(spec) if check_prompts else None
    if as_json:
        values = plan_values(built, found, where)
        if reports is not None:
            values["prompts_outside"] = [dataclasses.asdict(report) for report in reports]
        typer.echo(json.dumps(values, ensure_ascii=False, indent=1))
        return
    typer.echo("\n".join(plan_lines(built, found, where)))
    if reports is not None:
        typer.echo("\n".join(["", *(_prompt_lines(reports, spec))]))


@app.command()
def validate(workflow: Workflow) -> None:
    """Check a workflow file and everything it names. Nothing is loaded and nothing is written."""
    where = Placement()
    spec = read_workflow(workflow)
    built = build_plan(spec, where, hash_weights=False)
    report_memory(spec, built, where)
    samples = sum(
        built.num_samples(step) * sum(1 for _ in built.cells(step)) for step in built.steps if step.stage == "export"
    )
    typer.echo(f"{workflow}: fine; {len(spec.prompts)} prompts, {len(built.steps)} steps, {samples} files")


@app.command("list")
def list_names(
    kind: Annotated[str | None, typer.Argument(metavar="[KIND]", help=f"one of: {', '.join(KINDS)}")] = None,
) -> None:
    """List the names that a workflow may use, one line each."""
    if kind is not None and kind not in KINDS:
        raise typer.BadParameter(f"unknown kind `{kind}`; {nearest(kind, KINDS)}")
    blocks = [[*([f"{each}:"] if kind is None else []), *lines_of(each)] for each in ([kind] if kind else KINDS)]
    typer.echo("\n\n".join("\n".join(block) for block in blocks))


@app.command()
def schema() -> None:
    """Print the JSON Schema of workflow files, for editors."""
    from orchestrator.schema import workflow_schema

    typer.echo(json.dumps(workflow_schema(), ensure_ascii=False, indent=1))


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="a YAML file such as workflows/train/image.yaml")],
    executor: Executor = None,
    address: Address = None,
    workers: Annotated[int | None, typer.Option(min=1, metavar="N", help="processes that train together")] = None,
    sharded: Annotated[bool, typer.Option("--sharded", help="cut weights and optimizer over the workers")] = False,
    cluster: Cluster = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="in place of a value of the recipe; may be repeated"),
    ] = None,
) -> None:
    """Train a model from a recipe. Running it again resumes it."""
    _check_executor(executor)
    request = TrainRequest(
        recipe=recipe,
        overrides=_overrides(overrides or []),
        executor=executor,
        address=address,
        workers=workers,
        is_sharded=sharded,
        cluster=cluster,
    )
    try:
        train_model(request)
    except KeyboardInterrupt:
        typer.echo("\ninterrupted; the same command goes on from the last checkpoint", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


app.command()(verify)
app.command()(reproduce)
app.command()(convert)


def narrowed(spec: WorkflowSpec, output: str | None, limit: int | None) -> WorkflowSpec:
    """A workflow with another run folder, or with its first prompts only (then in a folder of their own)."""
    folder = output or spec.output
    if limit is not None and limit < len(spec.prompts):
        folder = folder if output else f"{folder}-first-{limit}"
        return dataclasses.replace(spec, output=folder, prompts=spec.prompts[:limit])
    return dataclasses.replace(spec, output=folder)


def _place(
    executor: str | None,
    address: str | None,
    workers: list[str] | None,
    devices: str | None,
    memory: str | None,
    threads: int | None,
    cluster: Path | None,
) -> Placement:
    _check_executor(executor)
    try:
        where = place(
            executor=executor,
            address=address,
            workers=workers or (),
            devices=devices,
            memory=memory,
            threads=threads,
            cluster=cluster,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if where.chosen_executor() == "local" and (where.address is not None or len(where.devices) > 1):
        raise typer.BadParameter(
            "the executor local uses one device of this machine; use ray for several, or a cluster"
        )
    return where


def _check_executor(executor: str | None) -> None:
    if executor not in (None, "auto", "local", "ray"):
        raise typer.BadParameter(f"unknown executor `{executor}`; {nearest(str(executor), ('auto', 'local', 'ray'))}")


def _overrides(texts: list[str]) -> dict[str, Any]:
    import yaml

    values: dict[str, Any] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise typer.BadParameter(f"`{text}` is not KEY=VALUE")
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise typer.BadParameter(f"the value in `{text}` is not valid YAML") from None
    return values


def _checked_prompts(spec: WorkflowSpec) -> list[Any]:
    import importlib

    checker = importlib.import_module("orchestrator.stages.prompt_check")
    reports: list[Any] = checker.check_workflow_prompts(spec)
    return reports


def _prompt_lines(reports: list[Any], spec: WorkflowSpec) -> list[str]:
    if not reports:
        return [f"prompts: all {len(spec.prompts)} are within what the models know"]
    return [
        f"prompts outside what the models know: {len(reports)} of {len(spec.prompts)}",
        *(f"  {each}" for each in reports),
    ]
