"""The generated walkway scene: the embedded footage of the `demo` profile.

A fixed camera looks down on a paved walkway. In the far lane people walk to the left, in the near
lane to the right. Training clips show only that. Test clips also show a cyclist, a cart, a runner
and a person who walks the wrong way; the visible pixels of each abnormal figure are known exactly.
"""

import csv
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from filelock import FileLock

from data_prep.demo.scene import expose, render, scenery_of
from data_prep.demo.story import ANOMALIES, PLAN, Figure, cast
from ddllib.errors import DDLError

__all__ = ["ANOMALIES", "generate", "labels_by_kind", "ordinary"]

VERSION = 1  # increase it whenever a frame changes
MARKER = "walkway-scene.json"  # written last, holds the request
LONGEST = 1000  # frames of a clip: their names have three digits
SPLITS = ("training", "testing")
BOX_COLUMNS = ("split", "clip", "frame", "object", "kind", "x0", "y0", "x1", "y1")


def generate(
    root: str | Path,
    seed: int = 0,
    training_clips: int = 6,
    testing_clips: int = 6,
    frames: int = 120,
) -> Path:
    """Write the walkway scene under `root` in the common layout of raw footage; return `root`.

    Written are `training/frames/<clip>/<frame>.png` and `testing/frames/<clip>/<frame>.png`
    (192 x 128 pixels, RGB, 8 bits, clips from "01", frames from "000"),
    `testing/masks/<clip>/<frame>.png` (0 or 255: the visible pixels of abnormal figures),
    `testing/labels.csv` (clip, first, last: zero-based, inclusive runs of frames whose mask is
    not empty) and `boxes.csv` (split, clip, frame, object, kind, x0, y0, x1, y1: the smallest box
    around each figure's visible pixels, end exclusive; `kind` is "walker" or one of `ANOMALIES`).

    The same arguments give the same bytes (under the same NumPy and OpenCV), and a clip does not
    depend on how many others there are. A folder that already holds this very scene is left as
    it is; another generated scene there is replaced, once the new one is complete. A process that
    wants a scene which another one is writing waits for it.

    Raises DDLError if a count is out of range, if `root` holds anything else, or cannot be written.
    """
    root = Path(root)
    if min(seed, testing_clips) < 0 or training_clips < 1 or not 1 <= frames <= LONGEST:
        raise DDLError(
            f"{root}: no scene has seed={seed}, training_clips={training_clips}, testing_clips="
            f"{testing_clips}, frames={frames}; expected seed and testing_clips from 0, "
            f"training_clips from 1 and frames from 1 to {LONGEST}; change the arguments"
        )
    request = {
        "version": VERSION,
        "seed": seed,
        "training_clips": training_clips,
        "testing_clips": testing_clips,
        "frames": frames,
    }
    try:
        if _earlier_request(root, request) == request:
            return root
        root.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(root.parent / f".{root.name}.lock"):
            _renew(root, request)
    except OSError as error:
        raise DDLError(
            f"{root}: the walkway scene cannot be written ({error.strerror}); expected a folder "
            "that can be made and about 100 MB of space; choose another folder or free some space"
        ) from error
    return root


def labels_by_kind(
    seed: int = 0, testing_clips: int = 6, frames: int = 120
) -> dict[str, dict[str, np.ndarray]]:
    """Which frames of the test clips show an anomaly of each kind, by kind and clip: N bool.

    The arguments are those of ``generate``, whose labels these are, taken apart.
    """
    labels: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in ANOMALIES}
    scenery = scenery_of(seed)
    for index in range(testing_clips):
        figures = _figures(seed, "testing", index, frames)
        for clips in labels.values():
            clips[_clip(index)] = np.zeros(frames, bool)
        abnormal = {figure.number: figure.kind for figure in figures if figure.kind in ANOMALIES}
        for frame in range(frames if abnormal else 0):
            present = [placed for figure in figures if (placed := figure.at(frame))]
            if not abnormal.keys() & {placed.number for placed in present}:
                continue
            _, numbers = render(scenery, present)
            for number in abnormal.keys() & set(np.unique(numbers)):
                labels[abnormal[number]][_clip(index)][frame] = True
    return labels


def _renew(root: Path, request: dict) -> None:
    """Write the scene, unless another process has written it meanwhile."""
    earlier = _earlier_request(root, request)
    if earlier == request:
        return
    with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as scratch:
        scene = Path(scratch) / "scene"
        _write_scene(scene, request)
        if earlier:
            shutil.rmtree(root)
        os.replace(scene, root)


