"""Where the clips, labels and masks of a footage folder are.

The common layout is::

    <root>/training/frames/<clip>/<frame>.jpg   or  <root>/training/<clip>.avi
                                                or  <root>/training/videos/<clip>.avi
    <root>/testing/...                          the same, optional
    <root>/testing/masks/<clip>/<frame>.png     optional, non-zero pixel = abnormal
    <root>/*.mat  or  <root>/testing/labels.csv optional frame labels
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ddllib.errors import DDLError

SPLITS = ("training", "testing")
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
VIDEOS = frozenset({".avi", ".mp4", ".m4v", ".mov", ".mkv", ".mpg", ".mpeg", ".webm", ".wmv"})
LABEL_COLUMNS = ("clip", "first", "last")

Ranges = list[tuple[int, int]]


@dataclass(frozen=True)
class Clip:
    """One clip: a folder of frames (`frames` in order) or a video (`frames` empty)."""

    split: str
    name: str
    path: Path
    frames: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Footage:
    """All that a footage folder holds: clips by split and name, masks of test clips, labels."""

    root: Path
    clips: Mapping[str, Mapping[str, Clip]]
    masks: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    labels: Path | None = None

    def files(self) -> list[Path]:
        """Every file that the prepared data depends on, in a fixed order."""
        found = [self.labels] if self.labels else []
        for split in SPLITS:
            for clip in self.clips[split].values():
                found.extend(clip.frames or (clip.path,))
        for masks in self.masks.values():
            found.extend(masks)
        return found


def natural_key(name: str) -> tuple:
    """Sort key under which "frame2" comes before "frame10"; ties fall back to the text."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p], name


def find_footage(root: str | Path) -> Footage:
    """Find clips, masks and labels under `root`; nothing is decoded yet.

    Raises DDLError if there is no training clip, a clip is empty or has a gap in its frame
    numbers, masks do not fit the frames, or the label file is not the only one.
    """
    root = Path(root)
    if not root.is_dir():
        raise DDLError(f"{root}: no such folder; give the folder that holds training/ and testing/")
    clips = {split: find_clips(root, split) for split in SPLITS}
    if not clips["training"]:
        raise DDLError(
            f"{root / 'training'}: no training clips found; expected frames/<clip>/<frame>.jpg "
            "or <clip>.avi below it"
        )
    masks = find_masks(root / "testing" / "masks", clips["testing"])
    return Footage(root, clips, masks, find_label_file(root))


def find_clips(root: Path, split: str) -> dict[str, Clip]:
    """Clips of one split in natural order; an absent split folder gives none."""
    base = root / split
    folders = [p for p in visible(base / "frames") if p.is_dir()]
    videos = [
        p
        for place in (base, base / "videos")
        for p in visible(place)
        if p.suffix.lower() in VIDEOS and p.is_file()
    ]
    if folders and videos:
        raise DDLError(
            f"{base}: holds both folders of frames and videos ({videos[0].name}); "
            "expected one of the two, move the other away"
        )
    clips: dict[str, Clip] = {}
    for path in sorted(folders or videos, key=lambda p: natural_key(p.name)):
        name = path.name if folders else path.stem
        if name in clips:
            raise DDLError(
                f"{path}: a second clip named {name} ({clips[name].path.name} is the "
                "first); rename one of them"
            )
        frames = find_images(path) if folders else ()
        if folders:
            check_numbering(frames)
        clips[name] = Clip(split, name, path, frames)
    return clips


def visible(folder: Path) -> list[Path]:
    """Entries of a folder without hidden ones (`._001.tif` of macOS is no frame)."""
    return [p for p in folder.iterdir() if not p.name.startswith(".")] if folder.is_dir() else []


def find_images(folder: Path) -> tuple[Path, ...]:
    """Images of a folder in natural order of their names; none is an error."""
    images = [p for p in visible(folder) if p.suffix.lower() in IMAGES]
    if not images:
        raise DDLError(
            f"{folder}: no images in it; expected frames such as 000.jpg, or remove "
            "the empty folder"
        )
    return tuple(sorted(images, key=lambda p: natural_key(p.name)))


def check_numbering(frames: Sequence[Path]) -> None:
    """Frames counted one by one must have no hole: a lost file would shift every label."""
    digits = [re.search(r"([0-9]+)$", p.stem) for p in frames]
    if not all(digits):
        return
    numbers = np.array([int(d.group(1)) for d in digits])
    steps = np.diff(numbers)
    # A smallest step above 1 is a sampled clip or a time stamp, not a count.
    if len(steps) and steps.min() == 1 and steps.max() > 1:
        before = frames[int(np.argmax(steps > 1))]
        raise DDLError(
            f"{before.parent}: frame missing after {before.name}; expected numbers without a "
            "gap, restore the frame or number the frames anew"
        )


def find_masks(folder: Path, clips: Mapping[str, Clip]) -> dict[str, tuple[Path, ...]]:
    """Mask images of each test clip, in the order of its frames; {} without a masks folder."""
    if not folder.is_dir():
        return {}
    found = {p.name: p for p in visible(folder) if p.is_dir()}
    for name in sorted(found.keys() ^ clips.keys(), key=natural_key):
        what = "masks without a test clip" if name in found else "no masks for this test clip"
        raise DDLError(
            f"{folder / name}: {what}; expected one folder of masks per test clip, "
            "with the clip's name"
        )
    masks = {name: find_images(found[name]) for name in clips}
    for name, clip in clips.items():
        if clip.frames:
            check_mask_names(masks[name], clip)
    return masks


