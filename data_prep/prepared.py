"""The prepared form: clips as memory-mapped arrays, tracks, labels, masks and a manifest.

    manifest.json                    what is here, how it was made, checksums; written last
    training/<clip>.npy              uint8, N x C x H x W
    testing/<clip>.npy               the same
    labels/<labelling>/<clip>.npy    uint8, N, 1 = abnormal (test clips, if labels or masks exist)
    masks/<clip>.npy                 uint8, N x H x W, 0/1 (test clips, if masks exist)
    tracks.csv                       one row per tracked box, relative coordinates

Work goes on in `.partial/` inside the folder, several clips at once. Only when all is done are the
parts moved to their place, so an earlier preparation stays whole until then. A run that was cut
off, or that follows a change of the footage, redoes only the clips that are not yet as asked for.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from data_prep import frames as fr
from data_prep.boxes import Boxes
from data_prep.clips import Workers, clip_checksum, write_clip
from data_prep.detectors import AUTO, Detector, detectors_to_try
from data_prep.layouts import SPLITS, Clip, Footage
from data_prep.manifest import (
    FORMAT,
    file_checksum,
    source_checksum,
    versions,
)
from data_prep.survey import Survey, check, read_labels, survey
from data_prep.tracking import COLUMNS, WINDOW, common_track_coverage, tracker_settings
from data_prep.truth import choose_labelling, compare_labellings, length, truth_files, write_truth
from data_prep.workplace import (
    check_target,
    clear,
    locked,
    move_into_place,
    other_checksums,
    read_finished,
    record_file,
    reuse,
)
from ddllib.errors import DDLError
from ddllib.files import remedy_of, write_json, writing
from ddllib.settings import runs_root

GLANCES = 12  # frames of a clip by which colour is told
LARGEST = 4096  # pixels of a working side
ENOUGH, MANY = 0.05, 1000  # share of training windows with a track, or so many: a choice is made


@dataclass(frozen=True)
class Request:
    """What one preparation makes, apart from the footage."""

    size: tuple[int, int]
    channels: int
    tracked: tuple[str, ...]
    detectors: Sequence[Detector]  # the first that tracks enough counts, else the last
    progress: bool


def prepare(
    source: str | Path,
    out: str | Path,
    size: int | tuple[int, int] = 128,
    detector: str = "motion",
    weights: str | Path | None = None,
    splits: Sequence[str] = ("training",),
    channels: int | None = None,
    progress: bool = True,
    dataset: str | None = None,
    scene: str | None = None,
    frame_rate: float | None = None,
) -> dict:
    """Prepare the footage under `source` into the folder `out`; returns the manifest.

    `size`: working size in pixels, (height, width) or one number for both. `splits`: which
    splits are tracked; training must be among them. `channels`: 1 or 3; None takes 1 for grey
    footage and 3 for colour. `dataset`, `scene`: see `survey.survey`. `frame_rate`: frames of a
    video to keep per second, chosen by their times (`frames.Pace`); None keeps all. Labels and
    masks speak of all frames; those of the kept ones are taken. Every labelling that is found is
    kept under its name; boxes are kept under `$DDL_RUNS/detections`. `detector` "auto" takes the
    first of YOLO, where it and its weights are at hand, motion, and random boxes by which a
    thousand training windows or one in twenty have a track; the manifest keeps what was tried, and
    footage that stays the same keeps its detector. The same request
    over the same footage returns at once. Raises DDLError for footage, labels or weights that
    cannot be used, and if no training window has a track present in all its frames.
    """
    source, out = Path(source), Path(out)
    check_request(size, splits, channels, frame_rate)
    found = survey(source, dataset, scene)
    check(found, whole=scene is None)
    found = replace(found, footage=found.footage.at_rate(frame_rate))
    marks = read_labels(found)
    request = Request(
        size=(size, size) if isinstance(size, int) else tuple(size),
        channels=channels or count_channels(found.footage),
        tracked=tuple(s for s in SPLITS if s in splits),
        detectors=detectors_to_try(detector, weights),
        progress=progress,
    )
    plan = describe(found, request, scene)
    wanted = plan_of_any(plan) if detector == AUTO else plan_with(plan, request.detectors[0])
    manifest = read_finished(out, wanted)
    if manifest is None:
        check_target(found.footage.root, out)
        try:
            with locked(out):
                manifest = make(found, marks, request, plan, out)
        except OSError as error:
            raise DDLError(
                f"{error.filename or out}: {error.strerror or error}; finished clips "
                f"are kept; {remedy_of(error)}, and run again"
            ) from error
        if progress:
            print(*summary(manifest), sep="\n")
    return manifest


def check_request(
    size, splits: Sequence[str], channels: int | None, frame_rate: float | None
) -> None:
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or any(not isinstance(s, int) or not 1 <= s <= LARGEST for s in sides):
        raise DDLError(
            f"size: {size!r}; expected one positive number or (height, width), at most {LARGEST}"
        )
    if channels not in (None, 1, 3):
        raise DDLError(f"channels: {channels!r}; expected 1 or 3")
    if frame_rate is not None and not fr.is_rate(frame_rate):
        raise DDLError(f"frame_rate: {frame_rate!r}; expected frames per second above 0, or None")
    if isinstance(splits, str) or "training" not in splits or set(splits) - set(SPLITS):
        raise DDLError(f"splits: {splits!r}; expected ('training',) or ('training', 'testing')")


def count_channels(footage: Footage) -> int:
    """1 if a few frames of every clip are grey, else 3; a camera may be grey by night alone."""
    for clip in all_clips(footage):
        if not all(map(fr.is_grey, fr.glances(clip, GLANCES))):
            return 3
    return 1


def all_clips(footage: Footage) -> list[Clip]:
    return [clip for split in SPLITS for clip in footage.clips[split].values()]


def describe(found: Survey, request: Request, scene: str | None) -> dict:
    """The manifest as far as it is known before any work, but for the detector."""
    footage = found.footage
    clips = {split: {} for split in SPLITS}
    for clip in all_clips(footage):
        clips[clip.split][clip.name] = clip_checksum(footage.root, clip)
    plan = {
        "format": FORMAT,
        "source": {"name": footage.root.resolve().name, "layout": footage.layout},
        "dataset": found.name if found.dataset else None,
        "scene": scene,
        "footage": clips,
        "truth": source_checksum(footage.root, truth_files(footage)),
        "height": request.size[0],
        "width": request.size[1],
        "channels": request.channels,
        "tracked": list(request.tracked),
        "detector": None,
        "tracker": tracker_settings(),
    }
    return plan


def plan_with(plan: dict, detector: Detector) -> dict:
    """The plan by one of the detectors, with its fingerprint."""
    plan = {**plan, "detector": detector.settings}
    return {**plan, "fingerprint": hashlib.sha256(json.dumps(plan).encode()).hexdigest()}


def plan_of_any(plan: dict) -> dict:
    """The plan as a manifest has it whose detector was a choice, whichever was taken."""
    return {**{name: value for name, value in plan.items() if name != "detector"}, "asked": AUTO}


def make(found: Survey, marks: dict, request: Request, plan: dict, out: Path) -> dict:
    """Do the work in `.partial`, then move it to its place, the manifest last."""
    work = out / ".partial"
    keys = clip_keys(plan)
    clear(work, keys)
    reuse(out, work, keys)
    workers = Workers(request.progress)
    records = write_clips(found, request, keys, work, workers)
    check_lengths(found, records)
    tried, tracks = follow(found, request, plan, records["training"], workers)
    detector, coverage = tried[-1]
    chosen = {"asked": AUTO, "tried": [[one.settings["name"], share] for one, share in tried]}
    with writing(work / "tracks.csv") as file:
        tracks.to_csv(file, index=False, float_format="%.6f")
    labels = write_truth(found, marks, records["testing"], request.size, work)
    manifest = {
        **plan_with(plan, detector),
        **(chosen if len(request.detectors) > 1 else {}),
        "labelling": choose_labelling(found, labels),
        "clips": records,
        "coverage": coverage,
        "versions": versions(),
    }
    manifest["labellings"] = compare_labellings(labels, manifest["labelling"])
    manifest["sha256"] = other_checksums(work)
    move_into_place(work, out, manifest)
    return manifest


def clip_keys(plan: dict) -> dict[str, dict[str, str]]:
    """What each clip's array depends on, by split and name."""
    shape = plan["channels"], plan["height"], plan["width"]
    return {
        split: {
            name: hashlib.sha256(f"{checksum} {shape}".encode()).hexdigest()
            for name, checksum in clips.items()
        }
        for split, clips in plan["footage"].items()
    }


