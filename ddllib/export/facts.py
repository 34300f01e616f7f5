"""What an exported file says of itself: what goes in, what comes out, and the threshold."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from ddllib.camera import assembly
from ddllib.camera.listener import filter_name
from ddllib.camera.thresholds import Threshold
from ddllib.camera.watch_setup import SetUp
from ddllib.scoring import Scorer

PACKAGE = "ddl-executable-edition"


def facts_of(ready: SetUp, scorer: Scorer) -> dict[str, str]:
    """Facts by name, each as text: numbers and lists as JSON writes them.

    ``frames`` is T, ``scored_frame`` counts from 0 within the window. ``threshold`` and what
    belongs to it are there if the run's folder keeps scores of normal footage by this patch, mask
    and score; it is for scores filtered over time by ``filter``.
    """
    known, settings = ready.known, ready.run.settings
    facts = {
        "project": PACKAGE,
        "version": _version(),
        "run": ready.run.folder.resolve().name,
        "method": settings.method,
        "score": settings.score,
        "patch": scorer.patch,
        "frames": scorer.model.temporal,
        "scored_frame": scorer.before,
        "channels": known.channels,
        "colour": "grey" if known.channels == 1 else "RGB",
        "height": known.size[0],
        "width": known.size[1],
        "values": "uint8, 0 to 255",
        "resize": "bilinear, the aspect ratio is not kept",
        "frames_per_second": assembly.frame_rate(settings, known),
        "ignored": 0.0 if scorer.ignore is None else float(scorer.ignore.mean()),
    }
    if known.levels:  # of 16-bit footage: what became 0 and 255
        facts["levels"] = list(known.levels)
    chosen = _threshold(ready)
    if chosen:
        facts["threshold"], facts["release"] = chosen.value, chosen.release
        facts["alarms_per_hour"] = settings.alarms_per_hour
        facts["filter"] = filter_name(assembly.smoother(settings))
    return {name: v if isinstance(v, str) else json.dumps(v) for name, v in facts.items()}


def _threshold(ready: SetUp) -> Threshold | None:
    """The threshold by the scores that the run's folder keeps, None if it keeps none that fit."""
    if not ready.kept:
        return None
    settings, known = ready.run.settings, ready.known
    # Scores in another precision will do, as for a watch on a machine without the footage.
    run = replace(ready.run, precision=ready.kept.precision)
    if not ready.kept.has_scores_for(settings, known, run):
        return None
    return assembly.threshold(settings, known, run)


def _version() -> str:
    try:
        return version(PACKAGE)
    except PackageNotFoundError:  # a tree that was copied, without an installation
        return "unknown"
