"""The prepared form: clips as memory-mapped arrays, tracks, labels, masks and a manifest.

    manifest.json          what is here, how it was made, checksums; written last
    training/<clip>.npy    uint8, N x C x H x W
    testing/<clip>.npy     the same
    labels/<clip>.npy      uint8, N, 1 = abnormal (test clips, if labels or masks exist)
    masks/<clip>.npy       uint8, N x H x W, 0/1 (test clips, if masks exist)
    tracks.csv             one row per tracked box, relative coordinates

Work goes on in `.partial/` inside the folder, clip by clip. Only when all clips are done are the
parts moved to their place, so an earlier preparation stays whole until then, and a run that was
cut off goes on at the clip where it stopped.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from data_prep import frames as fr
from data_prep import layouts
from data_prep.detection import Detector, make_detector
from data_prep.layouts import SPLITS, Clip, Footage
from data_prep.manifest import (
    FORMAT,
    checksums,
    file_checksum,
    source_checksum,
    to_json,
    versions,
    write_atomically,
)
from data_prep.tracking import COLUMNS, ClipTracker, common_track_coverage, tracker_settings
from ddllib.errors import DDLError

PARTS = ("training", "testing", "labels", "masks", "tracks.csv")
WINDOW = 3  # frames; coverage is counted over the paper's windows, T = 3


@dataclass(frozen=True)
class Request:
    """What one preparation makes, apart from the footage."""

    size: tuple[int, int]
    channels: int
    tracked: tuple[str, ...]
    detector: Detector
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
) -> dict:
    """Prepare the footage under `source` into the folder `out`; returns the manifest.

    `size`: working size in pixels, (height, width) or one number for both. `splits`: which
    splits are tracked; training must be among them. `channels`: 1 or 3; None takes 1 for grey
    footage and 3 for colour. The same request over the same footage returns at once. Raises
    DDLError for footage, labels or weights that cannot be used, and if no training window has
    a track present in all its frames.
    """
    source, out = Path(source), Path(out)
    footage = layouts.find_footage(source)
    ranges = read_label_ranges(footage)
    check_request(size, splits, channels)
    request = Request(
        size=(size, size) if isinstance(size, int) else tuple(size),
        channels=channels or count_channels(footage),
        tracked=tuple(s for s in SPLITS if s in splits),
        detector=make_detector(detector, weights),
        progress=progress,
    )
    plan = describe(footage, request)
    manifest = read_finished(out, plan["fingerprint"])
    if manifest is None:
        check_target(source, out)
        try:
            manifest = make(footage, ranges, request, plan, out)
        except OSError as error:
            raise DDLError(
                f"{error.filename or out}: {error.strerror or error}; finished clips "
                "are kept, mend this and run again"
            ) from error
        if progress:
            print(f"{manifest['coverage']:.0%} of windows have a track".replace("%", " %"))
    return manifest


def read_label_ranges(footage: Footage) -> dict[str, layouts.Ranges] | None:
    """Abnormal ranges by test clip, checked against the clips whose length is known already."""
    if footage.labels is None:
        return None
    clips = footage.clips["testing"]
    ranges = layouts.read_ranges(footage.labels, list(clips))
    for name, clip in clips.items():
        if clip.frames:
            layouts.frame_labels(footage.labels, name, ranges[name], len(clip.frames))
    return ranges


def check_request(size, splits: Sequence[str], channels: int | None) -> None:
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or any(not isinstance(s, int) or s < 1 for s in sides):
        raise DDLError(f"size: {size!r}; expected one positive number or (height, width)")
    if channels not in (None, 1, 3):
        raise DDLError(f"channels: {channels!r}; expected 1 or 3")
    if isinstance(splits, str) or "training" not in splits or set(splits) - set(SPLITS):
        raise DDLError(f"splits: {splits!r}; expected ('training',) or ('training', 'testing')")


def count_channels(footage: Footage) -> int:
    """1 if the first frames of all clips are grey, else 3."""
    for clips in footage.clips.values():
        for clip in clips.values():
            # islice stops early on purpose: a broken end is reported when the clip is prepared.
            if not all(fr.is_grey(frame) for frame in islice(fr.read_frames(clip), 3)):
                return 3
    return 1


def describe(footage: Footage, request: Request) -> dict:
    """The manifest as far as it is known before any work, with the fingerprint of all of it."""
    files = footage.files()
    plan = {
        "format": FORMAT,
        "source": {
            "name": footage.root.resolve().name,
            "files": len(files),
            "sha256": source_checksum(footage.root, files),
        },
        "height": request.size[0],
        "width": request.size[1],
        "channels": request.channels,
        "tracked": list(request.tracked),
        "detector": request.detector.settings,
        "tracker": tracker_settings(),
    }
    return {**plan, "fingerprint": hashlib.sha256(json.dumps(plan).encode()).hexdigest()}


def read_finished(out: Path, fingerprint: str) -> dict | None:
    """The manifest of an earlier run of the same request if all its arrays are there."""
    try:
        manifest = json.loads((out / "manifest.json").read_text("utf-8"))
        same = manifest["fingerprint"] == fingerprint
        return manifest if same and all((out / f).is_file() for f in checksums(manifest)) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check_target(source: Path, out: Path) -> None:
    """Prepared data replaces only prepared data, never footage or a stranger's folder."""
    if source.resolve() == out.resolve():
        raise DDLError(f"{out}: holds the footage itself; give another folder for prepared data")
    ours = (out / "manifest.json").exists() or (out / ".partial").exists()
    if not ours and any((out / part).exists() for part in PARTS):
        raise DDLError(
            f"{out}: holds files that preparation would replace but did not write; "
            "give an empty folder"
        )


