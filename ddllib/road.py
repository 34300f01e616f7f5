"""The one road: prepare -> train -> score -> evaluate. Every step keeps what is already done."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.lib.format import write_array_header_1_0
from tqdm import tqdm

from ddllib import checkpoints
from ddllib.data import Prepared, load_prepared
from ddllib.devices import describe_device
from ddllib.errors import DDLError
from ddllib.evaluation import PROTOCOLS, evaluate_all
from ddllib.files import disk_faults, writing
from ddllib.heldout import SHOWN, altered_clips, judge_held_out, threshold_parts
from ddllib.ignore import load_ignore
from ddllib.models import for_scoring
from ddllib.pixels import pixel_auroc, region_and_track
from ddllib.reading import read_array
from ddllib.records import SCORED, Record, count_scoring, environment, read_record, write_record
from ddllib.scoring import reconstruct, score_clip, score_clips
from ddllib.settings import Settings, find_path, load_profile, runs_root, shown_place
from ddllib.training import Run, fit

_KEPT = ".scores"  # of one clip, while others are still to be scored
PATIENCE = 5  # seconds to wait for another process to let go of a run
# Generated scenes by name; the short one is for tests and first tries.
SCENES = {"demo": {}, "demo-short": {"training_clips": 2, "testing_clips": 2, "frames": 48}}


def footage(settings: Settings) -> Path:
    """The folder of raw footage; a generated scene is made on first use."""
    if settings.data not in SCENES:
        return find_path(settings.data)
    from data_prep import demo

    return demo.generate(runs_root() / settings.data / "footage", **SCENES[settings.data])


def prepare(settings: Settings, progress: bool = True) -> Prepared:
    """The profile's prepared data, made on first use by ``data_prep`` and reused afterwards.

    With clips held out, the boxes by which they will be altered (``judged_by``) are prepared too.
    Prepared data that was copied to a machine without the footage is used as it is. Raises
    ``DDLError`` where neither is there.
    """
    if settings.held_out and judged_by(settings) != settings:
        prepare(judged_by(settings), progress)
    folder = settings.prepared_folder
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
    )
    return load_prepared(folder, settings.labelling)


def _weights(settings: Settings) -> Path | None:
    """Where the detector's weights lie; None for its own, and for one that has none.

    Raises ``DDLError`` where they are not there.
    """
    from data_prep.detectors import WEIGHTED

    if not settings.weights or settings.detector not in WEIGHTED:
        return None
    try:
        return find_path(settings.weights)
    except DDLError as error:
        raise DDLError(f"{error}; or give another detector, such as motion") from None


def judged_by(settings: Settings) -> Settings:
    """These settings with the profile's own detector, by whose boxes held-out clips are altered.

    Runs of a profile that were trained on other boxes are so judged by the same frames.
    """
    usual = load_profile(settings.profile)
    return replace(settings, detector=usual.detector, weights=usual.weights)


def train(settings: Settings, data: Prepared, progress: bool = True) -> Run:
    """The trained run of these settings: taken up from its checkpoint, or trained now.

    A run in the same place with other settings or other data is set aside, never overwritten.
    Raises ``DDLError`` before any training if a test clip is shorter than a window, or what is to
    be ignored cannot be.
    """
    _check_lengths(data, settings.window)
    load_ignore(settings.ignore, data.size)
    folder = settings.run_folder
    with _claimed(folder):
        if checkpoints.exists(folder):
            differing = checkpoints.differences(folder, settings, data)
            if differing:
                aside = set_aside(folder)
                print(f"{folder.name} had another {', '.join(differing)}: kept as {aside.name}")
        run = fit(settings, data, folder, progress)
    state = "trained" if run.steps_now else "reused, nothing to train"
    print(f"{settings.profile}/{folder.name}: {state}; epochs: {run.epoch}")
    if settings.threshold_share:  # there is normal footage to choose a threshold by
        print(f"to watch with it: python -m ddllib.watch --run {shown_place(folder)} --help")
    return run


def _claimed(folder: Path):
    """Nobody else trains in the folder meanwhile; taking up a finished run lasts no second."""
    lock = folder.parent / f".{folder.name}.lock"
    if folder.is_dir() and not os.access(folder.parent, os.W_OK):
        return contextlib.nullcontext()  # nobody can train where nothing can be written
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


def set_aside(folder: Path) -> Path:
    """Rename a folder to ``<name>.old-<n>``, the first that is free; returns its new path.

    Raises ``DDLError`` where the disk does not allow it.
    """
    number = 1
    while (aside := folder.with_name(f"{folder.name}.old-{number}")).exists():
        number += 1
    with disk_faults(folder):
        os.replace(folder, aside)
    return aside


def score(settings: Settings, data: Prepared, run: Run, progress: bool = True) -> Record:
    """Score the test clips and record the run.

    A record of this very run is read, not remade; where labels have changed since, it is judged
    anew by its kept scores. Raises ``DDLError`` where there is no test clip.
    """
    folder = settings.record_folder
    record = None if run.steps_now else _kept_record(folder)
    if record and _is_of(record, settings, data):
        return record if settings.held_out else _judged_anew(record, settings, data)
    if settings.held_out:
        return _score_held_out(settings, data, run)
    check_tests(settings, data)
    started, ignore = time.perf_counter(), load_ignore(settings.ignore, data.size)
    scores, shown, folded = {}, {}, _folded(run)
    content, mask = data.content("testing"), ignored_pixels(settings, data)
    bar = tqdm(data.testing.items(), desc="scoring", disable=not progress, mininterval=1.0)
    for name, frames in bar:
        maps = folder / "maps" / f"{name}.npy"
        scores[name] = _score_once(
            settings, folded, frames, maps, ignore, f"{content[name]} {mask}"
        )
        highest = int(scores[name].argmax())
        shown |= _exhibits(folded, name, frames, highest, data.labels.get(name))
    facts = _facts(settings, data, run, time.perf_counter() - started)
    facts["metrics"] = evaluate_all(scores, data.labels)
    facts["pixels"] = judge_pixels(folder, settings, data)
    write_record(folder, facts, scores, data.labels, shown)
    for kept in (folder / "maps").glob(f"*{_KEPT}"):
        kept.unlink()
    if facts["metrics"]:
        count_scoring(facts, runs_root() / SCORED.name)
    return read_record(folder)


def check_tests(settings: Settings, data: Prepared) -> None:
    """Raise ``DDLError`` where no test clip would be scored."""
    if settings.held_out:
        raise DDLError(
            f"held_out is {settings.held_out}: no test clip would be scored; leave it out here "
            "(python -m ddllib.experiments compares runs by held-out clips)"
        )
    if data.testing:
        return
    place, scene = data.manifest.get("source", {}), settings.scene
    remedy = "put what is to be scored into testing/"
    if scene:
        remedy = f"leave scene out, or choose another than {scene}"
    elif isinstance(place, dict) and place.get("layout") == "plain":
        remedy = "name them in labels.csv there, or give training/ and testing/ clips of their own"
    raise DDLError(f"{settings.data}: no test clips; {remedy}")


def _kept_record(folder: Path) -> Record | None:
    """The record in ``folder``; None where there is none, or it is damaged, which is told."""
    if not (folder / "run.json").is_file():
        return None
    try:
        return read_record(folder)
    except DDLError as error:
        print(f"{error}: made anew")
        return None


def _score_held_out(settings: Settings, data: Prepared, run: Run) -> Record:
    """Pseudo-anomalies in the held-out clips, scored and recorded; no test clip is looked at."""
    started, scores, labels, shown, folded = time.perf_counter(), {}, {}, {}, _folded(run)
    ignore = load_ignore(settings.ignore, data.size)
    other = judged_by(settings)
    tracks = (data if other == settings else prepare(other, progress=False)).tracks
    for name, frames, truth in altered_clips(data, settings.held_out, tracks):
        patch = settings.patch_size
        scores[name] = score_clip(folded.model, frames, patch, run.precision, ignore=ignore)
        labels[name] = truth
        kind, clip = name.split("/", 1)
        if kind in SHOWN and f"{kind}-index" not in shown:
            middle = int(np.flatnonzero(truth).mean())
            shown |= _exhibit(folded, kind, frames, middle)
            shown |= _exhibit(folded, f"{kind}-normal", data.training[clip], middle)
    facts = _facts(settings, data, run, time.perf_counter() - started)
    aucs = {name: judge_held_out(scores, labels, name) for name in PROTOCOLS}
    facts["held_out"] = aucs
    write_record(settings.record_folder, facts, scores, labels, shown)
    return read_record(settings.record_folder)


def score_afterwards(settings: Settings, data: Prepared, run: Run, record: Record) -> Record:
    """The test clips scored by a run that was judged by held-out ones, after the choice was made.

    The record then has ``tests``, what ``metrics`` are elsewhere. The settings are counted among
    those that were scored on test clips.
    """
    if record.tests or not data.labels:
        return record
    ignore, patch = load_ignore(settings.ignore, data.size), settings.patch_size
    scores = score_clips(run.model, data.testing, patch, run.precision, ignore)
    facts = {**record.facts, "tests": evaluate_all(scores, data.labels)}
    write_record(record.folder, facts, record.scores, record.labels, record.shown)
    count_scoring(facts, runs_root() / SCORED.name)
    return read_record(record.folder)


def score_normal(settings: Settings, data: Prepared, run: Run) -> dict[str, np.ndarray]:
    """Raw scores of normal frames that were not trained on, by training clip, for thresholds.

    They are the clips' ends, ``settings.threshold_share`` of each; float32 N. Raises ``DDLError``
    where that leaves no end as long as a window.
    """
    _, ends = threshold_parts(data.training, settings.threshold_share)
    ends = {name: frames for name, frames in ends.items() if len(frames) >= settings.window}
    if not ends:
        raise DDLError(
            f"threshold_share is {settings.threshold_share}; expected a share that keeps at least "
            f"{settings.window} frames, a window, of some training clip, such as 0.2"
        )
    ignore, patch = load_ignore(settings.ignore, data.size), settings.patch_size
    return score_clips(run.model, ends, patch, run.precision, ignore)


def _folded(run: Run) -> Run:
    """The run with its model as it scores, made once for many clips."""
    return replace(run, model=for_scoring(run.model, run.precision))


def _is_of(record: Record, settings: Settings, data: Prepared) -> bool:
    """Whether a record was made by these settings from this data.

    A record for another patch lies beside its run and is not set aside with it.
    """
    ignored = record.facts.get("ignored") == ignored_pixels(settings, data)
    same = record.made_by(settings) and ignored
    return same and record.facts["data"]["digest"] == data.digest


def _judged_anew(record: Record, settings: Settings, data: Prepared) -> Record:
    same = record.labels.keys() == data.labels.keys() and all(
        np.array_equal(record.labels[name], labels) for name, labels in data.labels.items()
    )
    fresh = evaluate_all(record.scores, data.labels)
    pixels = record.facts.get("pixels") or judge_pixels(record.folder, settings, data)
    if same and fresh == record.metrics and pixels == record.facts.get("pixels"):
        return record
    facts = {**record.facts, "data": data_facts(data), "metrics": fresh, "pixels": pixels}
    write_record(record.folder, facts, record.scores, data.labels, record.shown)
    return read_record(record.folder)


def _score_once(
    settings: Settings, run: Run, frames: np.ndarray, path: Path, ignore: np.ndarray | None, of: str
) -> np.ndarray:
    """Scores of one clip, kept beside its maps until all are: what was stopped goes on there.

    ``of`` tells what the clip and the mask are, so that others by its name are scored anew.
    """
    kept = path.with_suffix(f".{hashlib.sha256(of.encode()).hexdigest()[:16]}{_KEPT}")
    if run.folder and kept.is_file() and made_since_training(kept, run.folder):
        scores = np.fromfile(kept, "<f4")
        if len(scores) == len(frames) and np.isfinite(scores).all():
            return scores
    scores = _score_to_disk(settings, run, frames, path, ignore)
    with writing(kept) as file:
        file.write(scores.astype("<f4").tobytes())
    return scores


def made_since_training(path: Path, folder: Path) -> bool:
    """Whether a file is younger than every checkpoint of the run in ``folder``, of which it is."""
    trained = [file.stat().st_mtime for file in folder.glob("checkpoint*.pt")]
    return bool(trained) and path.stat().st_mtime > max(trained)


def _score_to_disk(
    settings: Settings, run: Run, frames: np.ndarray, path: Path, ignore: np.ndarray | None
) -> np.ndarray:
    """Scores of one clip; its distance maps go to ``path`` as float16, N x H x W."""
    half = run.model.temporal // 2
    shape = (len(frames), *frames.shape[-2:])
    with writing(path) as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": shape}
        write_array_header_1_0(file, header)

        def keep(first: int, chunk: np.ndarray) -> None:
            before = half if first == half else 0  # the ends repeat their neighbours
            after = half if first + len(chunk) == len(frames) - half else 0
            padded = np.pad(chunk, ((before, after), (0, 0), (0, 0)), mode="edge")
            file.write(padded.astype("<f2").tobytes())

        patch, precision = settings.patch_size, run.precision
        scores = score_clip(run.model, frames, patch, precision, on_maps=keep, ignore=ignore)
    return scores


def judge_pixels(folder: Path, settings: Settings, data: Prepared) -> dict | None:
    """How well the error maps in ``folder`` find the abnormal pixels of the clips with masks.

    ``pixel_auroc``, ``rbdc`` and ``tbdc`` (``ddllib.pixels``), all in [0, 1]; None without masks
    that mark something, or without maps.
    """
    files = {name: folder / "maps" / f"{name}.npy" for name in data.masks}
    marked = any(mask.any() for mask in data.masks.values())
    if not marked or not all(file.is_file() for file in files.values()):
        return None
    remedy = f"remove {folder} and score again"
    maps = {n: read_array(file, "error maps", remedy, mapped=True) for n, file in files.items()}
    found = region_and_track(maps, data.masks, settings.patch_size)
    return {"pixel_auroc": pixel_auroc(maps, data.masks), **found._asdict()}


def _exhibits(run: Run, name: str, frames: np.ndarray, highest: int, labels) -> dict:
    """What the record's figures show of a clip: its highest frame and an abnormal one.

    The second is the middle of the longest abnormal stretch, the same frame for every model.
    """
    shown = _exhibit(run, name, frames, highest)
    if labels is not None and labels.any():
        edges = np.flatnonzero(np.diff(np.concatenate([[0], labels.astype(int), [0]])))
        first, stop = max(zip(edges[::2], edges[1::2], strict=True), key=lambda e: e[1] - e[0])
        shown |= _exhibit(run, f"{name}-abnormal", frames, (first + stop) // 2)
    return shown


def _exhibit(run: Run, name: str, frames: np.ndarray, index: int) -> dict[str, np.ndarray]:
    """One frame of a clip with its reconstruction (uint8)."""
    half = run.model.temporal // 2
    index = int(np.clip(index, half, len(frames) - half - 1))
    window = frames[index - half : index + half + 1]
    _, y = next(reconstruct(run.model, window, run.precision))
    rebuilt = (y[0] * 255).round().byte().cpu().numpy()
    return {
        f"{name}-index": np.array(index),
        f"{name}-frame": np.array(frames[index]),
        f"{name}-reconstruction": rebuilt,
    }


def _facts(settings: Settings, data: Prepared, run: Run, seconds: float) -> dict:
    return {
        "settings": settings.asdict(),
        "metrics": {},  # filled by the caller, kept near the top of the file
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "precision": run.precision,
        "device": describe_device(run.creator.l.device),
        "train_seconds": run.seconds,
        "score_seconds": seconds,
        "data": data_facts(data),
        "ignored": ignored_pixels(settings, data),
        "environment": environment(),
        "history": run.history,
    }


def ignored_pixels(settings: Settings, data: Prepared) -> str | None:
    """A checksum of the pixels that count nothing: an image may change under its name."""
    mask = load_ignore(settings.ignore, data.size)
    return None if mask is None else _checksum(mask)


def _checksum(mask: np.ndarray) -> str:
    return hashlib.sha256(mask.tobytes()).hexdigest()[:16]


def data_facts(data: Prepared) -> dict:
    """What a record says of its data."""
    return {"digest": data.digest, **data.facts}