def check_mask_names(masks: Sequence[Path], clip: Clip) -> None:
    """Each frame of a folder clip has a mask of its own name and the other way round."""
    frames, stems = [p.stem for p in clip.frames], {p.stem for p in masks}
    if len(masks) == len(frames) and stems == set(frames):
        return
    odd = sorted(stems ^ set(frames), key=natural_key)
    detail = f"; first without a partner: {odd[0]}" if odd else ""
    raise DDLError(
        f"{masks[0].parent}: {len(masks)} masks for {len(frames)} frames{detail}; "
        "expected one mask per frame with the frame's name"
    )


def find_label_file(root: Path) -> Path | None:
    """The one label file of a footage folder, or None."""
    found = sorted(p for p in visible(root) if p.suffix.lower() == ".mat")
    found += [p for p in (root / "testing" / "labels.csv",) if p.is_file()]
    if len(found) > 1:
        names = ", ".join(str(p.relative_to(root)) for p in found)
        raise DDLError(
            f"{root}: more than one label file ({names}); expected one, move the others away"
        )
    return found[0] if found else None


def read_ranges(path: Path, clips: Sequence[str]) -> dict[str, Ranges]:
    """Abnormal ranges of each test clip, zero-based and inclusive at both ends.

    Raises DDLError if the file cannot be read or speaks of clips that are not there.
    """
    read = read_mat_ranges if path.suffix.lower() == ".mat" else read_csv_ranges
    return read(path, clips)


def read_mat_ranges(path: Path, clips: Sequence[str]) -> dict[str, Ranges]:
    """`gt[0][k]` is 2 x n, one-based inclusive first and last frames of the k-th test clip."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(path, variable_names=["gt"])
    except NotImplementedError as error:
        raise DDLError(f"{path}: a MATLAB 7.3 file; save it again with `save -v7`") from error
    except (MatReadError, ValueError, TypeError, OSError, EOFError) as error:
        raise DDLError(f"{path}: not a readable MATLAB file ({error}); fetch it again") from error
    if "gt" not in content:
        raise DDLError(f"{path}: holds no variable `gt`; expected gt[0][clip] with 2 x n rows")
    cells = content["gt"].ravel()
    if len(cells) != len(clips):
        raise DDLError(
            f"{path}: labels for {len(cells)} clips, but there are {len(clips)} test "
            "clips; expected one entry of gt per test clip"
        )
    pairs = zip(clips, cells, strict=True)
    return {clip: mat_cell_ranges(path, clip, cell) for clip, cell in pairs}


def mat_cell_ranges(path: Path, clip: str, cell) -> Ranges:
    """Zero-based ranges of one cell of `gt`; an empty cell is a clip without anomalies."""
    rows = np.asarray(cell)
    if rows.size == 0:
        return []
    if rows.dtype.kind not in "iuf" or rows.ndim != 2 or len(rows) != 2 or np.any(rows % 1):
        raise DDLError(
            f"{path}: clip {clip}: expected 2 x n whole numbers (first and last "
            f"frames), found shape {rows.shape}"
        )
    return [(int(first) - 1, int(last) - 1) for first, last in rows.T]


def read_csv_ranges(path: Path, clips: Sequence[str]) -> dict[str, Ranges]:
    """Rows clip,first,last: zero-based, inclusive; a clip without a row has no anomaly."""
    ranges: dict[str, Ranges] = {clip: [] for clip in clips}
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file, skipinitialspace=True)
            rows, header = list(table), table.fieldnames or []
    except (UnicodeDecodeError, csv.Error) as error:
        raise DDLError(f"{path}: not a readable CSV file ({error}); save it as UTF-8") from error
    missing = [c for c in LABEL_COLUMNS if c not in header]
    if missing:
        raise DDLError(
            f"{path}: no column {', '.join(missing)}; expected the header {','.join(LABEL_COLUMNS)}"
        )
    for number, row in enumerate(rows, start=2):
        if row["clip"] not in ranges:
            raise DDLError(
                f"{path}: line {number}: no test clip {row['clip']!r}; expected one of "
                f"{', '.join(clips) or 'none'}"
            )
        try:
            ranges[row["clip"]].append((int(row["first"]), int(row["last"])))
        except (TypeError, ValueError) as error:
            raise DDLError(
                f"{path}: line {number}: first and last must be whole numbers, found "
                f"{row['first']!r} and {row['last']!r}"
            ) from error
    return ranges


def frame_labels(path: Path, clip: str, ranges: Ranges, length: int) -> np.ndarray:
    """0/1 per frame, uint8 of shape (length,); 1 inside a range.

    Raises DDLError if a range is turned round or leaves the clip.
    """
    labels = np.zeros(length, np.uint8)
    for first, last in ranges:
        if not 0 <= first <= last < length:
            raise DDLError(
                f"{path}: clip {clip}: frames {first} to {last} (counted from 0) do "
                f"not lie in its {length} frames; correct the label file"
            )
        labels[first : last + 1] = 1
    return labels
