"""From executed chapters to the site: a staging folder, Jupyter Book, and one swap at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from chapters import Layout, digest, library_files, notebooks, pages
from papermill.exceptions import strip_color

from ddllib.errors import DDLError

# What the root holds of the book: its two files, and the table of results that the cover shows.
_ROOT = ("_config.yml", "_toc.yml", "README.md")
# What pages draw on beside the notebooks; records' arrays are read by chapters, not by pages,
# whose tables link to what a record says.
_RECORD = "run.json"
_SUFFIXES = {".md", ".bib", ".png", ".jpg", ".jpeg", ".svg", ".gif", ".css"}


def publish(layout: Layout) -> bool:
    """Build the site where anything it shows has changed; True if it was built.

    The earlier site stays until the new one is complete: built without a warning, and with
    every page of ``_toc.yml``.
    """
    stage, site = layout.out / "stage", layout.out / "html"
    _fill_stage(layout, stage)
    mark = digest(layout.root, library_files(layout.root)) + digest(
        stage, (p for p in stage.rglob("*") if p.is_file())
    )
    note = layout.out / "html.fingerprint"
    if note.is_file() and note.read_text() == mark and not missing_pages(layout.root, site):
        return False
    fresh = layout.out / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    _jupyter_book(layout, stage, fresh)
    built = fresh / "_build" / "html"
    absent = missing_pages(layout.root, built)
    if absent:
        raise DDLError(f"_toc.yml: no page was built for {', '.join(absent)}; does the file exist?")
    for record in stage.rglob(_RECORD):
        _copy(record, built / record.relative_to(stage))
    note.unlink(missing_ok=True)
    _swap(built, site)
    note.write_text(mark)
    shutil.rmtree(fresh)
    return True


def missing_pages(root: Path, site: Path) -> list[str]:
    """The pages of ``_toc.yml``, and the front door, that ``site`` lacks."""
    return [page for page in ["index", *pages(root)] if not (site / f"{page}.html").is_file()]


def _fill_stage(layout: Layout, stage: Path) -> None:
    """Lay the executed chapters out under the sources' own paths, beside all they refer to."""
    shutil.rmtree(stage, ignore_errors=True)
    beside = (p for p in (layout.root / "book").rglob("*") if p.suffix in _SUFFIXES)
    records = (layout.root / "book" / "results").rglob(_RECORD)
    for path in [*(layout.root / name for name in _ROOT), *beside, *records]:
        _copy(path, stage / path.relative_to(layout.root))
    for page in notebooks(layout):
        _copy(layout.executed(page), stage / f"{page}.ipynb")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _jupyter_book(layout: Layout, stage: Path, fresh: Path) -> None:
    """Jupyter Book 1 with warnings as errors; its output goes to ``site.log``."""
    call = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    options = ["--path-output", str(fresh.resolve()), "-n", "-W", "--keep-going"]
    done = subprocess.run(
        [sys.executable, "-c", call, "build", str(stage.resolve()), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log, text = layout.out / "site.log", strip_color(done.stdout)
    log.write_text(text)
    if done.returncode:
        for line in text.splitlines():
            if "WARNING" in line or "ERROR" in line:
                for folder in (stage.resolve(), layout.root.resolve()):
                    line = line.replace(f"{folder}{os.sep}", "")
                print(line, file=sys.stderr)
        where = os.path.relpath(log, layout.root)
        raise DDLError(f"Jupyter Book did not build the site; mend the lines above (see {where})")


def _swap(built: Path, site: Path) -> None:
    """Put ``built`` in the place of ``site``; the old one goes only then."""
    old = site.with_name("html.old")
    shutil.rmtree(old, ignore_errors=True)
    if site.exists():
        site.rename(old)
    built.rename(site)
    shutil.rmtree(old, ignore_errors=True)
