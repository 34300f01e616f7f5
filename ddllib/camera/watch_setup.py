"""Prepare ``python -m ddllib watch``: load the run, its settings and the facts of its footage."""

from __future__ import annotations

import argparse
import contextlib
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ddllib import checkpoints
from ddllib.camera import assembly, handover
from ddllib.camera.handover import Handover, Known
from ddllib.data import Prepared, load_prepared
from ddllib.errors import DDLError
from ddllib.export.runtime import OpenVinoModel
from ddllib.ignore import load_ignore, path_or_boxes
from ddllib.methods import with_settings
from ddllib.paths import runs_root
from ddllib.runs import Run
from ddllib.settings import RUNS_NAMED, Settings, load_profile
from ddllib.streaming import StreamScorer
from ddllib.training import load_run


@dataclass(frozen=True)
class SetUp:
    """A run to watch with.

    ``run.settings`` include the command's options, ``own`` do not. ``kept`` are the contents of the
    files in the run's folder (``handover``); None in an older folder, then ``data`` is its prepared
    data.
    """

    run: Run
    own: Settings
    known: Known
    kept: Handover | None = None
    data: Prepared | None = None

    def keep(self) -> None:
        """Write the files of ``handover`` into an older run's folder, so that it can be copied."""
        names = ("patch", "ignore", "precision")
        same = all(getattr(self.run.settings, name) == getattr(self.own, name) for name in names)
        if self.data and same:  # no option changes the scores of normal footage
            scores = assembly.normal_scores(self.own, self.data, self.run)
            assembly.hand_over(self.own, self.data, self.run, scores)

    def scorer(self, backend: str) -> StreamScorer:
        """What scores the frames; ``backend`` computes its model (``choices.BACKENDS``).

        Raises ``DDLError`` for a model that the backend cannot compute.
        """
        scorer, run = assembly.scorer(self.run.settings, self.known, self.run), self.run
        if backend == "openvino":
            scorer.model = OpenVinoModel(run.model, self.known.size, run.precision)
        return scorer

    def notes(self) -> Iterator[str]:
        """Lines on what has changed since the run was trained."""
        files, known, run = self.kept, self.known, self.run
        has_scores = bool(files) and files.has_scores_for(run.settings, known, run)
        changed = files.changed(self.own) if files else []
        if changed:
            yield (
                f"note: changed in the profile {self.own.profile} since this run was trained: "
                f"{', '.join(changed)}; the run's own values count; run chapter 5 again to take "
                "the new ones"
            )
        if _digest_of(known) not in (None, checkpoints.trained_on(run.folder)):
            yield (
                "note: the prepared footage has changed since this run was trained; the threshold "
                f"is by {'what it was trained on' if has_scores else 'what is there now'}; train "
                "on it (start_from)"
            )
        if has_scores and files.precision != run.precision:
            yield (
                f"note: the threshold is by scores in {files.precision}, frames are scored in "
                f"{run.precision}"
            )


def rate_notes(chosen_at: float, watched_at: float) -> Iterator[str]:
    """A line where a watch has other frames per second than the footage of its threshold."""
    if watched_at != chosen_at:
        yield (
            f"note: chosen at {chosen_at:g} frames per second, watched at {watched_at:g}: what "
            "moves looks faster or slower than normal"
        )


def set_up(options: argparse.Namespace, load: Callable[[Path], Run] = load_run) -> SetUp:
    """Load what the command's options ask for; ``load`` gives the trained run of a folder.

    The files in the run's folder (``handover``) take precedence over prepared data and profile. An
    older run has no such files and needs both.
    """
    run = load(run_folder(options.run))
    files = handover.read(run.folder)
    if files:
        own, known, data = replace(run.settings, **_watchable(files)), files.known, None
    else:
        own, data = _as_its_profile(run.settings), _prepared_of(run)
        known = handover.known_of(own, data)
    settings = with_options(own, options)
    if options.ignore is not None:
        known = replace(known, ignored=load_ignore(settings.ignore, known.size))
    return SetUp(with_settings(run, settings), own, known, files, data)


def run_folder(place: Path) -> Path:
    """The folder of a trained run: ``place`` itself, or the only run in it.

    Raises ``DDLError`` if there is none, or more than one.
    """
    if checkpoints.exists(place):
        return place
    runs = sorted(p for p in place.glob("*") if checkpoints.exists(p)) if place.is_dir() else []
    runs = [path for path in runs if ".old-" not in path.name] or runs
    if len(runs) == 1:
        return runs[0]
    names = [path.name for path in runs[:RUNS_NAMED]] + ["..."] * (len(runs) > RUNS_NAMED)
    if runs:
        raise DDLError(f"{place}: holds several runs; give one of them: {', '.join(names)}")
    raise DDLError(
        f"{place}: no checkpoint in it; give the folder of a trained run{_suggestions(place)}"
    )


def _suggestions(place: Path) -> str:
    """Runs that the user may have meant: those beside the folder, else all."""
    beside = sorted(place.parent.glob(f"*/{checkpoints.NAME}"))
    paths = beside or sorted(runs_root().glob(f"*/*/{checkpoints.NAME}"))
    names = ", ".join(shlex.quote(str(path.parent)) for path in paths[:RUNS_NAMED])
    return f", such as {names}" if names else ""


def with_options(settings: Settings, options: argparse.Namespace) -> Settings:
    """The settings, changed by the command's options."""
    values = {
        "patch": options.patch,
        "alarms_per_hour": options.alarms,
        "precision": options.precision,
    }
    values = {name: value for name, value in values.items() if value is not None}
    if options.ignore is not None:
        values["ignore"] = None if options.ignore == "none" else path_or_boxes(options.ignore)
    return replace(settings, watch=options.source, watch_minutes=options.minutes, **values)


def _digest_of(known: Known) -> str | None:
    """``training_digest`` of the prepared data beside the run now; None if there is none."""
    if known.prepared:
        with contextlib.suppress(DDLError):  # damaged data is no error: the watch does not need it
            return load_prepared(known.prepared).training_digest
    return None


def _watchable(files: Handover) -> dict:
    """The kept settings; a protocol that needs whole clips is replaced by the default one."""
    live = files.values["protocol"] in assembly.PROTOCOLS
    return {**files.values, "protocol": files.values["protocol"] if live else Settings().protocol}


def _as_its_profile(settings: Settings) -> Settings:
    """The run's settings with the patch, mask and rate of alarms of its profile.

    A checkpoint does not hold these three, as they do not shape the weights.
    """
    profile = load_profile(settings.profile)
    names = ("patch", "ignore", "alarms_per_hour")
    return replace(settings, **{name: getattr(profile, name) for name in names})


def _prepared_of(run: Run) -> Prepared:
    """The prepared data of an older run: the folder beside it that its profile names.

    If the profile was changed and names another folder, the data with the digest of the run's
    training footage is looked for.
    """
    parent, digest = run.folder.resolve().parent, checkpoints.trained_on(run.folder)
    expected = parent / run.settings.prepared_folder.name
    if (expected / "manifest.json").is_file():
        return load_prepared(expected)
    for place in sorted(parent.glob("prepared*/manifest.json")):
        with contextlib.suppress(DDLError):
            data = load_prepared(place.parent)
            if data.training_digest == digest:
                return data
    raise DDLError(
        f"{run.folder}: holds no {handover.NAME}, and its prepared data {expected.name} is not "
        "beside it; expected one of them; run chapter 5 where it was trained, with a "
        "threshold_share above 0, then copy its whole folder"
    )