def write_clips(
    found: Survey, request: Request, keys: dict, work: Path, workers: Workers
) -> dict[str, dict[str, dict]]:
    """Write every clip's array that is not there; the records of all, by split and name."""

    def write(clip: Clip, watched: Callable[[Iterable], Iterable]) -> None:
        path = work / clip.split / f"{clip.name}.npy"
        seen = Seen()
        frames = watched(seen.kept_of(fr.read_timed(clip)))
        count = write_clip(path, clip, frames, request.size, request.channels)
        key = keys[clip.split][clip.name]
        record = {"frames": count, "sha256": file_checksum(path), "key": key, **seen.record(clip)}
        # Written last: it says that the array is whole.
        write_json(record_file(work, clip.split, clip.name), record)

    clips = all_clips(found.footage)
    left = [clip for clip in clips if not record_file(work, clip.split, clip.name).is_file()]
    workers.over("frames", write, left, frames_of(found, left))
    records: dict[str, dict] = {split: {} for split in SPLITS}
    for clip in clips:
        text = record_file(work, clip.split, clip.name).read_text("utf-8")
        records[clip.split][clip.name] = json.loads(text)
    return records


class Seen:
    """How many frames a clip has, and the numbers and times of those that its rate keeps."""

    def __init__(self):
        self.read, self.kept, self.times = 0, [], []

    def kept_of(self, frames: Iterable[fr.Timed]) -> Iterator[np.ndarray]:
        for frame in frames:
            self.read = frame.number + 1
            if frame.image is not None:
                self.kept.append(frame.number)
                self.times.append(frame.time_s)
                yield frame.image

    def record(self, clip: Clip) -> dict:
        """What a record says of it; the numbers matter to labels and masks alone.

        Images in a folder tell no time, nor does one frame.
        """
        timed = len(self.times) > 1 and not clip.frames
        facts = {"seconds": round(fr.duration(self.times), 3)} if timed else {}
        if len(self.kept) == self.read:
            return facts
        numbers = {"kept": self.kept} if clip.split == "testing" else {}
        return {**facts, "read": self.read, **numbers}


