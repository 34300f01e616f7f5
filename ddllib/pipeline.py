"""The pipeline: prepare -> train -> score -> evaluate. Each step reuses finished work."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from ddllib import checkpoints
from ddllib.calibration import calibrate
from ddllib.data import Prepared, load_prepared
from ddllib.errors import DDLError
from ddllib.evaluation import PROTOCOLS
from ddllib.fast import processes
from ddllib.ignore import load_ignore
from ddllib.io.files import disk_faults, set_aside
from ddllib.methods import method_of, with_settings
from ddllib.paths import find_path, runs_root
from ddllib.pseudo_anomalies.held_out import (
    PAIRED,
    SHOWN,
    altered_clips,
    judge_held_out,
    threshold_parts,
)
from ddllib.record_parts import (
    SCORES_SUFFIX,
    curves_of,
    data_facts,
    exhibit,
    exhibits,
    facts_of,
    ignored_pixels,
    judge_pixels,
    kept_record,
    metrics_of,
    score_once,
)
from ddllib.records import SCORED, Record, count_scoring, read_record, write_record
from ddllib.runs import Run
from ddllib.scoring import Scorer
from ddllib.settings import Settings, load_profile
from ddllib.training import fit

PATIENCE = 5  # seconds to wait for another process that trains the same run
# Generated scenes by name: the chapters', two of other seeds, and a short one for tests.
SCENES = {
    "demo": {},
    "demo-1": {"seed": 1},
    "demo-2": {"seed": 2},
    "demo-short": {"training_clips": 2, "testing_clips": 2, "frames": 48},
}


def footage(settings: Settings) -> Path:
    """The folder of raw footage; a generated scene is created on first use."""
    if settings.data not in SCENES:
        return find_path(settings.data)
    from data_prep import demo

    return demo.generate(runs_root() / settings.data / "footage", **SCENES[settings.data])


def prepare(settings: Settings, progress: bool = True) -> Prepared:
    """The profile's prepared data, created on first use by ``data_prep`` and reused afterwards.

    With held-out clips, the boxes at which they are altered (``judged_by``) are prepared too, and
    the arrays beside the clips that the method takes. Without the footage, prepared data that is
    already in its folder is used. Raises ``DDLError`` where neither is there, and for settings that
    the method does not support.
    """
    if settings.held_out and judged_by(settings) != settings:
        _prepare_clips(judged_by(settings), progress)
    data = _prepare_clips(settings, progress)
    method = method_of(settings)
    beside = {"training": method.companions(settings)}
    if not settings.held_out:
        beside["testing"] = method.scoring_companions(settings)
    if any(beside.values()):
        from data_prep import companions
        from data_prep.preparing.prepared import original_footage

        def original():
            choices = settings.dataset, settings.scene, settings.frame_rate
            return original_footage(footage(settings), *choices)

        for split, names in beside.items():
            for name in names.values():
                companions.make(data.folder, name, split, progress, original)
    return data


def _prepare_clips(settings: Settings, progress: bool) -> Prepared:
    """The prepared clips and tracks."""
    window, folder = method_of(settings).window(settings), settings.prepared_folder
    try:
        source = footage(settings)
    except DDLError:
        if not (folder / "manifest.json").is_file():
            raise
        return load_prepared(folder, settings.labelling)
    from data_prep import prepare as prepare_footage

    prepare_footage(
        source,
        folder,
        size=settings.size,
        detector=settings.detector,
        weights=_weights(settings),
        progress=progress,
        dataset=settings.dataset,
        scene=settings.scene,
        frame_rate=settings.frame_rate,
        window=window,
    )
    return load_prepared(folder, settings.labelling)


def _weights(settings: Settings) -> Path | None:
    """The path of the detector's weights; None for its default file or where it has none.

    Raises ``DDLError`` where the path does not exist.
    """
    from data_prep.tracks.detectors.base import WEIGHTED

    if not settings.weights or settings.detector not in WEIGHTED:
        return None
    try:
        return find_path(settings.weights)
    except DDLError as error:
        raise DDLError(f"{error}; or give another detector, such as motion") from None


def judged_by(settings: Settings) -> Settings:
    """These settings with the profile's detector, whose boxes say where held-out clips are altered.

    So runs of one profile are evaluated on the same frames, whatever boxes they were trained on.
    """
    profile_settings = load_profile(settings.profile)
    return replace(settings, detector=profile_settings.detector, weights=profile_settings.weights)


def train(settings: Settings, data: Prepared, progress: bool = True) -> Run:
    """The trained run of these settings: resumed from its checkpoint, or trained now.

    A run in the same folder with other settings or data is renamed, never overwritten. Raises
    ``DDLError`` before any training if a test clip is shorter than a window, or ``ignore`` is not
    valid.
    """
    _check_lengths(data, method_of(settings).window(settings))
    load_ignore(settings.ignore, data.size)
    folder = settings.run_folder
    with _lock(folder):
        with processes.in_turn():
            _keep_other_run(folder, settings, data)
        run = fit(settings, data, folder, progress)
    reused = "reused, nothing to train" if settings.epochs else "nothing is learnt"
    state = "trained" if run.steps_now else reused
    print(f"{settings.profile}/{folder.name}: {state}; epochs: {run.epoch}")
    return run


def _keep_other_run(folder: Path, settings: Settings, data: Prepared) -> None:
    """Rename the folder of a run with other settings or data."""
    if checkpoints.exists(folder):
        precision = method_of(settings).precision(settings)
        differing = checkpoints.differences(folder, settings, data, precision)
        if differing:
            aside = set_aside(folder)
            print(f"{folder.name} had another {', '.join(differing)}: kept as {aside.name}")


def _lock(folder: Path):
    """A lock, so that no other run trains in the same folder; a finished run needs it briefly.

    Of processes that train one run the first takes it.
    """
    if not processes.is_first():
        return contextlib.nullcontext()
    lock = folder.parent / f".{folder.name}.lock"
    if folder.is_dir() and not os.access(folder.parent, os.W_OK):
        return contextlib.nullcontext()  # read-only: nobody can train here
    with disk_faults(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            return FileLock(lock).acquire(timeout=PATIENCE)
        except Timeout:
            raise DDLError(f"{folder}: another process trains in it; wait for its end") from None


def _check_lengths(data: Prepared, window: int) -> None:
    for name, frames in data.testing.items():
        if len(frames) < window:
            raise DDLError(
                f"test clip {name!r} of {data.folder} has {len(frames)} frames; expected at least "
                f"{window}, a window; remove the clip or lower temporal"
            )


def score(settings: Settings, data: Prepared, run: Run, progress: bool = True) -> Record:
    """Score the test clips and record the run.

    An existing record of this run is returned; where labels have changed since, its metrics are
    computed again from its scores. Raises ``DDLError`` where there is no test clip.
    """
    folder = settings.record_folder
    record = None if run.steps_now else kept_record(folder)
    if record and _is_current(record, settings, data):
        if not settings.held_out:
            return _with_new_metrics(record, settings, data)
        if record.judge == PAIRED:
            return record
    if settings.held_out:
        return _score_held_out(settings, data, run)
    check_tests(settings, data)
    started, scorer = time.perf_counter(), scorer_of(settings, data, run)
    clip_scores, arrays = {}, {}
    content, ignored = data.content("testing"), ignored_pixels(settings, data)
    names = method_of(settings).scoring_companions(settings)
    beside = {role: data.companion(name, "testing") for role, name in names.items()}
    bar = tqdm(data.testing.items(), desc="scoring", disable=not progress, mininterval=1.0)
    for name, frames in bar:
        maps = folder / "maps" / f"{name}.npy"
        key = f"{content[name]} {ignored} {scorer.patch} {scorer.score} {scorer.terms.calibration}"
        companions = {role: arrays_by_clip[name] for role, arrays_by_clip in beside.items()}
        clip_scores[name] = score_once(scorer, frames, maps, key, run.folder, companions)
        highest = int(clip_scores[name].scores.argmax())
        arrays |= exhibits(scorer, name, frames, highest, data.labels.get(name))
    scores = {name: clip.scores for name, clip in clip_scores.items()}
    facts = facts_of(settings, data, run, time.perf_counter() - started)
    facts["calibration"] = scorer.terms.calibration
    facts["metrics"] = metrics_of(settings, scores, curves_of(clip_scores), data.labels)
    facts["pixels"] = judge_pixels(folder, settings, data)
    write_record(folder, facts, scores, data.labels, arrays, curves_of(clip_scores))
    for cache in (folder / "maps").glob(f"*{SCORES_SUFFIX}"):
        cache.unlink()
    if facts["metrics"]:
        count_scoring(facts, runs_root() / SCORED.name)
    return read_record(folder)


def check_tests(settings: Settings, data: Prepared) -> None:
    """Raise ``DDLError`` where there is no test clip to score."""
    if settings.held_out:
        raise DDLError(
            f"held_out is {settings.held_out}: no test clip would be scored; leave it out here "
            "(python -m ddllib experiments compares runs by held-out clips)"
        )
    if data.testing:
        return
    source, scene = data.manifest.get("source", {}), settings.scene
    remedy = "put what is to be scored into testing/"
    if scene:
        remedy = f"leave scene out, or choose another than {scene}"
    elif isinstance(source, dict) and source.get("layout") == "plain":
        remedy = "name them in labels.csv there, or give training/ and testing/ clips of their own"
    raise DDLError(f"{settings.data}: no test clips; {remedy}")


def _score_held_out(settings: Settings, data: Prepared, run: Run) -> Record:
    """Score the altered held-out clips and record the run; test clips are not used."""
    started, clips, labels, arrays = time.perf_counter(), {}, {}, {}
    scorer, window = scorer_of(settings, data, run), method_of(settings).window(settings)
    source = judged_by(settings)
    tracks = (data if source == settings else _prepare_clips(source, progress=False)).tracks
    for name, frames, truth in altered_clips(data, settings.held_out, tracks):
        if len(frames) < window:
            raise DDLError(
                f"held-out clip {name!r} of {data.folder} has {len(frames)} frames; expected at "
                f"least {window}, a window; remove the training clip or lower temporal"
            )
        clips[name], labels[name] = scorer.clip(frames), truth
        kind, _, clip = name.partition("/")
        if kind in SHOWN and f"{kind}-index" not in arrays:
            clip = clip.split("/", 1)[1]
            middle = int(np.flatnonzero(truth).mean())
            arrays |= exhibit(scorer, kind, frames, middle)
            arrays |= exhibit(scorer, f"{kind}-normal", data.training[clip], middle)
    facts = facts_of(settings, data, run, time.perf_counter() - started)
    facts["calibration"] = scorer.terms.calibration
    facts["judge"] = PAIRED
    scores = {name: clip.scores for name, clip in clips.items()}
    facts["held_out"] = {name: judge_held_out(scores, labels, name) for name in PROTOCOLS}
    write_record(settings.record_folder, facts, scores, labels, arrays, curves_of(clips))
    return read_record(settings.record_folder)


def score_normal(
    settings: Settings, data: Prepared, run: Run, ignore: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Raw scores of normal frames that were not trained on, by training clip, for thresholds.

    They are the clips' ends, ``settings.threshold_share`` of each; float32 N. Pixels marked in
    ``ignore``, H x W, count 0; None takes those of the settings. Raises ``DDLError`` where no end
    is as long as a window.
    """
    _, ends = threshold_parts(data.training, settings.threshold_share)
    window = method_of(settings).window(settings)
    ends = {name: frames for name, frames in ends.items() if len(frames) >= window}
    if not ends:
        raise DDLError(
            f"threshold_share is {settings.threshold_share}; expected a share that keeps at least "
            f"{window} frames, a window, of some training clip, such as 0.2"
        )
    return scorer_of(settings, data, run, ignore).clips(ends)


