"""export: media to files in the run folder, each written aside, synced and renamed, so that none is ever half there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from orchestrator.catalog import EXPORTERS, resolve
from orchestrator.errors import StageError
from orchestrator.folder import disk_error
from orchestrator.item import Item, Sample
from orchestrator.media_files import aside_of, facts_of, put, remove, sync_folder
from orchestrator.paths import DEFAULT_TEMPLATE, fields_of, file_name
from orchestrator.stages.base import Outcome, Stage

MEDIA = "media"
"""The folder of a run folder that holds what was made."""
Writer = Callable[[Tensor, Path, Mapping[str, Any]], None]


class Export(Stage):
    """Writes media with an exporter.

    options: format (name, a name of EXPORTERS, and the options that it takes); path (a template, see
    `orchestrator.paths`); modality and rate (of the media); folder (the run folder); workflow (its text, for the
    metadata). An exporter gets the media, a path and these facts: the sample's recipe, workflow, modality, rate and
    options. writes: `file`, the facts of the manifest: path relative to the run folder, bytes, sha256; and files, their
    number, where the format writes a folder of them.
    """

    reads = frozenset({"media"})
    writes = frozenset({"file"})

    def setup(self) -> None:
        """Find the exporter."""
        name = str(self.options["format"]["name"])
        self._format_options = {key: value for key, value in self.options["format"].items() if key != "name"}
        self._write = cast(Writer, resolve(EXPORTERS, name))
        self._suffix = str(EXPORTERS[name].facts["suffix"])
        self._folder = Path(self.options["folder"])
        self._template = str(self.options.get("path") or DEFAULT_TEMPLATE)

    def process(self, items: Sequence[Item]) -> list[Outcome]:
        """Write one file, or one folder of files, per item. Raises ExecutorError when none can be written any more."""
        outcomes: list[Outcome] = []
        touched: set[Path] = set()
        for item in items:
            try:
                name = path_of(self._template, item.sample, self._suffix)
                target = self._folder / MEDIA / name
                facts = self._write_file(item, target)
                touched.add(target.parent)
                outcomes.append(item.with_values(file={"file": f"{MEDIA}/{name}", **facts}))
            except OSError as error:
                hopeless = disk_error(error, self._folder)
                if hopeless is not None:
                    raise hopeless from error
                outcomes.append(StageError(item.sample.step, item.sample.id, f"the file cannot be written: {error}"))
            except ValueError as error:
                outcomes.append(StageError(item.sample.step, item.sample.id, str(error)))
        for folder in touched:
            sync_folder(folder)
        return outcomes

    def _write_file(self, item: Item, target: Path) -> dict[str, Any]:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = aside_of(target)
        shared = {name: self.options[name] for name in ("workflow", "modality", "rate")}
        facts = {**item.values["recipe"], **shared, "options": self._format_options}
        try:
            remove(aside)
            self._write(item.values["media"], aside, facts)
            written = facts_of(aside, sync=True)
            put(aside, target)
        except BaseException:
            remove(aside)
            raise
        return written


def path_of(template: str, sample: Sample, suffix: str) -> str:
    """A sample's path below `media/`, with forward slashes. ValueError when it would leave that folder."""
    fields = fields_of(sample.id, sample.prompt_id, sample.step, sample.repetition, sample.cell, suffix)
    name = file_name(template, fields)
    if any(part in ("", "..") or part.startswith(".") for part in name.split("/")):
        raise ValueError(f"path `{template}` gives `{name}`, which is no safe place in the run folder")
    return name