def frames_of(found: Survey, clips: Sequence[Clip]) -> int:
    """Frames of these clips together, as far as they are stated."""
    return sum(found.lengths[clip.split][clip.name] or 0 for clip in clips)


def check_lengths(found: Survey, records: Mapping[str, Mapping[str, dict]]) -> None:
    """The clips as decoded still agree with the data set, now by their true lengths."""
    true = {split: {n: length(r) for n, r in clips.items()} for split, clips in records.items()}
    check(replace(found, lengths=true), whole=False)


def follow(
    found: Survey, request: Request, plan: dict, records: dict, workers: Workers
) -> tuple[list[tuple[Detector, float]], pd.DataFrame]:
    """The detectors that were tried, the taken one last, each with its share, and its tracks.

    The share is that of training windows, in [0, 1], with a track throughout; `records` are those
    of the training clips. Where there is no choice any share above 0 does; 0 is an error.
    """
    lengths = {name: record["frames"] for name, record in records.items()}
    windows, tried = sum(max(count - WINDOW + 1, 0) for count in lengths.values()), []
    for detector in request.detectors:
        tracks = find_tracks(found, detector, request.tracked, plan, workers)
        training = tracks[tracks["split"] == "training"]
        coverage = common_track_coverage(training, lengths, WINDOW)
        tried.append((detector, coverage))
        if coverage >= ENOUGH or coverage * windows >= MANY:
            break
    if coverage == 0:
        raise DDLError(
            f"{found.footage.root}: no window of {WINDOW} training frames has a track throughout "
            f"({len(training)} boxes in {sum(lengths.values())} frames); expected objects that "
            f"detector {detector.settings['name']} finds; try another detector, a longer clip or, "
            f"where nothing ever moves, detector none"
        )
    return tried, tracks


def tracking_lines(manifest: Mapping) -> list[str]:
    """By what and in how many windows something was followed; of a choice, what was tried, too."""
    if not manifest.get("detector"):
        return []  # tracks that preparation has not made
    last = [manifest["detector"]["name"], manifest["coverage"]]
    names = {"none": "random boxes"}
    return [
        f"{names.get(name, f'detector {name}')}: {100 * share:.0f} % of windows have a track"
        for name, share in manifest.get("tried", [last])
    ]


def find_tracks(
    found: Survey, detector: Detector, tracked: Sequence[str], plan: dict, workers: Workers
) -> pd.DataFrame:
    """The tracks table of the tracked splits, by kept boxes or new ones."""
    boxes = Boxes(detector, runs_root() / "detections")
    checksums = plan["footage"]
    clips = [clip for clip in all_clips(found.footage) if clip.split in tracked]

    def rows(clip: Clip, watched: Callable[[Iterable], Iterable]) -> np.ndarray:
        return boxes.rows(clip, checksums[clip.split][clip.name], watched)

    each = workers.over("objects", rows, clips, frames_of(found, clips), detector.parallel)
    counts = [len(rows) for rows in each]
    table = pd.DataFrame(np.concatenate([np.zeros((0, 8)), *each]), columns=COLUMNS[2:])
    table = table.astype({"frame": int, "track": int, "class": int})
    table.insert(0, "split", np.repeat([clip.split for clip in clips], counts))
    table.insert(1, "clip", np.repeat([clip.name for clip in clips], counts))
    return table


def summary(manifest: dict) -> list[str]:
    """What a preparation says when it is done."""
    lines = tracking_lines(manifest)
    chosen, facts = manifest["labelling"], manifest["labellings"]
    if facts and not chosen:
        lines.append(f"labels: {', '.join(facts)} differ; choose one by `labelling`")
    lines += [
        f"labels: {chosen} counts; {name} differs on {f['differs']} frames"
        for name, f in facts.items()
        if f["differs"]
    ]
    return lines
