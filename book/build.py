"""Run the chapters that have changed and build the site from all of them.

    .venv/bin/python book/build.py [--profile demo] [--force]

Executed chapters lie in ``_build/executed``, the site in ``_build/html``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import chapters
from chapters import Layout
from cleaning import stored_numbers
from publishing import publish

from ddllib.io.commands import run_command
from ddllib.io.files import disk_faults

__all__ = ["Layout", "build", "run_chapters", "stored_numbers"]

ROOT = Path(__file__).resolve().parent.parent
# The first chapter after those that train. From it on most chapters read records, on one core.
READS_RECORDS = "book/07-what-matters"


def run_chapters(layout: Layout, force: bool = False) -> tuple[int, int]:
    """Execute the stale chapters; returns how many ran and how many were unchanged.

    They run in reading order, as each uses the runs of those before it. Chapters of another method
    have runs of their own: they run beside ``READS_RECORDS`` and the chapters after it. Then each
    kernel has one thread, since the threads of two kernels would wait for one another.
    """
    # Otherwise each kernel prints three lines of warning about the debugger.
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    chapters.check_profile(layout)
    fingerprints = chapters.fingerprints(layout)
    for page in fingerprints:
        chapters.check_parameters(layout, page)
    shutil.rmtree(layout.out / "failed", ignore_errors=True)
    stale = chapters.stale(layout, fingerprints, force)
    changed = [page for page in fingerprints if page in stale]
    others = [page for page in changed if chapters.profile_of(layout, page) != layout.profile]
    start = READS_RECORDS if READS_RECORDS in fingerprints else next(iter(fingerprints), None)
    beside: dict[str, Future] = {}
    spawn = get_context("spawn")  # a copy of this process could hold locks of its kernels
    with ProcessPoolExecutor(1, spawn) as pool:
        try:
            for page, fingerprint in fingerprints.items():
                if page == start:
                    beside = {p: pool.submit(_execute, layout, p, True) for p in others}
                    for other in beside:
                        print(f"{Path(other).name}: running beside the others", flush=True)
                _raise_failures(beside)
                if page not in stale:
                    print(f"{Path(page).name}: unchanged", flush=True)
                elif page not in others:
                    print(f"{Path(page).name}: running", flush=True)
                    _finish(layout, page, fingerprint, _execute(layout, page, bool(beside)))
        finally:  # after a failure, too, what runs beside is finished and kept
            pool.shutdown(cancel_futures=True)
            for page, seconds in beside.items():
                if not seconds.cancelled():
                    _finish(layout, page, fingerprints[page], seconds.result())
    return len(stale), len(fingerprints) - len(stale)


def _execute(layout: Layout, page: str, one_thread: bool) -> float:
    """Execute a chapter, with ``one_thread`` if so wished; returns the seconds that it took."""
    start = time.monotonic()
    with _one_thread() if one_thread else contextlib.nullcontext():
        chapters.execute(layout, page)
    return time.monotonic() - start


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let kernels that start within use one thread for their computations."""
    name = "OMP_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def _finish(layout: Layout, page: str, fingerprint: str, seconds: float) -> None:
    chapters.remember(layout, page, fingerprint)
    print(f"{Path(page).name}: ran in {seconds:.0f} s", flush=True)


def _raise_failures(beside: Mapping[str, Future]) -> None:
    """Raise the error of a chapter beside the others that has failed already."""
    for future in beside.values():
        if future.done():
            future.result()


def build(layout: Layout, force: bool = False) -> None:
    """Run chapters and build the site; if anything fails, raises and keeps the earlier site."""
    with disk_faults(layout.out):
        ran, unchanged = run_chapters(layout, force)
        state = "built" if publish(layout) else "unchanged"
    page = os.path.relpath(layout.out / "html" / "index.html", layout.root)
    if not ran:
        print("no chapter has changed: nothing is trained again")
    print(f"{ran} chapters run, {unchanged} unchanged; site {state}: {page}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="demo", help="a file of book/profiles, by its stem")
    parser.add_argument("--force", action="store_true", help="run unchanged chapters too")
    options = parser.parse_args()
    layout = Layout(ROOT, ROOT / "_build", options.profile)
    return run_command("book/build.py", lambda: build(layout, options.force))


if __name__ == "__main__":
    sys.exit(main())
