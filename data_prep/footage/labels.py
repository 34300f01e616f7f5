"""Read frame labels of the test clips in all common file formats::

    *.mat               `gt[0][k]`, 2 x n or n x 2: one-based inclusive ranges of the k-th clip
    *.m                 `TestVideoFile{end+1}.gt_frame = [61:180]`: the same,
                        as UCSD states it
    *.npy               0/1 of all frames of all clips, one clip after the other
    <folder>/<clip>.npy 0/1 of a clip's frames
    labels.csv          clip,first,last: zero-based inclusive ranges (`label_tables`)
    UBnormal's folder   object,first,last in each <video>_tracks.txt (`ubnormal`)

In the program all ranges count from zero and include the last frame.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.footage.label_tables import clips_named, ranges_by_clip
from data_prep.footage.matlab import load_cells
from data_prep.footage.matlab_ranges import ranges_of_cells
from data_prep.footage.naming import plain_name
from data_prep.footage.ubnormal import abnormal_ranges, is_ubnormal, track_files
from ddllib.errors import DDLError
from ddllib.io.reading import read_array

__all__ = [
    "Marks",
    "clips_named",
    "files_of",
    "frame_labels",
    "marks_of",
    "read_labelling",
    "vectors_in",
]

UCSD_LINE = re.compile(r"^\s*TestVideoFile\{end\+1\}\.gt_frame\s*=\s*\[(.*?)\]", re.MULTILINE)
UCSD_RANGE = re.compile(r"\s*([0-9]{1,9})\s*:\s*([0-9]{1,9})\s*")

Ranges = list[tuple[int, int]]


@dataclass(frozen=True)
class Marks:
    """The labels of one clip: abnormal ranges, zero-based and inclusive at both ends.

    `length` is the number of labelled frames, None if the file format does not hold it.
    """

    ranges: Ranges
    length: int | None = None


def read_labelling(path: Path, clips: Mapping[str, int | None]) -> dict[str, Marks]:
    """The marks of each test clip by its name.

    `clips`: every test clip of the data set in order, also a missing one, with its number of frames
    (None if unknown). A clip without labels in the file is left out; in a file that lists ranges it
    is a clip without anomalies. Raises DDLError if the file cannot be read or does not match.
    """
    if path.is_dir() and is_ubnormal(path):
        return {name: Marks(ranges) for name, ranges in abnormal_ranges(path, clips).items()}
    if path.is_dir():
        return {name: read_vector(file) for name, file in clips_in(path, clips).items()}
    readers = {".mat": read_mat, ".m": read_ucsd, ".csv": read_csv, ".npy": read_joined}
    return readers[path.suffix.lower()](path, clips)


def files_of(path: Path) -> list[Path]:
    """The files that a labelling is read from, in a fixed order."""
    if path.is_dir():
        return track_files(path) if is_ubnormal(path) else sorted(path.glob("[!.]*.npy"))
    return [path]


def vectors_in(folder: Path) -> dict[str, Path]:
    """The files of a folder of labels by the names of their clips."""
    files: dict[str, Path] = {}
    for path in sorted(folder.glob("[!.]*.npy")):
        name = plain_name(path.stem)
        if name in files:
            raise DDLError(
                f"{path}: labels of {name} a second time, by a name that looks the same; expected "
                "one file for each clip; rename one of them"
            )
        files[name] = path
    return files


def clips_in(folder: Path, clips: Mapping[str, int | None]) -> dict[str, Path]:
    """The files of the clips that have one, in order; a file without its clip is an error."""
    files, by_plain_name = vectors_in(folder), {plain_name(name): name for name in clips}
    if unmatched := [name for name in files if name not in by_plain_name]:
        raise DDLError(
            f"{files[unmatched[0]]}: labels without a test clip; expected one of "
            f"{', '.join(clips) or 'none'}; rename the file as its clip, or add the clip"
        )
    return {name: files[plain] for plain, name in by_plain_name.items() if plain in files}


def read_mat(path: Path, clips: Mapping[str, int | None]) -> dict[str, Marks]:
    cells = load_cells(path, "gt", "gt[0][clip] with 2 x n rows")
    check_count(path, len(cells), clips)
    ranges = ranges_of_cells(path, dict(zip(clips, cells, strict=True)))
    return {
        name: Marks([(int(first) - 1, int(last) - 1) for first, last in rows])
        for name, rows in ranges.items()
    }


def check_count(path: Path, count: int, clips: Mapping[str, int | None]) -> None:
    if count != len(clips):
        raise DDLError(
            f"{path}: labels for {count} clips, but there are {len(clips)} test "
            "clips; expected one entry per test clip"
        )


def read_ucsd(path: Path, clips: Mapping[str, int | None]) -> dict[str, Marks]:
    lines = UCSD_LINE.findall(path.read_text("latin-1"))
    check_count(path, len(lines), clips)
    return {name: ucsd_ranges(path, name, line) for name, line in zip(clips, lines, strict=True)}


def ucsd_ranges(path: Path, clip: str, line: str) -> Marks:
    """Marks of a line such as `5:90, 140:200`."""
    matches = [UCSD_RANGE.fullmatch(part) for part in line.split(",") if part.strip()]
    if not all(matches):
        raise DDLError(f"{path}: clip {clip}: expected ranges such as 61:180, found [{line}]")
    return Marks([(int(match[1]) - 1, int(match[2]) - 1) for match in matches])


def load_binary(path: Path) -> np.ndarray:
    """A .npy file of 0 and 1 as a flat array; its shape may be N, 1 x N or N x 1."""
    values = read_array(path, "a readable array of labels", "fetch it again")
    if not values.ndim or sum(side != 1 for side in values.shape) > 1:
        raise DDLError(
            f"{path}: an array of shape {values.shape}; expected one row of labels, 0 or 1 for "
            "each frame; save it so"
        )
    if values.dtype.kind not in "buif" or not np.isin(values, (0, 1)).all():
        examples = ", ".join(str(value) for value in np.unique(values)[:4].tolist())
        raise DDLError(
            f"{path}: values such as {examples}; expected 0 for normal and 1 for abnormal frames "
            "only; save them so"
        )
    return values.ravel().astype(np.uint8)


def read_vector(path: Path) -> Marks:
    return marks_of(load_binary(path))


def marks_of(labels: np.ndarray) -> Marks:
    """Ranges of the ones in a vector of 0 and 1."""
    edges = np.flatnonzero(np.diff(labels.astype(int), prepend=0, append=0)).tolist()
    ranges = [(first, end - 1) for first, end in zip(edges[::2], edges[1::2], strict=True)]
    return Marks(ranges, len(labels))


def read_joined(path: Path, clips: Mapping[str, int | None]) -> dict[str, Marks]:
    values, lengths = load_binary(path), list(clips.values())
    if None in lengths:
        raise DDLError(f"{path}: labels of joined clips, but one video does not state its length")
    if sum(lengths) != len(values):
        raise DDLError(
            f"{path}: {len(values)} labels, but the {len(lengths)} test clips have "
            f"{sum(lengths)} frames; expected one label per frame"
        )
    parts = np.split(values, np.cumsum(lengths)[:-1])
    return {name: marks_of(part) for name, part in zip(clips, parts, strict=True)}


def read_csv(path: Path, clips: Mapping[str, int | None]) -> dict[str, Marks]:
    return {name: Marks(ranges) for name, ranges in ranges_by_clip(path, clips).items()}


def frame_labels(path: Path, clip: str, marks: Marks, length: int) -> np.ndarray:
    """0/1 per frame, uint8 of shape (length,); 1 inside a range.

    Raises DDLError if the labels are for another number of frames, or if a range ends before it
    begins or reaches beyond the clip.
    """
    if marks.length is not None and marks.length != length:
        raise DDLError(
            f"{path}: clip {clip}: {marks.length} labels for {length} frames; expected one label "
            "per frame"
        )
    labels = np.zeros(length, np.uint8)
    for first, last in marks.ranges:
        if not 0 <= first <= last < length:
            raise DDLError(
                f"{path}: clip {clip}: frames {first} to {last} (counted from 0) do "
                f"not lie in its {length} frames; correct the label file"
            )
        labels[first : last + 1] = 1
    return labels
