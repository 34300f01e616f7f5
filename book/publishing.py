"""From executed chapters to the site: a staging folder, Jupyter Book, and one swap at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import yaml
from api_list import api_pages
from chapters import Layout, digest, library_files, notebooks, pages
from page_parts import add_alt_texts, lighten_figures, move_media
from papermill.exceptions import strip_color

from ddllib.errors import DDLError
from ddllib.io.reading import read_yaml

# Files of the root that the book needs; the cover shows README.md's table of results.
_ROOT_FILES = ("_config.yml", "README.md")
_API = "book/api"  # the page below which those of the rooms stand
# Files that pages use beside the notebooks. Tables link to files of records: run.json, the arrays
# from which an AUC is computed again, and the weights that a few records have.
_RECORD_FILE = "run.json"
_ARRAY_FILES = ("scores.npz", "labels.npz", "weights.safetensors")
_SUFFIXES = {".md", ".bib", ".png", ".jpg", ".jpeg", ".svg", ".gif", ".css", ".js"}
_EXTENSION = "book/sphinx_site.py"
_MEDIA = "book/media"  # pictures and videos that HTML of the chapters refers to


def publish(layout: Layout) -> bool:
    """Build the site where anything it shows has changed; True if it was built.

    The earlier site stays until the new one is complete: built without a warning, and with
    every page of ``_toc.yml``.
    """
    stage, site = layout.out / "stage", layout.out / "html"
    _fill_stage(layout, stage)
    fingerprint = digest(layout.root, library_files(layout.root)) + digest(
        stage, (p for p in stage.rglob("*") if p.is_file())
    )
    fingerprint_file = layout.out / "html.fingerprint"
    previous = fingerprint_file.read_text() if fingerprint_file.is_file() else None
    if previous == fingerprint and not missing_pages(layout.root, site):
        return False
    output = layout.out / "fresh"
    shutil.rmtree(output, ignore_errors=True)
    _jupyter_book(layout, stage, output)
    built = output / "_build" / "html"
    missing = missing_pages(layout.root, built)
    if missing:
        raise DDLError(
            f"_toc.yml: no page was built for {', '.join(missing)}; does the file exist?"
        )
    for path in [*stage.rglob(_RECORD_FILE), *(stage / _MEDIA).glob("*")]:
        _copy(path, built / path.relative_to(stage))
    _copy_arrays(layout.root, built)
    fingerprint_file.unlink(missing_ok=True)
    _swap(built, site)
    fingerprint_file.write_text(fingerprint)
    shutil.rmtree(output)
    return True


def missing_pages(root: Path, site: Path) -> list[str]:
    """The pages of ``_toc.yml``, and the index, that ``site`` lacks."""
    return [page for page in ["index", *pages(root)] if not (site / f"{page}.html").is_file()]


def _fill_stage(layout: Layout, stage: Path) -> None:
    """Copy the executed chapters, and the files they refer to, under the sources' paths."""
    shutil.rmtree(stage, ignore_errors=True)
    assets = (p for p in (layout.root / "book").rglob("*") if p.suffix in _SUFFIXES)
    records = (layout.root / "book" / "results").rglob(_RECORD_FILE)
    for path in [*(layout.root / name for name in _ROOT_FILES), *assets, *records]:
        _copy(path, stage / path.relative_to(layout.root))
    if (layout.root / _EXTENSION).is_file():
        _copy(layout.root / _EXTENSION, stage / _EXTENSION)
    for page in notebooks(layout):
        notebook = nbformat.read(layout.executed(page), as_version=4)
        move_media(notebook, stage / _MEDIA)
        add_alt_texts(notebook)
        lighten_figures(notebook)
        path = stage / f"{page}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(nbformat.writes(notebook), "utf-8")
    _add_api(layout.root, stage)


def _add_api(root: Path, stage: Path) -> None:
    """Write the API's pages and the table of contents, which has them below ``book/api``."""
    toc: dict = read_yaml(root / "_toc.yml")
    entries = [entry for part in toc.get("parts", []) for entry in part.get("chapters", [])]
    for entry in (entry for entry in entries if entry.get("file") == _API):
        pages = api_pages(root)
        (stage / _API).mkdir()
        for name, text in pages.items():
            (stage / _API / f"{name}.md").write_text(text, "utf-8")
        entry["sections"] = [{"file": f"{_API}/{name}"} for name in pages]
    (stage / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False), "utf-8")


def _copy_arrays(root: Path, built: Path) -> None:
    """Copy the scores and labels of every record to where its run.json lies on the site."""
    for record in (root / "book" / "results").rglob(_RECORD_FILE):
        for file in map(record.with_name, _ARRAY_FILES):
            if file.is_file():
                _copy(file, built / file.relative_to(root))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _jupyter_book(layout: Layout, stage: Path, output: Path) -> None:
    """Jupyter Book 1 with warnings as errors; its output goes to ``site.log``."""
    program = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    options = ["--path-output", str(output.resolve()), "-n", "-W", "--keep-going"]
    result = subprocess.run(
        [sys.executable, "-c", program, "build", str(stage.resolve()), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log, text = layout.out / "site.log", strip_color(result.stdout)
    log.write_text(text)
    if result.returncode:
        for line in text.splitlines():
            if "WARNING" in line or "ERROR" in line:
                for folder in (stage.resolve(), layout.root.resolve()):
                    line = line.replace(f"{folder}{os.sep}", "")
                print(line, file=sys.stderr)
        log_path = os.path.relpath(log, layout.root)
        raise DDLError(
            f"Jupyter Book did not build the site; mend the lines above (see {log_path})"
        )


def _swap(built: Path, site: Path) -> None:
    """Replace ``site`` by ``built``; the old site is deleted only after that."""
    old_site = site.with_name("html.old")
    shutil.rmtree(old_site, ignore_errors=True)
    if site.exists():
        site.rename(old_site)
    built.rename(site)
    shutil.rmtree(old_site, ignore_errors=True)
