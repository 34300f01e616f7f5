"""Frame labels of the test clips, in every form that circulates::

    *.mat               `gt[0][k]`, 2 x n: one-based inclusive ranges of the k-th clip
    *.m                 `TestVideoFile{end+1}.gt_frame = [61:180]`: the same,
                        as UCSD states it
    *.npy               0/1 of all frames of all clips, one clip after the other
    <folder>/<clip>.npy 0/1 of a clip's frames
    labels.csv          clip,first,last: zero-based inclusive ranges

Whatever the form, ranges are counted from zero from here on, the last frame included.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.matlab import load_cells
from ddllib.errors import DDLError
from ddllib.reading import read_array

COLUMNS = ("clip", "first", "last")
UCSD_LINE = re.compile(r"^\s*TestVideoFile\{end\+1\}\.gt_frame\s*=\s*\[(.*?)\]", re.MULTILINE)
UCSD_RANGE = re.compile(r"\s*([0-9]{1,9})\s*:\s*([0-9]{1,9})\s*")

Ranges = list[tuple[int, int]]


@dataclass(frozen=True)
class Marks:
    """What a file says of one clip: abnormal ranges, zero-based and inclusive at both ends.

    `length` is the number of frames labelled, None where the form does not tell.
    """

    ranges: Ranges
    length: int | None = None


def read_labelling(path: Path, clips: Mapping[str, int | None]) -> dict[str, Marks]:
    """The marks of each test clip by its name.

    `clips`: every test clip of the data set in order, also one that is not there, with its number
    of frames (None where unknown). A clip of which the file says nothing is left out, but in a
    list of ranges it has no anomaly. Raises DDLError if the file cannot be read or does not fit.
    """
    if path.is_dir():
        return {name: read_vector(path / f"{name}.npy") for name in clips_in(path, clips)}
    readers = {".mat": read_mat, ".m": read_ucsd, ".csv": read_csv, ".npy": read_joined}
    return readers[path.suffix.lower()](path, clips)


def clips_in(folder: Path, clips: Mapping[str, int | None]) -> list[str]:
    """The clips that have a file in a folder of labels; a file without its clip is an error."""
    there = {p.stem for p in folder.glob("[!.]*.npy")}
    odd = sorted(there - clips.keys())
    if odd:
        raise DDLError(f"{folder / odd[0]}.npy: labels without a test clip; remove them")
    return [name for name in clips if name in there]


def read_mat(path: Path, clips: Mapping[str, int | None]) -> dict[str, Marks]:
    cells = load_cells(path, "gt", "gt[0][clip] with 2 x n rows")
    check_count(path, len(cells), clips)
    return {name: mat_ranges(path, name, cell) for name, cell in zip(clips, cells, strict=True)}


def check_count(path: Path, found: int, clips: Mapping[str, int | None]) -> None:
    if found != len(clips):
        raise DDLError(
            f"{path}: labels for {found} clips, but there are {len(clips)} test "
            "clips; expected one entry per test clip"
        )


def mat_ranges(path: Path, clip: str, rows: np.ndarray) -> Marks:
    """Marks of one cell of `gt`; an empty cell is a clip without anomalies."""
    if rows.size == 0:
        return Marks([])
    whole = rows.dtype.kind in "iuf" and np.isfinite(rows).all() and not np.any(rows % 1)
    if not whole or rows.ndim != 2 or len(rows) != 2:
        raise DDLError(
            f"{path}: clip {clip}: expected 2 x n whole numbers (first and last "
            f"frames), found shape {rows.shape}"
        )
    return Marks([(int(first) - 1, int(last) - 1) for first, last in rows.T])


def read_ucsd(path: Path, clips: Mapping[str, int | None]) -> dict[str, Marks]:
    lines = UCSD_LINE.findall(path.read_text("latin-1"))
    check_count(path, len(lines), clips)
    return {name: ucsd_ranges(path, name, line) for name, line in zip(clips, lines, strict=True)}


def ucsd_ranges(path: Path, clip: str, line: str) -> Marks:
    """Marks of a line such as `5:90, 140:200`."""
    found = [UCSD_RANGE.fullmatch(part) for part in line.split(",") if part.strip()]
    if not all(found):
        raise DDLError(f"{path}: clip {clip}: expected ranges such as 61:180, found [{line}]")
    return Marks([(int(first) - 1, int(last) - 1) for first, last in (f.groups() for f in found)])


def load_binary(path: Path) -> np.ndarray:
    """A .npy file of 0 and 1, flat."""
    values = read_array(path, "a readable array of labels", "fetch it again").ravel()
    if values.dtype.kind not in "buif" or not np.isin(values, (0, 1)).all():
        raise DDLError(f"{path}: expected 0 for normal and 1 for abnormal frames only")
    return values.astype(np.uint8)


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
    ranges: dict[str, Ranges] = {name: [] for name in clips}
    for number, row in read_rows(path):
        if row["clip"] not in ranges:
            raise DDLError(
                f"{path}: line {number}: no test clip {row['clip']!r}; expected one of "
                f"{', '.join(clips) or 'none'}"
            )
        if not row["first"] and not row["last"]:
            continue  # a clip named only to say that it is normal
        try:
            ranges[row["clip"]].append((int(row["first"]), int(row["last"])))
        except (TypeError, ValueError) as error:
            raise DDLError(
                f"{path}: line {number}: first and last must be whole numbers, found "
                f"{row['first']!r} and {row['last']!r}"
            ) from error
    return {name: Marks(found) for name, found in ranges.items()}


def read_rows(path: Path) -> list[tuple[int, dict]]:
    """Rows of labels.csv with their line numbers."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file, skipinitialspace=True)
            rows = [(table.line_num, row) for row in table]
            header = table.fieldnames or []
    except (UnicodeDecodeError, csv.Error) as error:
        raise DDLError(f"{path}: not a readable CSV file ({error}); save it as UTF-8") from error
    missing = [c for c in COLUMNS if c not in header]
    if missing:
        raise DDLError(
            f"{path}: no column {', '.join(missing)}; expected the header {','.join(COLUMNS)}"
        )
    return rows


def clips_named(path: Path) -> set[str]:
    """The clips that a labels.csv names."""
    return {row["clip"] for _, row in read_rows(path)}


def frame_labels(path: Path, clip: str, marks: Marks, length: int) -> np.ndarray:
    """0/1 per frame, uint8 of shape (length,); 1 inside a range.

    Raises DDLError if the labels are for another number of frames, or a range is turned round or
    leaves the clip.
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
