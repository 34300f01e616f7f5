"""From a trained run to alarms: scores of normal footage, the threshold, the listener."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ddllib import pipeline
from ddllib.calibration import calibrate
from ddllib.camera import handover
from ddllib.camera.alarms import AlarmOptions, Alarms
from ddllib.camera.drift import DriftMonitor
from ddllib.camera.handover import Known, background, ignored
from ddllib.camera.listener import filter_name
from ddllib.camera.rates import kept_rate
from ddllib.camera.running_median import RunningMedian
from ddllib.camera.thresholds import Threshold, choose_threshold, given_threshold
from ddllib.data import Prepared, load_prepared, read_manifest
from ddllib.errors import DDLError
from ddllib.evaluation import apply_protocol
from ddllib.io.files import write_whole
from ddllib.io.reading import read_array, read_arrays
from ddllib.methods import method_of, with_settings
from ddllib.paths import find_path
from ddllib.runs import Run
from ddllib.settings import Settings
from ddllib.streaming import StreamScorer

LEAST_S = 0.5  # seconds of the shortest event
MINUTE = 750  # frames in a minute of the generated walkway
MINUTES = 4  # minutes of the walkway from which a threshold is chosen
LIVE_MINUTES = 10.0  # after which a chapter stops watching a live source, which never ends
RATE_TOLERANCE = 0.02  # relative; a measured rate so close to the one asked for counts as that one
PROTOCOLS = ("raw", "median")  # those that can be computed while frames arrive


def frame_rate(settings: Settings, data: Prepared | Known | None = None) -> float:
    """Frames per second of the prepared footage: of ``data``, or else of the settings' folder.

    A slow camera gives fewer than ``settings.frame_rate`` asks for. Images in folders have no
    times: then it is the rate of the settings, else that of the scene or a usual one.
    """
    from data_prep.demo.story import FRAME_RATE
    from data_prep.footage.frames import USUAL_RATE, tidy_rate

    measured, target = _measured_rate(settings, data), settings.frame_rate
    if measured is None:
        return target or (FRAME_RATE if settings.data in pipeline.SCENES else USUAL_RATE)
    close = target and abs(measured / target - 1) <= RATE_TOLERANCE
    return target if close else tidy_rate(measured)


def _measured_rate(settings: Settings, data: Prepared | Known | None) -> float | None:
    if isinstance(data, Known):
        return data.rate
    if data:
        return kept_rate(data.manifest)
    place = settings.prepared_folder / "manifest.json"
    return kept_rate(read_manifest(place)) if place.is_file() else None


def normal_scores(settings: Settings, data: Prepared | Known, run: Run) -> dict[str, np.ndarray]:
    """Raw scores, by clip, of normal footage that the run was not trained on; float32 N.

    They are of the ends of the training clips (``threshold_share``), or of further minutes of a
    generated scene. Raises ``DDLError`` if there is neither. Scores that the run's folder keeps
    (``handover``) are used if they were computed with these settings. Others are saved in its
    ``normal``, so that a watch that is started again begins at once, with the same threshold.
    """
    files = handover.read(run.folder) if run.folder else None
    if files and files.has_scores_for(settings, data, run):
        return files.normal
    if settings.data in pipeline.SCENES and not settings.threshold_share:
        return generated_scores(settings, data, run, MINUTES)
    if isinstance(data, Known):
        mask = data.ignored
        data = _prepared_data(data, run)
    else:
        mask = ignored(settings, data)
    if run.folder is None:
        return pipeline.score_normal(settings, data, run, mask)
    footage = f"{data.training_digest} {settings.threshold_share}"
    identity = f"{scorer(settings, data, run, mask).identity} {footage}"
    path = run.folder / "normal" / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.npz"
    scores_by_clip = _saved_scores(path)
    if scores_by_clip is None:
        scores_by_clip = pipeline.score_normal(settings, data, run, mask)
        arrays = {f"{k}": scores for k, scores in enumerate(scores_by_clip.values())}
        with contextlib.suppress(OSError):  # a disk that is full or cannot be written to
            write_whole(path, partial(np.savez, names=np.array(list(scores_by_clip)), **arrays))
    return scores_by_clip


def _prepared_data(known: Known, run: Run) -> Prepared:
    """The prepared data of a run, which was copied with it or lies beside it."""
    if known.prepared:
        return load_prepared(known.prepared)
    raise DDLError(
        f"{run.folder}: keeps scores of normal footage for the patch, mask and share of its "
        "training only, and the prepared data for others is not beside it; leave --patch and "
        "--ignore out, or watch where the run was trained"
    )


def _saved_scores(path: Path) -> dict[str, np.ndarray] | None:
    """Scores by clip from a file; None if it is missing or damaged."""
    try:
        arrays = read_arrays(path, "scores of normal footage", "remove it")
        return {str(name): arrays[f"{k}"] for k, name in enumerate(arrays["names"])}
    except (DDLError, KeyError, TypeError):
        return None


def generated_scores(
    settings: Settings,
    data: Prepared | Known,
    run: Run,
    minutes: int,
    progress: bool = False,
    first: int = 0,
) -> dict[str, np.ndarray]:
    """Raw scores, float32 N by minute, of ordinary footage of the walkway that is in no split.

    ``minutes`` of them, from minute ``first`` on; each minute is generated independently. They are
    saved in ``ordinary`` of the run's folder, separately for each patch, mask and precision.
    """
    from data_prep.demo import ordinary
    from data_prep.footage.frames import to_working_size

    stream_scorer, scores_by_minute = scorer(settings, data, run), {}
    folder = run.folder / "ordinary" / stream_scorer.identity[:16]
    for index in tqdm(range(first, first + minutes), desc="scoring minutes", disable=not progress):
        path = folder / f"{index:03d}.npy"
        if not path.is_file():
            pictures = ordinary(pipeline.SCENES[settings.data].get("seed", 0), index, MINUTE)
            frames = np.stack([to_working_size(p[..., ::-1], data.size, 3) for p in pictures])
            write_whole(path, partial(np.save, arr=stream_scorer.clip(frames).scores))
        remedy = f"remove {path.name}"
        scores_by_minute[path.stem] = read_array(path, "scores of a minute", remedy)
    return scores_by_minute


def threshold(
    settings: Settings, data: Prepared | Known, run: Run, given: float | None = None
) -> Threshold:
    """The threshold for ``settings.alarms_per_hour``, by filtered scores of normal footage.

    With a ``given`` value that one, and the rate of alarms that normal footage has at it.
    If the run's folder does not hold the files for watching elsewhere yet, they are written. Raises
    ``DDLError`` for a protocol that cannot be computed while frames arrive.
    """
    if settings.protocol not in PROTOCOLS:
        raise DDLError(
            f"protocol is {settings.protocol!r}, which needs the whole clip; expected one of "
            f"{', '.join(PROTOCOLS)} to watch"
        )
    scores = normal_scores(settings, data, run)
    if isinstance(data, Prepared):
        hand_over(settings, data, run, scores)
    filtered = {name: apply_protocol(s, settings.protocol) for name, s in scores.items()}
    footage = {"frame_rate": frame_rate(settings, data), "least_s": LEAST_S, "over": 1.0}
    if given is not None:
        return given_threshold(filtered, given, **footage)
    return choose_threshold(
        filtered,
        settings.alarms_per_hour,
        held_out_share=settings.threshold_share or 1.0,
        **footage,
    )


def hand_over(settings: Settings, data: Prepared, run: Run, scores: dict[str, np.ndarray]) -> None:
    """Write into the run's folder what a watch needs (``handover``), if it is not there yet.

    A folder that cannot be written to is no error: the watch does not depend on it.
    """
    if run.folder and not (run.folder / handover.NAME).exists():
        with contextlib.suppress(DDLError, OSError):
            handover.leave(settings, data, run, scores)


def scorer(
    settings: Settings, data: Prepared | Known, run: Run, mask: np.ndarray | None = None
) -> StreamScorer:
    """The method's scorer of frames, with the patch, the terms and the ignored pixels as set.

    Pixels marked in ``mask``, H x W, are ignored; None takes those of the settings.
    """
    mask = ignored(settings, data) if mask is None else mask
    stream_scorer = method_of(settings).scorer(with_settings(run, settings), mask)
    calibrate(stream_scorer, settings, data, run)
    return stream_scorer


def open_watched(place: str | Path, data: Prepared | Known, rate: float, **wishes):
    """The source of frames to watch (``sources``), in the form of the training footage.

    It has the same size, channels and range of levels, at ``rate`` frames per second.
    """
    from data_prep.live.sources import open_source

    footage = {"channels": data.channels, "levels": data.levels, "shapes": data.shapes}
    return open_source(place, data.size, rate=rate, **footage, **wishes)


def alarms(
    settings: Settings,
    data: Prepared | Known,
    chosen: Threshold,
    folder: Path | str,
    tell: Callable[[str], None] = print,
    where: Callable[[float], tuple[str, float] | None] | None = None,
    on_event: Callable[[int], None] = lambda number: None,
    rate: float | None = None,
    renew: bool = False,
) -> Alarms:
    """The listener that finds the events of a watch and writes them into ``folder``.

    The watch has to filter scores with ``smoother``, as they were when the threshold was chosen.
    ``where`` is the source's method that says in which of several clips an event lies; ``on_event``
    is called with the number of each event that has ended. ``rate`` is that of the watch, in frames
    per second, by default that of the prepared footage. With ``renew`` events of another threshold
    in the folder are moved aside instead of raising an error; a live source needs this, as its
    watch must not stop. The scene is compared with the backgrounds of the training footage.
    """
    from data_prep.live.sources import shown

    rate = rate or frame_rate(settings, data)
    drift = DriftMonitor(rate, background(data), chosen.release, ignored(settings, data))
    facts = {name: getattr(settings, name) for name in ("data", "protocol", "ignore")}
    facts["source"] = shown(str(settings.watch)) if settings.watch else None
    options = AlarmOptions(
        frame_rate=rate,
        patch=settings.patch_size,
        least_s=LEAST_S,
        filter=filter_name(smoother(settings)),
        drift=drift,
        facts=facts,
        where=where,
        tell=tell,
        on_event=on_event,
        renew=renew,
    )
    return Alarms(chosen, folder, options)


def smoother(settings: Settings) -> RunningMedian | None:
    """A new filter over time, the one that the threshold was chosen with; None for raw scores."""
    return RunningMedian() if settings.protocol == "median" else None


def watch_folder(settings: Settings) -> Path:
    """The path of a new folder for a watch, below the run's record."""
    return settings.record_folder / "watched" / time.strftime("%Y-%m-%d-%H%M%S")


