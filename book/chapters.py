"""The chapters: their list, which are stale, and how one is executed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import papermill
from cleaning import clean
from papermill.exceptions import PapermillExecutionError, strip_color
from traitlets.config import Config

from ddllib.errors import DDLError
from ddllib.io.files import writing
from ddllib.io.reading import read_json, read_yaml
from ddllib.paths import find_path
from ddllib.settings import check_names


@dataclass(frozen=True)
class Layout:
    """The paths of one build; ``out`` is ``_build`` of the project, or a folder of a test."""

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
        """The folder of runs, which one chapter leaves for the next."""
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
        names = [entry[key] for key in ("root", "file") if key in entry]
        children = [e for key in ("parts", "chapters", "sections") for e in entry.get(key, [])]
        return names + [page for e in children for page in walk(e)]

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
    """The source files, YAML files and versions that chapters depend on."""
    folders = ("ddllib", "data_prep", "book/studies")
    modules = [path for name in folders for path in (root / name).rglob("*.py")]
    templates = (root / "ddllib").rglob("*.html")
    values = [
        path
        for folder in ("book", "book/profiles", "book/experiments", "data_prep/facts")
        for path in (root / folder).glob("*.yaml")
    ]
    return [*modules, *templates, *values, *root.glob("constraints.txt")]


def fingerprints(layout: Layout) -> dict[str, str]:
    """For each chapter a digest of everything that its outputs depend on.

    A chapter uses results of the earlier ones, so it depends on their code too, but not on their
    prose.
    """
    results = (p for p in (layout.root / "book" / "results").rglob("*") if p.is_file())
    profile = [layout.profile_file] if layout.profile_file.is_file() else []
    common = digest(layout.root, {*library_files(layout.root), *results, *profile})
    places = [os.environ.get(name, "") for name in ("DDL_DATA", "DDL_RUNS")]
    places.append(footage_state(layout))
    sources = [p.read_text() for p in (Path(__file__), Path(__file__).with_name("cleaning.py"))]
    chain = hashlib.sha256(repr([common, places, sources, sys.version]).encode())
    digests = {}
    for page in notebooks(layout):
        state = chain.copy()
        state.update(layout.source(page).read_bytes())
        digests[page] = state.hexdigest()
        cells = [cell.source for cell in _read(layout, page).cells if cell.cell_type == "code"]
        chain.update(repr(cells).encode())
    return digests


def footage_state(layout: Layout) -> str:
    """A digest of the names, sizes and times of the profile's footage; empty where there is none.

    Generated scenes have no footage folder; they depend only on code.
    """
    file = layout.profile_file
    values = read_yaml(file) if file.is_file() else None
    data = values.get("data") if isinstance(values, dict) else None
    try:
        place = find_path(data) if isinstance(data, str) else None
    except DDLError:  # a generated scene, or missing footage
        place = None
    if place is None:
        return ""
    files = (path for path in [place, *sorted(place.rglob("*"))] if path.is_file())
    facts = ((path.as_posix(), path.stat()) for path in files)
    lines = [f"{name} {state.st_size} {state.st_mtime_ns}" for name, state in facts]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def stale(layout: Layout, marks: dict[str, str], force: bool = False) -> set[str]:
    """The chapters that must run: changed, never run, or all where the folder of runs is missing.

    Chapters whose executed copy is damaged or was edited must run too.
    """
    seals = {} if force else _read_seals(layout)
    stale_pages = {p for p in marks if seals.get(p) != _seal(layout, p, marks[p])}
    return set(marks) if stale_pages and not layout.runs.is_dir() else stale_pages


def _read_seals(layout: Layout) -> dict[str, str]:
    """The stored seals of the executed chapters; empty where the file is missing or damaged."""
    try:
        return read_json(layout.fingerprints, "fingerprints", "every chapter runs")
    except DDLError:
        return {}


def _seal(layout: Layout, page: str, mark: str) -> str:
    """A chapter's fingerprint with the digest of its executed copy."""
    path = layout.executed(page)
    copy = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "none"
    return f"{mark} {copy}"


