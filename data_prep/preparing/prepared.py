"""The prepared form: clips as memory-mapped arrays, tracks, labels, masks and a manifest.

    manifest.json                    what is here, how it was made, checksums; written last
    training/<clip>.npy              uint8, N x C x H x W
    testing/<clip>.npy               the same
    labels/<labelling>/<clip>.npy    uint8, N, 1 = abnormal (test clips, if labels or masks exist)
    masks/<clip>.npy                 uint8, N x H x W, 0/1 (test clips, if masks exist)
    tracks.csv                       one row per tracked box, relative coordinates

Work is done in `.partial/` inside the folder, several clips at once. The parts are moved to their
place when all are complete, so an earlier preparation stays whole until then. After an interruption
or a change of the footage only the clips that differ from the request are prepared again.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_prep.footage import frames as fr
from data_prep.footage.glancing import at_own_levels, count_channels
from data_prep.footage.layouts import SPLITS, Clip, Footage
from data_prep.footage.mask_checks import notes_on_masks
from data_prep.footage.survey import Survey, check, check_mask_pixels, read_labels, survey
from data_prep.preparing.clips import ColourFound, Workers, clip_checksum, write_clip
from data_prep.preparing.following import follow, frames_of
from data_prep.preparing.manifest import (
    FORMAT,
    file_checksum,
    source_checksum,
    versions,
)
from data_prep.preparing.request import Request, check_request
from data_prep.preparing.summary import summary
from data_prep.preparing.truth import (
    choose_labelling,
    compare_labellings,
    length,
    truth_files,
    write_truth,
)
from data_prep.preparing.workplace import (
    check_target,
    clear,
    locked,
    move_into_place,
    other_checksums,
    read_earlier,
    read_finished,
    record_file,
    reuse,
)
from data_prep.tracks.detectors import detectors_to_try
from data_prep.tracks.detectors.base import AUTO, Detector
from data_prep.tracks.tracking import tracker_settings
from ddllib.data import WINDOW
from ddllib.errors import DDLError
from ddllib.io.files import remedy_of, write_json, writing


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
    window: int = WINDOW,
) -> dict:
    """Prepare the footage under `source` into the folder `out`; returns the manifest.

    `size`: working size in pixels, (height, width) or one number for both.
    `splits`: which splits are tracked; training must be among them.
    `channels`: 1 or 3; None takes 1 for grey footage and 3 if any frame has colour.
    `dataset`, `scene`: see `survey.survey`.
    `frame_rate`: frames of a video to keep per second, chosen by their times (`frames.Pace`); None
    keeps all.
    `window`: T; a track is useful if it is present in T frames one after the other.
    `detector`: "auto" tries YOLO, if it is installed and its weights are here, then motion, then
    random boxes, and takes the first with a track in a thousand training windows or in one of
    twenty. The manifest lists what was tried; unchanged footage keeps its detector.

    Footage of 16 bits is scaled by the range of its training clips (`levels`). Labels and masks are
    given for all frames; those of the kept frames are taken. Each labelling is saved under its
    name, boxes under `$DDL_RUNS/detections`. The same request for the same footage returns at once.
    Raises DDLError for footage, labels or weights that cannot be used, and if no training window
    has a track in all its frames.
    """
    source, out = Path(source), Path(out)
    check_request(size, splits, channels, frame_rate)
    contents = survey(source, dataset, scene)
    check(contents, whole=scene is None)
    contents = read_as_asked(contents, frame_rate)
    marks = read_labels(contents)
    request = Request(
        size=(size, size) if isinstance(size, int) else tuple(size),
        channels=channels or count_channels(contents.footage),
        tracked=tuple(s for s in SPLITS if s in splits),
        detectors=detectors_to_try(detector, weights),
        progress=progress,
        window=window,
    )
    if channels is None and request.channels == 1:
        request = with_known_colour(request, contents.footage, out)
    try:
        manifest, is_new = prepare_as(contents, marks, request, scene, out)
    except ColourFound as error:
        if channels is not None:
            raise
        request = replace(request, channels=3, colour=error.place)
        manifest, is_new = prepare_as(contents, marks, request, scene, out)
    if is_new and progress:
        print(*notes_on_masks(contents.footage.masks), *summary(manifest), sep="\n")
    return manifest


def read_as_asked(contents: Survey, frame_rate: float | None) -> Survey:
    """The footage with its frames as they are prepared: at that rate, and scaled to 8 bits."""
    return replace(contents, footage=at_own_levels(contents.footage.at_rate(frame_rate)))


def original_footage(
    source: str | Path, dataset: str | None, scene: str | None, frame_rate: float | None
) -> Footage:
    """The clips that `prepare` reads for the same arguments, frame by frame the prepared ones."""
    return read_as_asked(survey(Path(source), dataset, scene), frame_rate).footage


def prepare_as(
    contents: Survey, marks: dict, request: Request, scene: str | None, out: Path
) -> tuple[dict, bool]:
    """The manifest of a request, and whether anything was prepared for it.

    Raises ColourFound if one channel is not enough.
    """
    plan, detectors = describe(contents, request, scene), request.detectors
    full_plan = plan_of_any(plan) if len(detectors) > 1 else plan_with(plan, detectors[0])
    manifest = read_finished(out, full_plan)
    if manifest is not None:
        return manifest, False
    check_mask_pixels(contents)
    check_target(contents.footage.root, out)
    try:
        with locked(out):
            return make(contents, marks, request, plan, out), True
    except OSError as error:
        raise DDLError(
            f"{error.filename or out}: {error.strerror or error}; finished clips "
            f"are kept; {remedy_of(error)}, and run again"
        ) from error


def with_known_colour(request: Request, footage: Footage, out: Path) -> Request:
    """The request, in colour if an earlier preparation has found colour in this footage."""
    earlier = read_earlier(out) or {}
    has_colour = earlier.get("colour") and earlier.get("footage") == checksums_of(footage)
    return replace(request, channels=3, colour=earlier["colour"]) if has_colour else request


def checksums_of(footage: Footage) -> dict[str, dict[str, str]]:
    """`clip_checksum` of each clip, by split and name."""
    clips = {split: {} for split in SPLITS}
    for clip in footage.all_clips():
        clips[clip.split][clip.name] = clip_checksum(footage.root, clip)
    return clips


def describe(contents: Survey, request: Request, scene: str | None) -> dict:
    """The part of the manifest that is known before any work, without the detector."""
    footage = contents.footage
    levels = next((clip.levels for clip in footage.all_clips()), None)
    return {
        "format": FORMAT,
        "source": {"name": footage.root.resolve().name, "layout": footage.layout},
        "dataset": contents.name if contents.dataset else None,
        "scene": scene,
        "footage": checksums_of(footage),
        "truth": source_checksum(footage.root, truth_files(footage)),
        "height": request.size[0],
        "width": request.size[1],
        "channels": request.channels,
        **({"levels": list(levels)} if levels else {}),
        "tracked": list(request.tracked),
        "detector": None,
        "tracker": tracker_settings(),
    }


def plan_with(plan: dict, detector: Detector) -> dict:
    """The plan with one of the detectors, and its fingerprint."""
    plan = {**plan, "detector": detector.settings}
    return {**plan, "fingerprint": hashlib.sha256(json.dumps(plan).encode()).hexdigest()}


def plan_of_any(plan: dict) -> dict:
    """The plan with detector "auto", to compare with a manifest whatever detector that took."""
    return {**{name: value for name, value in plan.items() if name != "detector"}, "asked": AUTO}


def make(contents: Survey, marks: dict, request: Request, plan: dict, out: Path) -> dict:
    """Prepare in `.partial`, then move the parts to their place, the manifest last."""
    work = out / ".partial"
    keys = clip_keys(plan)
    clear(work, keys)
    reuse(out, work, keys)
    workers = Workers(request.progress)
    records = write_clips(contents, request, keys, work, workers)
    check_lengths(contents, records)
    tried, tracks = follow(contents, request, plan, records["training"], workers)
    detector, coverage = tried[-1]
    results = [[candidate.settings["name"], share] for candidate, share in tried]
    choice = {"asked": AUTO, "tried": results}
    with writing(work / "tracks.csv") as file:
        tracks.to_csv(file, index=False, float_format="%.6f")
    labels = write_truth(contents, marks, records["testing"], request.size, work)
    manifest = {
        **plan_with(plan, detector),
        **(choice if len(request.detectors) > 1 else {}),
        **({"colour": request.colour} if request.colour else {}),
        "labelling": choose_labelling(contents, labels),
        "clips": records,
        "window": request.window,
        "coverage": coverage,
        "versions": versions(),
    }
    manifest["labellings"] = compare_labellings(labels, manifest["labelling"])
    manifest["sha256"] = other_checksums(work)
    move_into_place(work, out, manifest)
    return manifest


def clip_keys(plan: dict) -> dict[str, dict[str, str]]:
    """A key of all that each clip's array depends on, by split and name."""
    shape = plan["channels"], plan["height"], plan["width"]
    return {
        split: {
            name: hashlib.sha256(f"{checksum} {shape}".encode()).hexdigest()
            for name, checksum in clips.items()
        }
        for split, clips in plan["footage"].items()
    }


