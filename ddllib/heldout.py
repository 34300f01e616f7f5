"""Choosing without test labels: pseudo-anomalies of several kinds in clips held out of training.

Some training clips are kept aside. Each gets copies in which one piece is altered, and a model is
judged by the AUC of its scores on the altered frames. The alterations are the same for every model,
and none but the noise resembles what the model was trained against.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pandas as pd
import torch
from scipy.ndimage import gaussian_filter

from ddllib.data import Prepared
from ddllib.errors import DDLError
from ddllib.evaluation import evaluate
from ddllib.windows import to_pixels

LONGEST = 48  # frames of an altered piece, and at most half a clip
SHORTEST = 9  # less would vanish in a median filter of length 17
PACE = 3  # skipped frames go this much faster, repeated ones this much slower

Boxes = dict[int, tuple[int, int, int, int]]  # frame -> x0, y0, x1, y1 in pixels, ends excluded
Alter = Callable[[np.ndarray, Boxes, np.random.Generator, np.ndarray], None]


def split(data: Prepared, count: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The training clips in two: those to train on, and ``count`` held out, evenly spaced by name.

    Raises ``DDLError`` unless some clips are left on either side (0 holds none out).
    """
    names = sorted(data.training)
    if count and not 0 < count < len(names):
        raise DDLError(
            f"held_out is {count}; expected 1 to {len(names) - 1}, since {data.folder} has "
            f"{len(names)} training clips"
        )
    held = {names[int((k + 0.5) * len(names) / count)] for k in range(count)}
    kept = {name: clip for name, clip in data.training.items() if name not in held}
    return kept, {name: data.training[name] for name in sorted(held)}