def _earlier_request(root: Path, request: dict) -> dict | None:
    """The request of the scene at `root`; None if there is nothing yet."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return None
    try:
        earlier = json.loads((root / MARKER).read_text())
    except (OSError, ValueError):
        earlier = None
    if not isinstance(earlier, dict) or earlier.keys() != request.keys():
        raise DDLError(
            f"{root}: holds something other than a generated scene (no readable {MARKER}); "
            "expected a new or empty folder; choose another or empty it"
        )
    return earlier


def _write_scene(root: Path, request: dict) -> None:
    """Write every clip, then the tables, then the marker."""
    boxes, labels = [], []
    for split in SPLITS:
        for index in range(request[f"{split}_clips"]):
            clip_boxes, abnormal = _write_clip(
                root, split, index, request["seed"], request["frames"]
            )
            boxes += clip_boxes
            labels += [(_clip(index), first, last) for first, last in _runs(abnormal)]
    (root / "testing").mkdir(exist_ok=True)
    _write_table(root / "testing" / "labels.csv", ("clip", "first", "last"), labels)
    _write_table(root / "boxes.csv", BOX_COLUMNS, boxes)
    (root / MARKER).write_text(json.dumps(request, indent=2) + "\n")


def _clip(index: int) -> str:
    return f"{index + 1:02d}"


def _write_clip(
    root: Path, split: str, index: int, seed: int, frames: int
) -> tuple[list[tuple], np.ndarray]:
    """Write one clip's frames and masks; return its rows of boxes.csv and its labels, N bool."""
    _, sensor = _streams(seed, 1 + SPLITS.index(split), index)
    figures = _figures(seed, split, index, frames)
    kinds = {figure.number: figure.kind for figure in figures}
    abnormal = [number for number, kind in kinds.items() if kind in ANOMALIES]
    clip, boxes, labels = _clip(index), [], np.zeros(frames, bool)
    for frame, (exposed, numbers, present) in enumerate(_film(seed, figures, sensor, frames)):
        name = f"{clip}/{frame:03d}.png"
        _write_png(root / split / "frames" / name, exposed[..., ::-1])
        boxes += [
            (split, clip, frame, placed.number, kinds[placed.number], *box)
            for placed in present
            if (box := _box(numbers == placed.number))
        ]
        if split == "testing":
            mask = np.isin(numbers, abnormal)
            labels[frame] = mask.any()
            _write_png(root / split / "masks" / name, mask.astype(np.uint8) * 255)
    return boxes, labels


def _figures(seed: int, split: str, index: int, frames: int) -> list[Figure]:
    """All figures of a clip."""
    story, _ = _streams(seed, 1 + SPLITS.index(split), index)
    return cast(story, frames, PLAN[index % len(PLAN)] if split == "testing" else None)


def ordinary(seed: int, index: int, frames: int, every: int = 1) -> Iterator[np.ndarray]:
    """The frames of clip ``index`` of ordinary footage in neither split; one of ``every`` frames.

    Each frame is H x W x 3 uint8 RGB, 192 x 128 pixels, at `story.FRAME_RATE` per second. Only
    walkers appear, as in training. The same arguments give the same frames. The number of clips is
    unlimited; each has up to `LONGEST` frames.
    """
    story, sensor = _streams(seed, 1 + len(SPLITS), index)
    for exposed, _, _ in _film(seed, cast(story, frames), sensor, frames, every):
        yield exposed


def _streams(seed: int, part: int, index: int) -> list[np.random.Generator]:
    """Random generators for a clip's story and for its sensor.

    Each clip and purpose has its own, so that a change to one clip does not change the others.
    """
    return [np.random.default_rng([seed, part, index, purpose]) for purpose in range(2)]


def _film(
    seed: int, figures: list[Figure], sensor: np.random.Generator, frames: int, every: int = 1
):
    """Yield each frame as recorded, the numbers of the figures seen in it, and their places."""
    scenery, gains = scenery_of(seed), _flicker(sensor, frames)
    for frame in range(0, frames, every):
        present = [placed for figure in figures if (placed := figure.at(frame))]
        picture, numbers = render(scenery, present)
        yield expose(picture, gains[frame], sensor), numbers, present


def _flicker(rng: np.random.Generator, frames: int) -> np.ndarray:
    """The camera's gain in each frame: constant daylight of the clip and a slow random drift."""
    gains, drift, daylight = np.empty(frames), 0.0, rng.uniform(0.94, 1.04)
    for frame in range(frames):
        drift = 0.9 * drift + rng.normal(0, 0.004)
        gains[frame] = daylight * (1 + drift)
    return gains


def _box(seen: np.ndarray) -> tuple[int, int, int, int] | None:
    """The smallest box around the true pixels of H x W, end exclusive; None if there are none."""
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _runs(labels: np.ndarray) -> list[tuple[int, int]]:
    """First and last index of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels.astype(np.int8), [0]])))
    return [(int(first), int(end) - 1) for first, end in edges.reshape(-1, 2)]


def _write_png(path: Path, picture: np.ndarray) -> None:
    """Write H x W or H x W x 3 (BGR) uint8; unlike cv2.imwrite it says why it failed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())


def _write_table(path: Path, columns: tuple[str, ...], rows: list[tuple]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