def write_clips(
    contents: Survey, request: Request, keys: dict, work: Path, workers: Workers
) -> dict[str, dict[str, dict]]:
    """Write the arrays that are missing; returns the records of all clips, by split and name."""

    def write(clip: Clip, watched: Callable[[Iterable], Iterable]) -> None:
        path = work / clip.split / f"{clip.name}.npy"
        counter = FrameCounter()
        frames = watched(counter.kept_of(fr.read_timed(clip)))
        count = write_clip(path, clip, frames, request.size, request.channels)
        key = keys[clip.split][clip.name]
        facts = counter.record(clip)
        record = {"frames": count, "sha256": file_checksum(path), "key": key, **facts}
        # Written last, as it says that the array is whole.
        write_json(record_file(work, clip.split, clip.name), record)

    clips = contents.footage.all_clips()
    missing = [clip for clip in clips if not record_file(work, clip.split, clip.name).is_file()]
    workers.over("frames", write, missing, frames_of(contents, missing))
    records: dict[str, dict] = {split: {} for split in SPLITS}
    for clip in clips:
        text = record_file(work, clip.split, clip.name).read_text("utf-8")
        records[clip.split][clip.name] = json.loads(text)
    return records


class FrameCounter:
    """Counts a clip's frames; notes their shape, and numbers and times of those that are kept."""

    def __init__(self):
        self.read, self.kept, self.times, self.shape = 0, [], [], (0, 0)

    def kept_of(self, frames: Iterable[fr.Timed]) -> Iterator[np.ndarray]:
        for frame in frames:
            self.read = frame.number + 1
            if frame.image is not None:
                self.kept.append(frame.number)
                self.times.append(frame.time_s)
                self.shape = frame.image.shape[:2]
                yield frame.image

    def record(self, clip: Clip) -> dict:
        """The facts for the clip's record; only labels and masks need the numbers of kept frames.

        Images in a folder have no times, and one frame has no duration.
        """
        timed = len(self.times) > 1 and not clip.frames
        facts = {"shape": list(self.shape)}
        if timed:
            facts["seconds"] = round(fr.duration(self.times), 3)
        if len(self.kept) == self.read:
            return facts
        numbers = {"kept": self.kept} if clip.split == "testing" else {}
        return {**facts, "read": self.read, **numbers}


def check_lengths(contents: Survey, records: Mapping[str, Mapping[str, dict]]) -> None:
    """Check the footage again, now with the true lengths of the decoded clips."""
    lengths = {split: {n: length(r) for n, r in clips.items()} for split, clips in records.items()}
    check(replace(contents, lengths=lengths), whole=False)
