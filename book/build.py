"""Run the chapters that have changed and build the site from all of them.

    .venv/bin/python book/build.py [--profile demo] [--force]

Executed chapters lie in ``_build/executed``, the site in ``_build/html``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

import chapters
from chapters import Layout
from cleaning import stored_numbers
from publishing import publish

from ddllib.io.commands import run_command
from ddllib.io.files import disk_faults

__all__ = ["Layout", "build", "run_chapters", "stored_numbers"]

ROOT = Path(__file__).resolve().parent.parent


def run_chapters(layout: Layout, force: bool = False) -> tuple[int, int]:
    """Execute the stale chapters; returns how many ran and how many were unchanged."""
    # Otherwise each kernel prints three lines of warning about the debugger.
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    chapters.check_profile(layout)
    fingerprints = chapters.fingerprints(layout)
    for page in fingerprints:
        chapters.check_parameters(layout, page)
    shutil.rmtree(layout.out / "failed", ignore_errors=True)
    stale = chapters.stale(layout, fingerprints, force)
    for page, fingerprint in fingerprints.items():
        name = Path(page).name
        if page not in stale:
            print(f"{name}: unchanged", flush=True)
            continue
        print(f"{name}: running", flush=True)
        start = time.monotonic()
        chapters.execute(layout, page)
        chapters.remember(layout, page, fingerprint)
        print(f"{name}: ran in {time.monotonic() - start:.0f} s", flush=True)
    return len(stale), len(fingerprints) - len(stale)


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