def make(footage: Footage, ranges: dict | None, request: Request, plan: dict, out: Path) -> dict:
    """Do the work in `.partial`, then move it to its place, the manifest last."""
    work = open_work_folder(out, plan["fingerprint"])
    records: dict[str, dict[str, dict]] = {split: {} for split in SPLITS}
    for split in SPLITS:
        for name, clip in footage.clips[split].items():
            records[split][name] = prepare_clip(clip, request, work)
    write_labels(footage, ranges, records["testing"], request.size, work)
    lengths = {name: record["frames"] for name, record in records["training"].items()}
    tracks = gather_tracks(work, records)
    coverage = common_track_coverage(tracks[tracks["split"] == "training"], lengths, WINDOW)
    if coverage == 0:
        raise DDLError(
            f"{footage.root}: no window of {WINDOW} training frames has a track throughout "
            f"({len(tracks)} boxes in {sum(lengths.values())} frames); expected objects that "
            f"detector {request.detector.settings['name']} finds, try another detector or a "
            "longer clip"
        )
    write_atomically(work / "tracks.csv", tracks.to_csv(index=False, float_format="%.6f"))
    manifest = {
        **plan,
        "clips": {s: strip(r) for s, r in records.items()},
        "coverage": coverage,
        "sha256": other_checksums(work),
        "versions": versions(),
    }
    move_into_place(work, out, manifest)
    return manifest


def open_work_folder(out: Path, fingerprint: str) -> Path:
    """`.partial` of the same request as it was left, else an empty one."""
    work = out / ".partial"
    stamp = work / "fingerprint"
    if not (stamp.is_file() and stamp.read_text() == fingerprint):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        write_atomically(stamp, fingerprint)
    return work


def prepare_clip(clip: Clip, request: Request, work: Path) -> dict:
    """Write one clip's array and its tracks; its record, written last, says that both are whole."""
    record_file = work / "records" / clip.split / f"{clip.name}.json"
    array_file = work / clip.split / f"{clip.name}.npy"
    if record_file.is_file() and array_file.is_file():
        return json.loads(record_file.read_text("utf-8"))
    rows: list[tuple] = []
    frames = tqdm(
        fr.read_frames(clip),
        desc=f"{clip.split} {clip.name}",
        unit="frame",
        total=len(clip.frames) or None,
        leave=False,
        disable=not request.progress,
    )
    if clip.split in request.tracked:
        request.detector.start(fr.read_frames(clip))
        frames = tracked(frames, request.detector, rows)
    count = write_frames(array_file, shrunk(clip, frames, request), request)
    record = {"frames": count, "sha256": file_checksum(array_file), "tracks": rows}
    write_atomically(record_file, json.dumps(record))
    return record


