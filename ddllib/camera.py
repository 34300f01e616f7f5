"""From a trained run to alarms: normal scores, their threshold, and who listens to the watch."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ddllib import road
from ddllib.alarms import Alarms
from ddllib.data import Prepared, kept_rate, read_manifest
from ddllib.drift import DriftMonitor, backgrounds
from ddllib.errors import DDLError
from ddllib.evaluation import apply_protocol
from ddllib.files import write_whole
from ddllib.ignore import load_ignore
from ddllib.models import for_scoring
from ddllib.reading import read_array, read_arrays
from ddllib.scoring import score_clip
from ddllib.settings import Settings, find_path
from ddllib.streaming import RunningMedian, StreamScorer
from ddllib.thresholds import Threshold, choose_threshold
from ddllib.training import Run

LEAST_S = 0.5  # seconds that an event lasts at least
MINUTE = 750  # frames of the generated walkway
MINUTES = 4  # of it that a threshold is chosen by
BACKGROUND = 120  # frames, drawn evenly from all clips
LIVE_MINUTES = 10.0  # of a live source in a chapter, which is to be a page some time
NEAR = 0.02  # of a rate: footage so near it has it
PROTOCOLS = ("raw", "median")  # what can be done to scores while they come


def frame_rate(settings: Settings, data: Prepared | None = None) -> float:
    """Frames per second of the prepared footage, of ``data`` or what lies in its place.

    A slow camera gives fewer than ``settings.frame_rate`` asks for. Where the footage tells no
    time, as images in folders, it is what was asked for, else that of the scene or a usual one.
    """
    from data_prep.demo.story import FRAME_RATE
    from data_prep.frames import USUAL_RATE, tidy_rate

    place, asked = settings.prepared_folder / "manifest.json", settings.frame_rate
    manifest = data.manifest if data else read_manifest(place) if place.is_file() else None
    kept = kept_rate(manifest) if manifest else None
    if kept is None:
        return asked or (FRAME_RATE if settings.data in road.SCENES else USUAL_RATE)
    return asked if asked and abs(kept / asked - 1) <= NEAR else tidy_rate(kept)


def normal_scores(settings: Settings, data: Prepared, run: Run) -> dict[str, np.ndarray]:
    """Raw scores, by clip, of normal footage that the run was not trained on; float32 N.

    The ends of the training clips (``threshold_share``); of a generated scene, which has no end,
    more of it. Raises ``DDLError`` where neither is there. They are kept in ``normal`` of the run's
    folder, so that a watch that is started again begins at once, by the same threshold.
    """
    if settings.data in road.SCENES and not settings.threshold_share:
        return generated_scores(settings, data, run, MINUTES)
    if run.folder is None:
        return road.score_normal(settings, data, run)
    of = f"{data.training_digest} {settings.threshold_share}"
    who = f"{scorer(settings, data, run).identity} {of}"
    path = run.folder / "normal" / f"{hashlib.sha256(who.encode()).hexdigest()[:16]}.npz"
    kept = _kept_scores(path)
    if kept is None:
        kept = road.score_normal(settings, data, run)
        parts = {f"{k}": scores for k, scores in enumerate(kept.values())}
        with contextlib.suppress(OSError):  # a disk that is full or cannot be written to
            write_whole(path, partial(np.savez, names=np.array(list(kept)), **parts))
    return kept


def _kept_scores(path: Path) -> dict[str, np.ndarray] | None:
    """Scores by clip as they were kept; None where none are, or the file is damaged."""
    try:
        arrays = read_arrays(path, "scores of normal footage", "remove it")
        return {str(name): arrays[f"{k}"] for k, name in enumerate(arrays["names"])}
    except (DDLError, KeyError, TypeError):
        return None


def generated_scores(
    settings: Settings,
    data: Prepared,
    run: Run,
    minutes: int,
    progress: bool = False,
    first: int = 0,
) -> dict[str, np.ndarray]:
    """Raw scores, float32 N by minute, of ordinary footage of the walkway that is in no split.

    ``minutes`` of them, from minute ``first`` on; every minute is drawn by itself. Kept in
    ``ordinary`` of the run's folder, for each patch, mask and precision apart.
    """
    from data_prep.demo import ordinary
    from data_prep.frames import to_working_size

    who, ignore = scorer(settings, data, run).identity, load_ignore(settings.ignore, data.size)
    folder, found = run.folder / "ordinary" / who[:16], {}
    model = for_scoring(run.model, run.precision)
    for index in tqdm(range(first, first + minutes), desc="scoring minutes", disable=not progress):
        path = folder / f"{index:03d}.npy"
        if not path.is_file():
            pictures = ordinary(0, index, MINUTE)
            frames = np.stack([to_working_size(p[..., ::-1], data.size, 3) for p in pictures])
            patch = settings.patch_size
            scores = score_clip(model, frames, patch, run.precision, ignore=ignore)
            write_whole(path, partial(np.save, arr=scores))
        found[path.stem] = read_array(path, "scores of a minute", f"remove {path.name}")
    return found


def threshold(settings: Settings, data: Prepared, run: Run) -> Threshold:
    """The threshold for ``settings.alarms_per_hour``, by filtered scores of normal footage.

    Raises ``DDLError`` for a protocol that cannot be computed while frames come.
    """
    if settings.protocol not in PROTOCOLS:
        raise DDLError(
            f"protocol is {settings.protocol!r}, which needs the whole clip; expected one of "
            f"{', '.join(PROTOCOLS)} to watch"
        )
    scores = normal_scores(settings, data, run)
    filtered = {name: apply_protocol(s, settings.protocol) for name, s in scores.items()}
    return choose_threshold(
        filtered,
        settings.alarms_per_hour,
        frame_rate=frame_rate(settings, data),
        least_s=LEAST_S,
        over=1.0,
        held_out_share=settings.threshold_share or 1.0,
    )


def scorer(settings: Settings, data: Prepared, run: Run) -> StreamScorer:
    """The run's model as a scorer of frames, with the patch and the ignored pixels as set."""
    ignore = load_ignore(settings.ignore, data.size)
    return StreamScorer(run.model, settings.patch_size, run.precision, ignore)