def minutes_to_watch(settings: Settings, source) -> float | None:
    """After how many minutes a chapter ends its watch; None: when the source ends.

    A live source (no ``identity``: a webcam, an address) may never end.
    """
    if settings.watch_minutes is None and source.identity is None:
        return LIVE_MINUTES
    return settings.watch_minutes


def filtered(table: pd.DataFrame, protocol: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seconds, filtered scores and segments, N each, of a table (``score_table.read_scores``).

    Each segment is filtered by itself.
    """
    parts = [part["score"].to_numpy() for _, part in table.groupby("segment")]
    scores = np.concatenate([apply_protocol(part, protocol) for part in parts] or [np.zeros(0)])
    return table["time_s"].to_numpy(), scores, table["segment"].to_numpy()


def labels_watched(place: str, data: Prepared, frames: int) -> np.ndarray | None:
    """The labels, N of 0 and 1, of all ``frames`` that were watched at ``place``.

    None unless exactly the labelled clips were watched, all of them to the end.
    """
    from data_prep.live.sources import find_clips

    path = Path(place)
    names = [clip.name for clip in find_clips(path)] if path.exists() else []
    if not names or set(names) != set(data.labels):
        return None
    labels = np.concatenate([data.labels[name] for name in names])
    return labels if len(labels) == frames else None


def to_watch(settings: Settings) -> str:
    """The source to watch: ``settings.watch``, else test clips, else the training footage.

    A path is looked for from the project's root and beside the data (``settings.find_path``), not
    from the folder of the chapter. Raises ``DDLError`` if there is none of them.
    """
    from data_prep.footage.layouts import split_folder
    from data_prep.live.sources import find_clips, is_address

    if settings.watch:
        try:
            return settings.watch if "://" in settings.watch else str(find_path(settings.watch))
        except DDLError:
            if is_address(settings.watch):  # a webcam's number, and no file of that name
                return settings.watch
            raise
    footage = pipeline.footage(settings)
    for split in ("testing", "training"):
        place = split_folder(footage, split)
        if find_clips(place):
            return str(place)
    raise DDLError(f"{footage}: no test clips to watch; name a video or an address by watch")
