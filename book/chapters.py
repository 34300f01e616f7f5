"""The chapters: which there are, which must run again, and how one is run."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
import papermill
from cleaning import clean
from papermill.exceptions import PapermillExecutionError, strip_color

from ddllib.errors import DDLError
from ddllib.files import writing
from ddllib.reading import read_json, read_yaml
from ddllib.settings import check_names, find_path


@dataclass(frozen=True)
class Layout:
    """Where one build reads and writes; ``out`` is ``_build`` of the project, or a test's own."""

    root: Path
    out: Path
    profile: str

    @property
    def profile_places(self) -> tuple[Path, Path]:
        """The project's profiles, and the user's own."""
        return self.root / "book" / "profiles", self.root / "profiles"

    @property
    def profile_file(self) -> Path:
        files = [place / f"{self.profile}.yaml" for place in self.profile_places]
        return next((file for file in files if file.is_file()), files[0])

    @property
    def runs(self) -> Path:
        """Where the chapters keep what one of them leaves for the next."""
        return self.root / os.environ.get("DDL_RUNS", "runs") / self.profile

    @property
    def fingerprints(self) -> Path:
        return self.out / "executed" / "fingerprints.json"

    def source(self, page: str) -> Path:
        return self.root / f"{page}.ipynb"

    def executed(self, page: str) -> Path:
        return self.out / "executed" / f"{page}.ipynb"


def pages(root: Path) -> list[str]:
    """Every page of ``_toc.yml`` in reading order, as a path from ``root`` without a suffix."""

    def walk(entry: dict) -> list[str]:
        own = [entry[key] for key in ("root", "file") if key in entry]
        below = [e for key in ("parts", "chapters", "sections") for e in entry.get(key, [])]
        return own + [page for e in below for page in walk(e)]

    toc = read_yaml(root / "_toc.yml")
    try:
        return walk(toc)
    except (AttributeError, TypeError):
        raise DDLError(
            "_toc.yml: no table of contents; expected format, root and parts; restore the file"
        ) from None


def notebooks(layout: Layout) -> list[str]:
    """The pages that are notebooks."""
    return [page for page in pages(layout.root) if layout.source(page).is_file()]