def alarms(
    settings: Settings,
    data: Prepared,
    chosen: Threshold,
    folder: Path | str,
    tell: Callable[[str], None] = print,
    where: Callable[[float], tuple[str, float] | None] | None = None,
    on_event: Callable[[int], None] = lambda number: None,
    rate: float | None = None,
    renew: bool = False,
) -> Alarms:
    """What listens to a watch and leaves its events in ``folder``, filtered as the threshold was.

    ``where`` is the source's, to tell in which of several clips an event lies; ``on_event`` is
    called with the number of each that has ended. ``rate`` is the watch's, in frames per second,
    where it is not the footage's. With ``renew`` a folder of another threshold is no error: its
    events are put aside, as for a live source, which has to be watched on.
    A change of the scene is judged by the backgrounds of the training footage.
    """
    from data_prep.sources import shown

    rate = rate or frame_rate(settings, data)
    ignore = load_ignore(settings.ignore, data.size)
    known = backgrounds(spread_frames(data.training, BACKGROUND))
    drift = DriftMonitor(rate, known, chosen.release, ignore)
    facts = {name: getattr(settings, name) for name in ("data", "protocol", "ignore")}
    facts["source"] = shown(str(settings.watch)) if settings.watch else None
    options = {"facts": facts, "where": where, "tell": tell, "on_event": on_event, "renew": renew}
    return Alarms(
        chosen, folder, rate, settings.patch_size, LEAST_S, smoother(settings), drift, **options
    )


def spread_frames(clips: Mapping[str, np.ndarray], count: int) -> list[np.ndarray]:
    """``count`` frames, C x H x W, drawn evenly from clips N x C x H x W laid end to end."""
    ends = np.cumsum([len(clip) for clip in clips.values()])
    found, parts = [], list(clips.values())
    for place in np.linspace(0, ends[-1] - 1, min(count, ends[-1]), dtype=int):
        k = int(np.searchsorted(ends, place, side="right"))
        found.append(parts[k][place - ends[k]])
    return found


def smoother(settings: Settings) -> RunningMedian | None:
    """A new filter over time as the threshold was chosen with; None where scores stay raw."""
    return RunningMedian() if settings.protocol == "median" else None


def watch_folder(settings: Settings) -> Path:
    """A new folder for what is watched from now on, below the run's record."""
    return settings.record_folder / "watched" / time.strftime("%Y-%m-%d-%H%M%S")


def minutes_to_watch(settings: Settings, source) -> float | None:
    """After how many minutes a chapter ends its watch; None is when the source ends.

    A source that nobody can watch again (no ``identity``: a webcam, an address) may never end.
    """
    if settings.watch_minutes is None and source.identity is None:
        return LIVE_MINUTES
    return settings.watch_minutes


def filtered(table: pd.DataFrame, protocol: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seconds, filtered scores and segments, N each, of a table (``score_table.read_scores``).

    No filter reaches over the end of a segment.
    """
    parts = [part["score"].to_numpy() for _, part in table.groupby("segment")]
    scores = np.concatenate([apply_protocol(part, protocol) for part in parts] or [np.zeros(0)])
    return table["time_s"].to_numpy(), scores, table["segment"].to_numpy()


def labels_watched(place: str, data: Prepared, frames: int) -> np.ndarray | None:
    """The labels, N of 0 and 1, of all ``frames`` that were watched at ``place``.

    None unless just the labelled clips were watched, each of them whole.
    """
    from data_prep.sources import find_clips

    path = Path(place)
    names = [clip.name for clip in find_clips(path)] if path.exists() else []
    if not names or set(names) != set(data.labels):
        return None
    labels = np.concatenate([data.labels[name] for name in names])
    return labels if len(labels) == frames else None


def to_watch(settings: Settings) -> str:
    """What is watched: ``settings.watch``, else test clips, else the training footage itself.

    A path counts from the project's root or is near the data (``settings.find_path``), wherever the
    chapter runs. Raises ``DDLError`` where there is none of them.
    """
    from data_prep.layouts import split_folder
    from data_prep.sources import find_clips

    if settings.watch:
        address = settings.watch.isdecimal() or "://" in settings.watch
        return settings.watch if address else str(find_path(settings.watch))
    footage = road.footage(settings)
    for split in ("testing", "training"):
        place = split_folder(footage, split)
        if find_clips(place):
            return str(place)
    raise DDLError(f"{footage}: no test clips to watch; name a video or an address by watch")
