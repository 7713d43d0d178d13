"""The command line: exit statuses, messages without tracebacks, nothing heavy imported, nothing written by mistake."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from planning import GOOD

from orchestrator.__main__ import main
from orchestrator.commandline.listing import KINDS
from orchestrator.schema import workflow_schema

WORKFLOWS = sorted((Path(__file__).parents[2] / "workflows").glob("*.yaml"))
BAD = GOOD.replace("from: text", "from: txt").replace("png", "pgn")


@pytest.fixture
def workflow(folder, monkeypatch) -> Path:
    monkeypatch.chdir(folder)
    file = folder / "w.yaml"
    file.write_text(GOOD, encoding="utf-8")
    return file


def listing(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_validate_says_fine_and_writes_nothing(workflow, capsys):
    before = listing(workflow.parent)
    assert main(["validate", "w.yaml"]) == 0
    assert capsys.readouterr().out == "w.yaml: fine; 2 prompts, 4 steps, 2 files\n"
    assert listing(workflow.parent) == before


@pytest.mark.parametrize("command", ["validate", "plan", "run"])
def test_a_bad_workflow_ends_with_status_2_before_anything_is_written(workflow, capsys, command):
    workflow.write_text(BAD, encoding="utf-8")
    before = listing(workflow.parent)
    assert main([command, "w.yaml"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.splitlines()[0].startswith("w.yaml:9:35: steps.small.from: unknown step `txt`")
    assert output.err.splitlines()[1].startswith("w.yaml:11:49: steps.files.format: unknown format `pgn`")
    assert listing(workflow.parent) == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["validate", "gone.yaml"], "gone.yaml: no such file"),
        (["validate"], "Missing argument"),
        (["paln", "w.yaml"], "No such command"),
        (["plan", "w.yaml", "--workers", "many"], "`many` is not a number of workers"),
        (["plan", "w.yaml", "--workers", "imge=2"], "unknown model or pool `imge`; did you mean `image`?"),
        (["plan", "w.yaml", "--devices", "tpu"], "unknown device `tpu`"),
        (["plan", "w.yaml", "--executor", "rya"], "unknown executor `rya`; did you mean `ray`?"),
        (["plan", "w.yaml", "--executor", "local", "--address", "auto"], "the executor local uses one device"),
        (["plan", "w.yaml", "--memory", "lots"], "`lots` is not an amount of memory"),
        (["plan", "w.yaml", "--memory", "100M"], "steps.small.size: a batch of 8 samples of 64x64"),
        (
            ["plan", "w.yaml", "--cluster", "c.yaml"],
            "c.yaml:1:1: worker: unknown key `worker`; did you mean `workers`?",
        ),
        (["list", "samplrs"], "unknown kind `samplrs`; did you mean `samplers`?"),
        (["train", "w.yaml", "--set", "steps"], "`steps` is not KEY=VALUE"),
    ],
)
def test_a_users_mistake_ends_with_status_2_and_one_message(workflow, capsys, arguments, expected):
    (workflow.parent / "c.yaml").write_text("worker: 2\ndevices: cpu\nmemory: 2GiB\n")
    assert main(arguments) == 2
    errors = capsys.readouterr().err
    assert expected in " ".join(errors.split())
    assert "Traceback" not in errors


def test_a_cluster_file_is_read_and_flags_win(workflow, capsys):
    text = "executor: ray\naddress: auto\nworkers: {image: 3, text: 2}\nthreads: 1\nmemory: 2 GiB\n"
    (workflow.parent / "c.yaml").write_text(text)
    assert main(["plan", "w.yaml", "--cluster", "c.yaml", "--workers", "image=5", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["executor"] == "ray"
    assert {name: pool["workers"] for name, pool in values["pools"].items()} == {
        "text:builtin": 2,
        "model:image": 5,
        "export": 1,
    }
    assert values["limit_bytes"] == 2 * 2**30


def test_plan_narrows_to_the_first_prompts_in_a_folder_of_their_own(workflow, capsys):
    assert main(["plan", "w.yaml", "--limit", "1", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["prompts"], values["output"]) == (1, "runs/hello-first-1")
    assert main(["plan", "w.yaml", "--limit", "9", "--output", "elsewhere", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["prompts"], values["output"]) == (2, "elsewhere")


def test_the_version_is_that_of_the_package(capsys):
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"parhelion {version('parhelion')}\n"


def test_list_has_one_line_for_each_name(capsys):
    for kind in KINDS:
        assert main(["list", kind]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines
        assert all("  " in line for line in lines)
    assert main(["list"]) == 0
    everything = capsys.readouterr().out
    assert all(f"{kind}:" in everything for kind in KINDS)
    assert "dopri5" in everything


def test_the_schema_is_one_and_knows_the_names(capsys):
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    text = json.dumps(schema)
    assert "dpm-solver++" in text
    assert '"time-aware"' in text


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_shipped_workflows_fit_the_schema(file):
    content = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    jsonschema.Draft202012Validator(workflow_schema()).validate(content)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("size: [64, 64]", "sise: [64, 64]"),
        ("size: [64, 64]", "sampler: eulr"),
        ("size: [64, 64]", "guidance: {scal: 3}"),
        ("stage: encode", "stage: encod"),
        ("name: hello", "name: hello\nsed: 1"),
        ("format: png", "format: pgn"),
        ("a red apple", "12"),
    ],
)
def test_the_schema_refuses_what_validate_refuses(old, new):
    content = yaml.load(GOOD.replace(old, new), Loader=yaml.CSafeLoader)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(workflow_schema()).validate(content)


@pytest.mark.parametrize(
    "new", ["guidance: 3", "sampler: {name: dopri5, rtol: 1.0e-4}", 'size: [64, "${matrix.side}"]']
)
def test_the_schema_takes_what_validate_takes(new):
    content = yaml.load(GOOD.replace("size: [64, 64]", new), Loader=yaml.CSafeLoader)
    jsonschema.Draft202012Validator(workflow_schema()).validate(content)


@pytest.mark.parametrize("command", ["validate", "plan", "schema", "list"])
def test_planning_imports_nothing_heavy(workflow, command):
    (workflow.parent / "p.csv").write_text("id,text\n" + "".join(f"k{n},a red apple {n}\n" for n in range(10_000)))
    workflow.write_text(GOOD.replace("  - a red apple\n  - 赤いりんご", "  file: p.csv"), encoding="utf-8")
    arguments = [command] if command in {"schema", "list"} else [command, "w.yaml"]
    code = (
        "import sys; from orchestrator.__main__ import main; status = main(sys.argv[1:]); "
        "heavy = ('torch', 'ray', 'transformers', 'numpy', 'PIL', 'rich', 'pyarrow', 'tokenizers', 'jsonschema'); "
        "print([name for name in heavy if name in sys.modules], file=sys.stderr); sys.exit(status)"
    )
    answer = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert answer.stderr.strip().splitlines()[-1] == "[]"


def test_output_into_a_closed_pipe_is_no_crash(workflow):
    command = f"{sys.executable} -m orchestrator list | head -1"
    answer = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "Traceback" not in answer.stderr


@pytest.fixture
def real(tiny_model, tmp_path, monkeypatch) -> Path:
    """A workflow for the tiny model that really makes pictures, in a folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    text = GOOD.replace("./tiny", str(tiny_model)).replace("size: [64, 64]", "size: [16, 16], steps: 2")
    (tmp_path / "w.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def test_run_makes_files_says_where_and_resumes(real, capsys):
    assert main(["run", "w.yaml"]) == 0
    output = capsys.readouterr()
    assert "2 made in" in output.out
    assert "look at them: runs/hello/index.html" in output.out
    assert "hello: 2 prompts -> runs/hello; about" in output.err
    assert "files: 2/2" in output.err
    assert len(list((real / "runs/hello/media").iterdir())) == 2
    report = json.loads((real / "runs/hello/report.json").read_text())
    assert "predicted_seconds" in report["steps"]["small"]
    assert main(["run", "w.yaml", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["run", "w.yaml", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1] | {"kind": "finished", "made": 0, "resumed": 2, "failed": 0} == lines[-1]


def test_run_refuses_a_changed_workflow_and_names_the_change(real, capsys):
    assert main(["run", "w.yaml", "--quiet"]) == 0
    text = (real / "w.yaml").read_text(encoding="utf-8")
    (real / "w.yaml").write_text(text.replace("steps: 2", "steps: 3"), encoding="utf-8")
    assert main(["run", "w.yaml", "--quiet"]) == 2
    assert "steps.small.options.steps: 2 -> 3" in capsys.readouterr().err
    assert main(["run", "w.yaml", "--quiet", "--fresh"]) == 0
    assert (real / "runs/hello-2/index.html").is_file()


@pytest.mark.parametrize("interrupts", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_an_interrupted_run_says_how_to_go_on(real, interrupts):
    """One Ctrl-C waits for the batches that run; a second one does not, however long they are."""
    text = (real / "w.yaml").read_text(encoding="utf-8")
    text = text.replace("steps: 2", {1: "steps: 100, batch_size: 1", 2: "steps: 10000"}[interrupts])
    (real / "w.yaml").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "orchestrator", "run", "w.yaml"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        until_ready(process.stderr, "model:image: ready")
        process.send_signal(signal.SIGINT)
        until_ready(process.stderr, "ending after the batches that run now")
        if interrupts == 2:
            process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
        assert process.wait() == 130
    assert "what is finished is kept, and the same command resumes the run" in errors
    assert "Traceback" not in errors


def until_ready(stream: io.TextIOBase, text: str) -> None:
    for line in stream:
        if line.startswith(text):
            return
    raise AssertionError("the process ended early")


def test_the_reference_explains_every_key_and_stage():
    from orchestrator import settings, step_settings
    from orchestrator.catalog import EXPORTERS
    from orchestrator.commandline.placing import ClusterSettings

    text = (Path(__file__).parents[2] / "docs" / "workflow.md").read_text(encoding="utf-8")
    classes = [each for module in (settings, step_settings) for each in vars(module).values() if isinstance(each, type)]
    models = [each for each in classes if issubclass(each, settings.Settings)]
    keys = {field.alias or name for model in [*models, ClusterSettings] for name, field in model.model_fields.items()}
    assert [key for key in sorted(keys) if f"`{key}" not in text and f"{key}:" not in text] == []
    assert all(f"`{name}`" in text for name in [*step_settings.STEPS, *EXPORTERS])