def scorer_of(
    settings: Settings, data: Prepared, run: Run, ignore: np.ndarray | None = None
) -> Scorer:
    """The method's scorer for the trained run, with these settings' patch, terms and ``ignore``.

    What training footage decides about terms is measured once (``calibration``).

    Pixels marked in ``ignore``, H x W, count 0; None takes those of the settings.
    """
    ignore = load_ignore(settings.ignore, data.size) if ignore is None else ignore
    scorer = method_of(settings).scorer(with_settings(run, settings), ignore)
    calibrate(scorer, settings, data, run)
    return scorer


def _is_current(record: Record, settings: Settings, data: Prepared) -> bool:
    """Whether a record was made by these settings from this data.

    A record for another patch is in its own folder, which is not renamed with the run's.
    """
    same_ignored = record.facts.get("ignored") == ignored_pixels(settings, data)
    same_run = record.made_by(settings) and same_ignored
    return same_run and record.facts["data"]["digest"] == data.digest


def _with_new_metrics(record: Record, settings: Settings, data: Prepared) -> Record:
    same_labels = record.labels.keys() == data.labels.keys() and all(
        np.array_equal(record.labels[name], labels) for name, labels in data.labels.items()
    )
    metrics = metrics_of(settings, record.scores, record.terms, data.labels)
    pixels = record.facts.get("pixels") or judge_pixels(record.folder, settings, data)
    if same_labels and metrics == record.metrics and pixels == record.facts.get("pixels"):
        return record
    facts = {**record.facts, "data": data_facts(data), "metrics": metrics, "pixels": pixels}
    write_record(record.folder, facts, record.scores, data.labels, record.shown, record.terms)
    return read_record(record.folder)
