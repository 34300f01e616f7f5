"""RBDC and TBDC by annotated boxes, as the circulating files of others hold them.

Two forms are read, both a line for each box and a file for each clip: ``frame track cx cy w h``,
with spaces, the centre and the sides (MERL, for UCSD Ped2 and CUHK Avenue), and
``track,frame,x1,y1,x2,y2``, with commas, the corners (AED, for ShanghaiTech). Pixels are those of
the original footage. The files are not part of this project: whoever has them names their folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ddllib.errors import DDLError
from ddllib.localisation import (
    LEVELS,
    Criteria,
    check_criteria,
    chunks_of,
    criteria,
    label_regions,
    smooth,
    thresholds,
)

SUFFIXES = (".txt", ".csv")
_MERL, _AED = "frame track cx cy w h", "track,frame,x1,y1,x2,y2"


def read_boxes(
    folder: Path | str,
    lengths: Mapping[str, int],
    shapes: Mapping[str, tuple[int, int]],
    first: int = 0,
) -> dict[str, np.ndarray]:
    """The boxes of each clip: K x 6 float64, frame from 0, track, x0, y0, x1, y1 in [0, 1].

    ``lengths`` and ``shapes`` are the frames of each clip and its original height and width in
    pixels; ``first`` is the number that the files give the first frame. A file is of the clip that
    it is named like (``01_0014.txt``), or of the one with the same number (``Test004_gt.txt`` of
    ``04``). A clip without a file has no box. Raises ``DDLError`` for a folder without such files,
    and for a file that is of no clip or holds anything else.
    """
    folder = Path(folder)
    files = sorted(path for path in folder.glob("*") if path.suffix in SUFFIXES)
    if not files:
        raise DDLError(f"{folder}: no files of boxes; expected one {' or '.join(SUFFIXES)} a clip")
    boxes = {name: np.zeros((0, 6)) for name in lengths}
    for path in files:
        name = _clip_of(path, lengths)
        if len(boxes[name]):
            raise DDLError(f"{path}: a second file of clip {name!r}; keep one of them")
        boxes[name] = _read(path, lengths[name], shapes[name], first)
    return boxes


def _clip_of(path: Path, clips: Mapping[str, int]) -> str:
    stem = path.stem.removesuffix("_gt")
    if stem in clips:
        return stem
    number = re.sub(r"\D", "", stem).lstrip("0")
    same = [name for name in clips if re.sub(r"\D", "", name).lstrip("0") == number and number]
    if len(same) != 1:
        names = ", ".join(sorted(clips)[:5])
        raise DDLError(f"{path}: of no test clip; expected the name or number of one, as {names}")
    return same[0]


def _read(path: Path, frames: int, shape: tuple[int, int], first: int) -> np.ndarray:
    """One file's boxes as ``read_boxes`` gives them, in order of the frames."""
    rows = []
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DDLError(f"{path}: cannot be read ({error}); expected lines of boxes") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        has_corners = "," in line
        try:
            values = [float(part) for part in line.split("," if has_corners else None)]
        except ValueError:
            values = []
        if len(values) != 6 or not np.isfinite(values).all():
            raise DDLError(
                f"{path}: line {number} is no box ({line[:60]!r}); expected {_MERL} or {_AED}"
            )
        rows.append(_row(values, has_corners))
        frame, x0, y0, x1, y1 = rows[-1][0] - first, *rows[-1][2:]
        if not (0 <= frame < frames and frame == int(frame)):
            raise DDLError(
                f"{path}: line {number} is of frame {rows[-1][0]:g}, the clip has {frames} from "
                f"{first} on; give the number of its first frame, 0 or 1, or the right clip"
            )
        if not (x1 > x0 and y1 > y0):
            raise DDLError(f"{path}: line {number} is an empty box; remove the line")
    boxes = np.array(rows, float).reshape(-1, 6)
    height, width = shape
    boxes[:, 0] -= first
    boxes[:, 2:] = (boxes[:, 2:] / (width, height, width, height)).clip(0, 1)
    return boxes[np.argsort(boxes[:, 0], kind="stable")]


def _row(values: list[float], has_corners: bool) -> tuple[float, ...]:
    """Frame, track and corners of one line."""
    if has_corners:
        track, frame, *corners = values
        return frame, track, *corners
    frame, track, x, y, width, height = values
    return frame, track, x - width / 2, y - height / 2, x + width / 2, y + height / 2


def region_and_track_by_boxes(
    maps: Mapping[str, np.ndarray],
    boxes: Mapping[str, np.ndarray],
    patch: int,
    alpha: float = 0.1,
    beta: float = 0.1,
    levels: int = LEVELS,
) -> Criteria:
    """``localisation.region_and_track`` with annotated boxes as true regions, tracks as told.

    ``maps`` are N x H x W by clip, ``boxes`` those of ``read_boxes``. A true region is all pixels
    of its box, of which there may be several that overlap; a detected region is compared with each
    pixel by pixel. Raises ``DDLError`` as ``region_and_track`` does, and where no clip has a box.
    """
    check_criteria(alpha, beta, levels)
    if set(maps) != set(boxes) or not any(map(len, boxes.values())):
        raise DDLError("boxes: none for these clips; expected some box in some clip that is scored")
    empty = {name: np.zeros(np.shape(array), np.uint8) for name, array in maps.items()}
    values = thresholds(maps, empty, patch, levels)
    names = sorted(maps)
    tracks = np.concatenate([np.char.add(f"{n} ", boxes[n][:, 1].astype(str)) for n in names])
    false, detected = np.zeros(len(values), np.int64), np.zeros((len(values), len(tracks)), bool)
    before = 0
    for name in names:
        pixels, start = _in_pixels(boxes[name], *np.shape(maps[name])[1:]), 0
        for chunk, _ in chunks_of({name: maps[name]}, {name: empty[name]}):
            chunk = smooth(chunk, patch)
            within = np.flatnonzero((pixels[:, 0] >= start) & (pixels[:, 0] < start + len(chunk)))
            for k, value in enumerate(values):
                false_count, hits = _match(chunk >= value, pixels[within], start, beta)
                false[k] += false_count
                detected[k, before + within[hits]] = True
            start += len(chunk)
        before += len(pixels)
    numbers = np.unique(tracks, return_inverse=True)[1]
    return criteria(false, detected, numbers, sum(map(len, maps.values())), alpha, levels)


def _in_pixels(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Frame, x0, y0, x1, y1 in whole pixels of a map, ends excluded; at least one pixel each."""
    corners = boxes[:, 2:] * (width, height, width, height)
    low = np.minimum(np.floor(corners[:, :2]), (width - 1, height - 1))
    high = np.maximum(np.ceil(corners[:, 2:]), low + 1)
    return np.column_stack([boxes[:, 0], low, high]).astype(int)


def _match(hot: np.ndarray, boxes: np.ndarray, start: int, beta: float) -> tuple[int, np.ndarray]:
    """How many regions of ``hot``, n x H x W bool, are false, and which boxes are detected."""
    labels, count = label_regions(hot)
    areas, true = np.bincount(labels.ravel(), minlength=count + 1), np.zeros(count + 1, bool)
    hits = np.zeros(len(boxes), bool)
    for k, (frame, x0, y0, x1, y1) in enumerate(boxes):
        shared = np.bincount(labels[frame - start, y0:y1, x0:x1].ravel(), minlength=count + 1)
        iou = shared / (areas + (x1 - x0) * (y1 - y0) - shared)
        is_match = iou >= beta
        is_match[0] = False  # what is below the threshold
        true |= is_match
        hits[k] = is_match.any()
    return count - int(true.sum()), hits