def tracked(frames: Iterable[np.ndarray], detector: Detector, rows: list) -> Iterator[np.ndarray]:
    """Pass the frames on and collect the rows of their tracks on the way."""
    tracker = ClipTracker()
    for frame in frames:
        rows.extend(tracker.push(detector.detect(frame), *frame.shape[:2]))
        yield frame


def shrunk(clip: Clip, frames: Iterable[np.ndarray], request: Request) -> Iterator[np.ndarray]:
    """Frames at the working size; colour in footage that began grey is an error."""
    for number, frame in enumerate(frames):
        if request.channels == 1 and not fr.is_grey(frame):
            raise DDLError(
                f"{clip.path}: frame {number} (counted from 0) has colour, but the "
                "clips begin grey; prepare with channels: 3"
            )
        yield fr.to_working_size(frame, request.size, request.channels)


def write_frames(path: Path, frames: Iterable[np.ndarray], request: Request) -> int:
    """Write N x C x H x W uint8 as .npy one frame at a time; returns N.

    A video tells its true length only at its end, so the header is written anew then; numpy pads
    it for a first axis that grows.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part, count = path.with_name(path.name + ".tmp"), 0
    with open(part, "wb") as file:
        write_header(file, (0, request.channels, *request.size))
        for frame in frames:
            file.write(frame.data)
            count += 1
        file.seek(0)
        write_header(file, (count, request.channels, *request.size))
    os.replace(part, path)
    return count


def write_header(file, shape: tuple[int, ...]) -> None:
    """Write the .npy header of a uint8 array; its length does not depend on shape[0]."""
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )


def gather_tracks(work: Path, records: dict) -> pd.DataFrame:
    """The tracks table from the clips' records."""
    rows = [
        (split, name, *row)
        for split in SPLITS
        for name, record in records[split].items()
        for row in record["tracks"]
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def strip(records: dict[str, dict]) -> dict[str, dict]:
    """Records without their tracks: those have a table of their own."""
    return {n: {"frames": r["frames"], "sha256": r["sha256"]} for n, r in records.items()}


def write_labels(
    footage: Footage,
    ranges: dict | None,
    records: dict[str, dict],
    size: tuple[int, int],
    work: Path,
) -> None:
    """Write labels and masks of the test clips; without a label file the masks give the labels."""
    for name, record in records.items():
        length, labels = record["frames"], None
        if ranges is not None:
            labels = layouts.frame_labels(footage.labels, name, ranges[name], length)
        if name in footage.masks:
            masks, abnormal = read_masks(
                footage.clips["testing"][name], footage.masks[name], length, size
            )
            save_array(work / "masks" / f"{name}.npy", masks)
            labels = abnormal if labels is None else labels
        if labels is not None:
            save_array(work / "labels" / f"{name}.npy", labels)


def read_masks(clip: Clip, paths: Sequence[Path], length: int, size: tuple[int, int]):
    """Masks of one clip at the working size (N x H x W) and 0/1 per frame (N), both uint8.

    A frame is abnormal if its full-size mask has any pixel, also one lost in resizing.
    """
    if len(paths) != length:
        raise DDLError(
            f"{paths[0].parent}: {len(paths)} masks for {length} frames of "
            f"{clip.path.name}; expected one mask per frame"
        )
    masks, abnormal = np.empty((length, *size), np.uint8), np.empty(length, np.uint8)
    for number, path in enumerate(paths):
        mask = fr.read_mask(path)
        masks[number], abnormal[number] = fr.mask_to_working_size(mask, size), mask.any()
    return masks, abnormal


def save_array(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array, allow_pickle=False)


def move_into_place(work: Path, out: Path, manifest: dict) -> None:
    """Put the finished parts where readers look; without a manifest nobody reads them."""
    (out / "manifest.json").unlink(missing_ok=True)
    for part in PARTS:
        target = out / part
        if target.is_dir():
            shutil.rmtree(target)
        if (work / part).exists():
            os.replace(work / part, target)
    write_atomically(out / "manifest.json", to_json(manifest))
    shutil.rmtree(work)


def other_checksums(work: Path) -> dict[str, str]:
    """SHA-256 of the tracks table and of each label and mask file, by path."""
    files = [work / "tracks.csv", *sorted(work.glob("labels/*")), *sorted(work.glob("masks/*"))]
    return {f.relative_to(work).as_posix(): file_checksum(f) for f in files}