def threshold_parts(
    clips: Mapping[str, np.ndarray], share: float
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Each clip in two: its beginning to train on, and its end, a ``share`` of it in [0, 1].

    The end is normal footage that the model has not seen, for thresholds; no window spans the two.
    """
    cuts = {name: len(clip) - round(share * len(clip)) for name, clip in clips.items()}
    beginnings = {name: clip[: cuts[name]] for name, clip in clips.items()}
    return beginnings, {name: clip[cuts[name] :] for name, clip in clips.items()}


def noise(weight: float) -> Alter:
    """The object blended with noise, as the creator does, at a fixed weight in [0, 1]."""

    def alter(clip, boxes, rng, donor):
        for view in _views(clip, boxes):
            view[:] = (1 - weight) * view + weight * rng.uniform(0, 255, view.shape)

    return alter


def foreign(clip, boxes, rng, donor) -> None:
    """A piece of another clip, upside down, pasted where the object is and moving with it."""
    frame = donor[rng.integers(len(donor)), :, ::-1]
    tall = max(y1 - y0 for _, y0, _, y1 in boxes.values())
    wide = max(x1 - x0 for x0, _, x1, _ in boxes.values())
    y = rng.integers(frame.shape[1] - tall + 1)
    x = rng.integers(frame.shape[2] - wide + 1)
    for view in _views(clip, boxes):
        view[:] = frame[:, y : y + view.shape[1], x : x + view.shape[2]]


def blurred(clip, boxes, rng, donor) -> None:
    """The object without its details: a Gaussian blur of a sixth of its width."""
    for view in _views(clip, boxes):
        sigma = max(view.shape[2] / 6, 1)
        view[:] = gaussian_filter(view.astype(np.float32), (0, sigma, sigma))


def shifted(clip, boxes, rng, donor) -> None:
    """The object thrown half its width to the left and to the right, by turns."""
    for t, (x0, y0, x1, y1) in boxes.items():
        content, way = clip[t, :, y0:y1, x0:x1].copy(), 1 if t % 2 else -1
        left = np.clip(x0 + way * max((x1 - x0) // 2, 1), 0, clip.shape[3] - (x1 - x0))
        clip[t, :, y0:y1, left : left + x1 - x0] = content


OBJECTS: dict[str, Alter] = {
    "noise 0.2": noise(0.2),
    "noise 0.5": noise(0.5),
    "noise 1.0": noise(1.0),
    "foreign patch": foreign,
    "blurred object": blurred,
    "shifted object": shifted,
}
PACES = {"skipped frames": 1 / PACE, "repeated frames": PACE}
KINDS = (*OBJECTS, *PACES)
SHOWN = ("noise 0.5", "foreign patch")  # a record keeps a frame of each, for figures


def altered(
    kind: str, clip: np.ndarray, tracks: pd.DataFrame, donor: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """A copy of a normal clip with one piece of that kind, and its labels.

    ``clip`` and ``donor`` (another clip, for foreign patches) are uint8 N x C x H x W, ``tracks``
    the clip's rows of the tracks table. Returns uint8 M x C x H x W and M labels, 1 where altered;
    M differs from N for skipped and repeated frames. None where no track is long enough.
    """
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode())])
    if kind in PACES:
        return _paced(clip, PACES[kind])
    boxes = _choose_track(tracks, clip.shape, rng)
    if not boxes:
        return None
    copy, labels = np.array(clip), np.zeros(len(clip), np.uint8)
    OBJECTS[kind](copy, boxes, rng, donor)
    labels[list(boxes)] = 1
    return copy, labels


def _paced(clip: np.ndarray, pace: float) -> tuple[np.ndarray, np.ndarray]:
    """The clip's middle third faster or slower than it was."""
    start, stop = len(clip) // 3, 2 * len(clip) // 3
    middle = np.arange(start, stop)
    middle = np.repeat(middle, pace) if pace > 1 else middle[:: round(1 / pace)]
    order = np.concatenate([np.arange(start), middle, np.arange(stop, len(clip))])
    labels = np.zeros(len(order), np.uint8)
    labels[start : start + len(middle)] = 1
    return clip[order], labels


def _views(clip: np.ndarray, boxes: Boxes) -> Iterator[np.ndarray]:
    for t, (x0, y0, x1, y1) in boxes.items():
        yield clip[t, :, y0:y1, x0:x1]


def _choose_track(tracks: pd.DataFrame, shape: tuple, rng: np.random.Generator) -> Boxes:
    """The boxes of one track drawn among those long enough, the middle of it if it is long."""
    runs = [run for _, rows in tracks.groupby("track") if len(run := _longest_run(rows, shape))]
    runs = [run for run in runs if len(run) >= SHORTEST]
    if not runs:
        return {}
    run = runs[rng.integers(len(runs))]
    length = min(len(run), LONGEST, shape[0] // 2)
    first = (len(run) - length) // 2
    return dict(list(run.items())[first : first + length])


def _longest_run(rows: pd.DataFrame, shape: tuple) -> Boxes:
    """A track's longest piece without a gap, of boxes that cover at least a pixel."""
    rows = rows.sort_values("frame")
    relative = torch.from_numpy(rows[["x0", "y0", "x1", "y1"]].to_numpy(np.float32))
    pixels = to_pixels(relative, *shape[2:]).int().tolist()
    longest, run, before = {}, {}, None
    for t, (x0, y0, x1, y1) in zip(rows["frame"].tolist(), pixels, strict=True):
        if x1 <= x0 or y1 <= y0:
            continue
        run = {**run, t: (x0, y0, x1, y1)} if before == t - 1 else {t: (x0, y0, x1, y1)}
        before, longest = t, max(longest, run, key=len)
    return longest


def altered_clips(
    data: Prepared, count: int, tracks: pd.DataFrame
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Every kind in every held-out clip: ``<kind>/<clip>``, its frames and its labels.

    ``tracks`` says where objects are; with the same table every model meets the same frames,
    whatever boxes it was trained on. Raises ``DDLError`` where a kind that needs an object finds
    none in any clip.
    """
    _, held = split(data, count)
    donors = list(held.values())[1:] + list(held.values())[:1]
    tracks = tracks[tracks["split"] == "training"]
    for kind in KINDS:
        found = False
        for seed, (name, donor) in enumerate(zip(held, donors, strict=True)):
            rows = tracks[tracks["clip"] == name]
            made = altered(kind, held[name], rows, donor, seed)
            if made is not None:
                found = True
                yield f"{kind}/{name}", *made
        if not found:
            raise DDLError(
                f"{data.folder / 'tracks.csv'}: no held-out clip has a track of {SHORTEST} frames; "
                "expected one; hold out more clips or prepare with another detector"
            )


def judge_held_out(scores: Mapping, labels: Mapping, protocol: str = "median") -> dict:
    """The AUC by kind, in [0, 1], from scores and labels named ``<kind>/<clip>``."""
    aucs = {}
    for kind in KINDS:
        names = [name for name in scores if name.split("/")[0] == kind]
        if names:
            chosen = {n: scores[n] for n in names}, {n: labels[n] for n in names}
            aucs[kind] = evaluate(*chosen, protocol).auc
    return aucs


def mean_held_out(aucs: Mapping[str, float]) -> float:
    """What settings are compared by: the mean AUC over kinds, each counting alike."""
    return float(np.mean(list(aucs.values())))