def digest(root: Path, files) -> str:
    """One SHA-256 over the files' names, as seen from ``root``, and contents."""
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(f"{path.relative_to(root).as_posix()}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def library_files(root: Path) -> list[Path]:
    """The sources that chapters import, the values they read, the versions that they run with."""
    modules = [p for name in ("ddllib", "data_prep") for p in (root / name).rglob("*.py")]
    values = [
        path
        for folder in ("book", "book/profiles", "book/experiments", "data_prep/facts")
        for path in (root / folder).glob("*.yaml")
    ]
    return [*modules, *values, *root.glob("constraints.txt")]


def fingerprints(layout: Layout) -> dict[str, str]:
    """For each chapter a digest of all that its outputs follow from.

    A chapter works on what the earlier ones left behind, so their code counts too; their prose
    does not.
    """
    results = (p for p in (layout.root / "book" / "results").rglob("*") if p.is_file())
    profile = [layout.profile_file] if layout.profile_file.is_file() else []
    common = digest(layout.root, {*library_files(layout.root), *results, *profile})
    places = [os.environ.get(name, "") for name in ("DDL_DATA", "DDL_RUNS")]
    places.append(footage_state(layout))
    tools = [p.read_text() for p in (Path(__file__), Path(__file__).with_name("cleaning.py"))]
    chain = hashlib.sha256(repr([common, places, tools, sys.version]).encode())
    marks = {}
    for page in notebooks(layout):
        own = chain.copy()
        own.update(layout.source(page).read_bytes())
        marks[page] = own.hexdigest()
        code = [cell.source for cell in _read(layout, page).cells if cell.cell_type == "code"]
        chain.update(repr(code).encode())
    return marks


def footage_state(layout: Layout) -> str:
    """A digest of the names, sizes and times of the profile's footage; empty where there is none.

    A generated scene follows from code.
    """
    file = layout.profile_file
    values = read_yaml(file) if file.is_file() else None
    data = values.get("data") if isinstance(values, dict) else None
    try:
        place = find_path(data) if isinstance(data, str) else None
    except DDLError:  # generated, or not here
        place = None
    if place is None:
        return ""
    files = (path for path in [place, *sorted(place.rglob("*"))] if path.is_file())
    facts = ((path.as_posix(), path.stat()) for path in files)
    lines = [f"{name} {state.st_size} {state.st_mtime_ns}" for name, state in facts]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def stale(layout: Layout, marks: dict[str, str], force: bool = False) -> set[str]:
    """The chapters that have to run: changed, never run, or all where the runs are gone.

    An executed copy that is damaged or was edited has to run again too.
    """
    known = {} if force else _known(layout)
    changed = {p for p in marks if known.get(p) != _seal(layout, p, marks[p])}
    return set(marks) if changed and not layout.runs.is_dir() else changed


def _known(layout: Layout) -> dict[str, str]:
    """What is noted of the executed chapters; nothing where the note is missing or damaged."""
    try:
        return read_json(layout.fingerprints, "fingerprints", "every chapter runs")
    except DDLError:
        return {}


def _seal(layout: Layout, page: str, mark: str) -> str:
    """What a chapter follows from and the executed copy itself, in one."""
    path = layout.executed(page)
    copy = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "none"
    return f"{mark} {copy}"


def remember(layout: Layout, page: str, mark: str) -> None:
    """Note that ``page`` ran from this state, at once, so that a stopped build goes on here."""
    known = {**_known(layout), page: _seal(layout, page, mark)}
    with writing(layout.fingerprints) as file:
        file.write(json.dumps(known, indent=1).encode())


def check_parameters(layout: Layout, page: str) -> None:
    """Papermill only warns of a parameter that no one reads; here it is an error, before a run."""
    names = set(papermill.inspect_notebook(str(layout.source(page))))
    if "profile" not in names:
        raise DDLError(
            f"{page}.ipynb: no parameter `profile`; expected it in a cell tagged `parameters`"
        )
    check_names(sorted(names), f"{page}.ipynb")


def check_profile(layout: Layout) -> None:
    """Raise ``DDLError`` where the profile does not exist or holds an unknown name."""
    path = layout.profile_file
    if not path.is_file():
        names = {p.stem for place in layout.profile_places for p in place.glob("*.yaml")}
        raise DDLError(
            f"{path.name}: no such profile in book/profiles or profiles; expected one of "
            f"{', '.join(sorted(names))}"
        )
    values = read_yaml(path) or {}
    if not isinstance(values, dict):
        raise DDLError(f"{path.name}: expected one `name: value` a line")
    check_names(values, path.name)


def execute(layout: Layout, page: str) -> None:
    """Run one chapter in its own folder, as JupyterLab does, and keep its cleaned copy.

    A chapter that fails raises ``DDLError``; the notebook up to the failure and the traceback are
    left in ``failed/`` of the build folder, and an earlier executed copy stays.
    """
    source, running = layout.source(page), layout.out / "running" / f"{page}.ipynb"
    running.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(
            str(source.resolve()),
            str(running.resolve()),
            parameters={"profile": layout.profile},
            kernel_name="python3",
            cwd=str(source.parent.resolve()),
            progress_bar=False,
            extra_arguments=["--log-level=CRITICAL"],  # the kernel's own log, not the cells' output
        )
    except Exception as error:  # a failed cell, a dead kernel, a full disk: all end the build
        raise DDLError(_keep_failure(layout, page, running, error)) from error
    notebook = clean(nbformat.read(running, as_version=4), layout.root.resolve())
    with writing(layout.executed(page)) as file:
        file.write(nbformat.writes(notebook).encode())
    running.unlink()


def _keep_failure(layout: Layout, page: str, running: Path, error: Exception) -> str:
    """Put the remains into ``failed/``; the one line that says what happened."""
    failed = layout.out / "failed" / f"{page}.ipynb"
    failed.parent.mkdir(parents=True, exist_ok=True)
    log = failed.with_suffix(".log")
    log.write_text(strip_color(str(error)))
    if running.is_file():
        with contextlib.suppress(OSError):
            shutil.move(running, failed)
    what = f"{type(error).__name__}: {error}"
    if isinstance(error, PapermillExecutionError):
        what = f"In [{error.exec_count}] {error.ename}: {error.evalue}"
    what = next((line for line in strip_color(what).splitlines() if line.strip()), "failed")
    return f"{page}.ipynb: {what} (see {os.path.relpath(log, layout.root)})"


def _read(layout: Layout, page: str):
    try:
        return nbformat.read(layout.source(page), as_version=4)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise DDLError(f"{page}.ipynb: not a notebook ({reason}); restore the file") from error