def remember(layout: Layout, page: str, mark: str) -> None:
    """Store that ``page`` ran with this fingerprint, so that a stopped build resumes here."""
    seals = {**_read_seals(layout), page: _seal(layout, page, mark)}
    with writing(layout.fingerprints) as file:
        file.write(json.dumps(seals, indent=1).encode())


def check_parameters(layout: Layout, page: str) -> None:
    """Raise ``DDLError`` for unknown parameters, of which papermill only warns."""
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


def profile_of(layout: Layout, page: str) -> str:
    """The profile that a chapter runs with.

    It is the build's. A chapter of another method has a default such as `stpa-demo` instead of
    `demo`; it runs with `stpa-` before the build's where there is such a profile, else as it is.
    """
    parameters = papermill.inspect_notebook(str(layout.source(page)))
    own = parameters["profile"]["default"].strip("\"'")
    name = own.removesuffix("demo") + layout.profile
    known = any((place / f"{name}.yaml").is_file() for place in layout.profile_places)
    return name if known or own == "demo" else own


def execute(layout: Layout, page: str) -> None:
    """Run one chapter in its own folder, as JupyterLab does, and keep its cleaned copy.

    A chapter that fails raises ``DDLError``; the notebook up to the failure and the traceback are
    left in ``failed/`` of the build folder, and an earlier executed copy stays.
    """
    source, running = layout.source(page), layout.out / "running" / f"{page}.ipynb"
    running.parent.mkdir(parents=True, exist_ok=True)
    find_own_kernel()
    try:
        with _sockets_in_a_folder() as config:
            papermill.execute_notebook(
                str(source.resolve()),
                str(running.resolve()),
                parameters={"profile": profile_of(layout, page)},
                kernel_name="python3",
                cwd=str(source.parent.resolve()),
                progress_bar=False,
                extra_arguments=["--log-level=CRITICAL"],  # of the kernel, not of the cells
                config=config,
            )
    except Exception as error:  # a failed cell, a dead kernel, a full disk: all end the build
        raise DDLError(_keep_failure(layout, page, running, error)) from error
    notebook = clean(nbformat.read(running, as_version=4), layout.root.resolve())
    with writing(layout.executed(page)) as file:
        file.write(nbformat.writes(notebook).encode())
    running.unlink()


@contextlib.contextmanager
def _sockets_in_a_folder() -> Iterator[Config]:
    """The configuration of a kernel that is reached by sockets in a folder of its own.

    With the usual TCP, two kernels that start at the same time may choose the same port. The folder
    is a temporary one, as a socket's path has to be shorter than 108 characters.
    """
    with tempfile.TemporaryDirectory(prefix="ddl-") as folder:
        yield Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})


def find_own_kernel() -> None:
    """Search kernels in this environment first, since others may lack the packages."""
    own_folder = str(Path(sys.prefix) / "share" / "jupyter")
    other_folders = os.environ.get("JUPYTER_PATH", "").split(os.pathsep)
    places = dict.fromkeys([own_folder, *filter(None, other_folders)])
    os.environ["JUPYTER_PATH"] = os.pathsep.join(places)


def _keep_failure(layout: Layout, page: str, running: Path, error: Exception) -> str:
    """Move the notebook to ``failed/`` and write a log; returns the error in one line."""
    copy = layout.out / "failed" / f"{page}.ipynb"
    copy.parent.mkdir(parents=True, exist_ok=True)
    log = copy.with_suffix(".log")
    log.write_text(strip_color(str(error)))
    if running.is_file():
        with contextlib.suppress(OSError):
            shutil.move(running, copy)
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, PapermillExecutionError):
        reason = f"In [{error.exec_count}] {error.ename}: {error.evalue}"
    reason = next((line for line in strip_color(reason).splitlines() if line.strip()), "failed")
    return f"{page}.ipynb: {reason} (see {os.path.relpath(log, layout.root)})"


def _read(layout: Layout, page: str):
    try:
        return nbformat.read(layout.source(page), as_version=4)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise DDLError(f"{page}.ipynb: not a notebook ({reason}); restore the file") from error
