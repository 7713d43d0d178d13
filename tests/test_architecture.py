"""The import rows of docs/architecture.md, held. Every file and rule is one check, so a failure names its line."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(path for package in ("modalities", "orchestrator") for path in (ROOT / package).rglob("*.py"))

# Module prefix -> the internal prefixes it may import besides its own package. The longest matching prefix decides.
ROWS: dict[str, tuple[str, ...]] = {
    "modalities.catalog": (),
    "modalities.contracts": (),
    "modalities.flow": ("modalities.contracts", "modalities.catalog"),
    "modalities.text": (
        "modalities.contracts",
        "modalities.weights.checkpoint",
        "modalities.weights.class_list",
        "modalities.weights.storage",
    ),
    "modalities.codecs": (
        "modalities.contracts",
        "modalities.catalog",
        "modalities.weights.checkpoint",
        "modalities.weights.configuration",
        "modalities.weights.description",
        "modalities.weights.headers",
    ),
    "modalities.generators.nextdit": (
        "modalities.contracts",
        "modalities.catalog",
        "modalities.flow",
        "modalities.weights",
        "modalities.generators.requests",
    ),
    "modalities.generators.flagdit": (  # Next-DiT's predecessor, built from its parts
        "modalities.contracts",
        "modalities.catalog",
        "modalities.flow",
        "modalities.weights",
        "modalities.generators.nextdit",
        "modalities.generators.requests",
    ),
    "modalities.generators.digit": (
        "modalities.contracts",
        "modalities.catalog",
        "modalities.weights",
        "modalities.generators.requests",
    ),
    "modalities.generators.options": ("modalities.contracts",),
    "modalities.generators.requests": ("modalities.contracts",),
    "modalities.weights.class_list": ("modalities.weights.headers",),
    "modalities.weights.configuration": (),
    "modalities.generators.mar": (
        "modalities.contracts",
        "modalities.catalog",
        "modalities.flow",
        "modalities.weights",
        "modalities.generators.requests",
    ),
    "modalities.weights.headers": (),
    "modalities.weights.description": (
        "modalities.catalog",
        "modalities.weights.described",
        "modalities.weights.headers",
        "modalities.weights.lumina_folders",
        "modalities.weights.sources",
    ),
    "modalities.weights.described": ("modalities.catalog", "modalities.weights.headers", "modalities.weights.sources"),
    "modalities.weights.sources": ("modalities.weights.headers",),
    "modalities.weights.lumina_folders": (
        "modalities.weights.described",
        "modalities.weights.headers",
        "modalities.weights.sources",
        "modalities.generators.nextdit.config",
        "modalities.generators.nextdit.cost",
        "modalities.generators.nextdit.layouts",
    ),
    "modalities.weights.convert_audio": (
        "modalities.contracts",
        "modalities.codecs.vae1d",
        "modalities.generators.flagdit.config",
        "modalities.weights",
    ),
    "modalities.weights.convert_digit": (
        "modalities.contracts",
        "modalities.codecs.dinov2_tokens",
        "modalities.codecs.vqgan",
        "modalities.generators.digit.config",
        "modalities.weights",
    ),
    "modalities.weights.convert_mar": (
        "modalities.contracts",
        "modalities.generators.mar.config",
        "modalities.weights",
    ),
    "modalities.weights.convert_vocoder": (
        "modalities.contracts",
        "modalities.codecs.bigvgan",
        "modalities.codecs.mel_spectrogram",
        "modalities.weights",
    ),
    "modalities.weights": ("modalities.contracts", "modalities.catalog", "modalities.generators.nextdit.config"),
    "modalities.native_audio": (),
    "modalities.image": ("modalities.contracts",),
    "modalities.video": ("modalities.contracts",),
    "modalities.multi_view": ("modalities.contracts",),
    "modalities.audio": ("modalities.contracts",),
    "modalities.music": ("modalities.contracts",),
    "modalities.point_cloud": ("modalities.contracts",),
    "modalities.training": ("modalities",),
    "orchestrator.errors": (),
    "orchestrator.item": (),
    "orchestrator.stages": ("orchestrator", "modalities"),
    "orchestrator.exporters": ("orchestrator.errors", "orchestrator.item"),
    "orchestrator.exporters.spectrogram": ("orchestrator.exporters", "modalities.codecs.mel_spectrogram"),
    "orchestrator": (
        "orchestrator",
        "modalities.catalog",
        "modalities.weights.class_list",
        "modalities.weights.description",
    ),
    "orchestrator.executors": ("orchestrator", "modalities.catalog"),
    "orchestrator.executors.ray.training": ("orchestrator", "modalities.training"),
}

# Module prefix -> the heavy packages it may import at the top of the file. Others may import them nowhere.
HEAVY = {
    "torch",
    "ray",
    "transformers",
    "diffusers",
    "tokenizers",
    "pydantic",
    "yaml",
    "typer",
    "rich",
    "PIL",
    "pyarrow",
    "torchaudio",
    "open3d",
    "av",
    "imageio",
    "soundfile",
    "trimesh",
    "scipy",
    "sklearn",
}
OUTSIDE: dict[str, set[str]] = {
    "modalities.catalog": set(),
    "modalities.weights.class_list": set(),
    "modalities.weights.configuration": set(),
    "modalities.weights.described": set(),
    "modalities.weights.description": set(),
    "modalities.weights.headers": set(),
    "modalities.weights.lumina_folders": set(),
    "modalities.weights.sources": set(),
    "modalities.generators.nextdit.config": set(),
    "modalities.generators.nextdit.layouts": set(),
    "modalities.generators.nextdit.cost": set(),
    "modalities.generators.flagdit.config": set(),
    "modalities.generators.flagdit.cost": set(),
    "modalities.generators.mar.config": set(),
    "modalities.generators.mar.cost": set(),
    "modalities.generators.digit.config": set(),
    "modalities.generators.digit.cost": set(),
    "modalities.weights.convert_vocoder": {"torch", "yaml"},
    "modalities.text": {"torch", "transformers", "tokenizers"},
    "modalities.codecs": {"torch", "diffusers", "torchaudio"},
    "modalities.codecs.semantic_tokens": {"torch", "transformers"},
    "modalities.training": {"torch", "PIL", "yaml", "soundfile", "scipy"},
    "modalities.training.clusters": {"torch", "sklearn"},
    "modalities.training.corpora.furniture": {"trimesh"},
    "modalities.training.corpora.turntable_views": {"torch", "open3d"},
    "modalities": {"torch"},
    "orchestrator.stages": {"torch"},
    "orchestrator.exporters": {"torch", "PIL", "soundfile", "av", "imageio"},
    "orchestrator.exporters.point_mesh": {"open3d"},
    "orchestrator.executors": {"torch"},
    "orchestrator.executors.ray": {"torch", "ray"},
    "orchestrator": {"pydantic", "yaml", "typer", "rich", "PIL", "pyarrow"},
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Every module a file imports, function-local ones included, type-checking blocks left out."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the whole path"
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


def row(table: dict, module: str) -> str:
    matching = [prefix for prefix in table if module == prefix or module.startswith(prefix + ".")]
    return max(matching, key=len) if matching else ""


def within(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_internal_imports_follow_the_rows(path: Path):
    module = module_name(path)
    own = row(ROWS, module)
    if not own:
        pytest.skip("a package marker") if path.name == "__init__.py" else pytest.fail(f"{module}: add it to ROWS")
    for imported in imports(path):
        if imported.split(".")[0] not in ("modalities", "orchestrator"):
            continue
        allowed = (own, *ROWS[own])
        assert any(within(imported, prefix) for prefix in allowed), f"{module} imports {imported}; allowed: {allowed}"


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_outside_imports_follow_the_rows(path: Path):
    module = module_name(path)
    own = row(OUTSIDE, module)
    heavy = {name.split(".")[0] for name in imports(path)} & HEAVY
    assert heavy <= OUTSIDE.get(own, set()), (
        f"{module} imports {heavy - OUTSIDE[own]}; row `{own}` allows {OUTSIDE[own]}"
    )


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files_stay_readable(path: Path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 400, f"{len(lines)} lines; split by concept"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 60, f"{node.name} has {length} lines"
    assert path.stem not in {"utils", "helpers", "manager", "common", "misc"}


@pytest.mark.parametrize(
    "module",
    ["orchestrator.spec", "orchestrator.plan", "orchestrator.errors", "orchestrator.__main__", "modalities.catalog"],
)
def test_planning_imports_neither_torch_nor_ray(module: str):
    code = f"import sys, {module}; print([m for m in ('torch', 'ray', 'transformers') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_every_catalog_name_resolves():
    from modalities import catalog as modality_catalog
    from orchestrator import catalog as orchestrator_catalog

    for table, entries in modality_catalog.TABLES.items():
        for name in entries:
            assert modality_catalog.resolve(table, name) is not None
    for entries in (orchestrator_catalog.STAGES, orchestrator_catalog.EXECUTORS, orchestrator_catalog.EXPORTERS):
        for name in entries:
            assert orchestrator_catalog.resolve(entries, name) is not None


def test_every_sampler_states_its_order():
    from modalities.catalog import SAMPLERS

    for name, entry in SAMPLERS.items():
        assert {"order", "evaluations"} <= set(entry.facts), f"sampler {name}: state its order and evaluations a step"


def test_the_top_level_holds_only_what_the_design_names():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    top = {name.split("/")[0] for name in tracked if not name.startswith(".")}
    folders = {"orchestrator", "modalities", "workflows", "tests", "benchmarks", "docs"}
    files = {"pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "LICENSE", "THIRD_PARTY.md"}
    assert top <= folders | files
