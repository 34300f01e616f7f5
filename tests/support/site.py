"""Fixtures: the real chapters run under the profile `tiny`, and the site built from them."""

from __future__ import annotations

from pathlib import Path

import pytest
from build import run_chapters
from chapters import Layout
from publishing import publish

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def executed_chapters(tmp_path_factory) -> Layout:
    """Where the executed chapters lie: ``stored_numbers(executed_chapters.executed(page))``.

    Runs and build are kept in a temporary folder, apart from the user's own.
    """
    folder = tmp_path_factory.mktemp("book")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DDL_RUNS", str(folder / "runs"))
        layout = Layout(ROOT, folder / "_build", "tiny")
        run_chapters(layout)
    return layout


@pytest.fixture(scope="session")
def site(executed_chapters) -> Path:
    """The folder of HTML pages built from the executed chapters."""
    publish(executed_chapters)
    return executed_chapters.out / "html"
