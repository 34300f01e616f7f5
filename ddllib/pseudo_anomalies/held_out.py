"""Evaluation without test labels: pseudo-anomalies of several kinds in held-out training clips.

Of each held-out clip there are copies with one altered piece each. A model is evaluated by the AUC
of its scores, with altered frames as positives. The alterations are the same for every model. Only
the noise resembles what models are trained with.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import torch

from ddllib.data import Prepared
from ddllib.errors import DDLError
from ddllib.evaluation import evaluate
from ddllib.pseudo_anomalies import base
from ddllib.pseudo_anomalies.objects import places
from ddllib.windows import Sample, as_frames, paint_boxes, to_pixels

LONGEST_PIECE = 48  # frames of an altered piece, and at most half a clip
SHORTEST_PIECE = 9  # shorter pieces would vanish in a median filter of length 17

Boxes = dict[int, tuple[float, float, float, float]]  # frame -> relative x0, y0, x1, y1


def split(data: Prepared, count: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Split the training clips into those to train on and ``count`` held-out ones, evenly spaced.

    Raises ``DDLError`` unless both parts have clips; a ``count`` of 0 is allowed.
    """
    names = sorted(data.training)
    if count and not 0 < count < len(names):
        raise DDLError(
            f"held_out is {count}; expected 1 to {len(names) - 1}, since {data.folder} has "
            f"{len(names)} training clips"
        )
    held_out_names = {names[int((k + 0.5) * len(names) / count)] for k in range(count)}
    training = {name: clip for name, clip in data.training.items() if name not in held_out_names}
    return training, {name: data.training[name] for name in sorted(held_out_names)}


def threshold_parts(
    clips: Mapping[str, np.ndarray], share: float
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Split each clip into a beginning to train on and an end, a ``share`` of it in [0, 1].

    The end is normal footage that the model has not seen, for thresholds; no window spans both.
    """
    cuts = {name: len(clip) - round(share * len(clip)) for name, clip in clips.items()}
    beginnings = {name: clip[: cuts[name]] for name, clip in clips.items()}
    return beginnings, {name: clip[cuts[name] :] for name, clip in clips.items()}


OBJECTS = (
    "noise 0.2",
    "noise 0.5",
    "noise 1.0",
    "foreign patch",
    "blurred object",
    "shifted object",
)
KINDS = (*OBJECTS, "skipped frames", "repeated frames")
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
    pseudo_anomaly = base.KINDS[kind]()
    if pseudo_anomaly.needs_object:
        boxes = _choose_track(tracks, clip.shape, rng)
        if not boxes:
            return None
        start, stop = min(boxes), max(boxes) + 1
    else:  # the middle third of the clip
        boxes, start, stop = {}, len(clip) // 3, 2 * len(clip) // 3
    sample = _sample(clip, boxes, start, pseudo_anomaly.frames_of(stop - start), donor)
    with torch.no_grad():
        x = pseudo_anomaly.alter(sample, _WithinObject(rng, sample)).x[0].transpose(0, 1)
    piece = (x[:, : clip.shape[1]] * 255 + 1e-4).floor().byte().numpy()  # 1.9999 counts as 2
    labels = np.repeat([0, 1, 0], [start, len(piece), len(clip) - stop]).astype(np.uint8)
    return np.concatenate([clip[:start], piece, clip[stop:]]), labels


class _WithinObject(base.NumpyRandom):
    """Draws noise only where the object is, frame by frame: all records were judged by the same."""

    def __init__(self, generator: np.random.Generator, sample: Sample):
        super().__init__(generator)
        self.sample = sample

    def uniform(self, shape: tuple[int, ...]) -> torch.Tensor:
        numbers = torch.zeros(shape)
        for window, t, x0, y0, x1, y1 in places(self.sample):
            within = self.generator.uniform(0, 255, (shape[1], y1 - y0, x1 - x0)) / 255
            numbers[window, :, t, y0:y1, x0:x1] = torch.from_numpy(within)
        return numbers


def _sample(clip: np.ndarray, boxes: Boxes, start: int, frames: int, donor: np.ndarray) -> Sample:
    """``frames`` frames of a clip from ``start`` on, as one window with one object."""
    like = torch.zeros(1, clip.shape[1])
    times = np.minimum(start + np.arange(frames), len(clip) - 1)  # the last frame is repeated
    x = as_frames(clip[times], like).transpose(0, 1)[None]
    nothing = (0.0, 0.0, 0.0, 0.0)
    corners = torch.tensor([[boxes.get(start + t, nothing) for t in range(x.shape[2])]])
    mask = paint_boxes(corners, *x.shape[-2:])
    return Sample(x, mask, corners, [clip], [start], [donor])


def _choose_track(tracks: pd.DataFrame, shape: tuple, rng: np.random.Generator) -> Boxes:
    """The boxes of a randomly drawn track that is long enough; of a long one its middle."""
    runs = [run for _, rows in tracks.groupby("track") if len(run := _longest_run(rows, shape))]
    runs = [run for run in runs if len(run) >= SHORTEST_PIECE]
    if not runs:
        return {}
    run = runs[rng.integers(len(runs))]
    length = min(len(run), LONGEST_PIECE, shape[0] // 2)
    first = (len(run) - length) // 2
    return dict(list(run.items())[first : first + length])


def _longest_run(rows: pd.DataFrame, shape: tuple) -> Boxes:
    """A track's longest piece without a gap, of boxes that cover at least a pixel."""
    rows = rows.sort_values("frame")
    relative = torch.from_numpy(rows[["x0", "y0", "x1", "y1"]].to_numpy(np.float32))
    pixels = to_pixels(relative, *shape[2:]).int().tolist()
    longest, run, previous = {}, {}, None
    entries = zip(rows["frame"].tolist(), map(tuple, relative.tolist()), pixels, strict=True)
    for t, box, (x0, y0, x1, y1) in entries:
        if x1 <= x0 or y1 <= y0:
            continue
        run = {**run, t: box} if previous == t - 1 else {t: box}
        previous, longest = t, max(longest, run, key=len)
    return longest


def altered_clips(
    data: Prepared, count: int, tracks: pd.DataFrame
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Every kind in every held-out clip: ``<kind>/<clip>``, its frames and its labels.

    ``tracks`` says where objects are; the same table gives every model the same frames, whatever
    boxes it was trained on. Raises ``DDLError`` where a kind that needs an object finds
    none in any clip.
    """
    _, held_out = split(data, count)
    donors = list(held_out.values())[1:] + list(held_out.values())[:1]
    tracks = tracks[tracks["split"] == "training"]
    for kind in KINDS:
        any_altered = False
        for seed, (name, donor) in enumerate(zip(held_out, donors, strict=True)):
            rows = tracks[tracks["clip"] == name]
            result = altered(kind, held_out[name], rows, donor, seed)
            if result is not None:
                any_altered = True
                yield f"{kind}/{name}", *result
        if not any_altered:
            raise DDLError(
                f"{data.folder / 'tracks.csv'}: no held-out clip has a track of {SHORTEST_PIECE} "
                "frames; expected one; hold out more clips or prepare with another detector"
            )


def judge_held_out(scores: Mapping, labels: Mapping, protocol: str = "median") -> dict:
    """The AUC by kind, in [0, 1], from scores and labels named ``<kind>/<clip>``."""
    aucs = {}
    for kind in KINDS:
        names = [name for name in scores if name.split("/")[0] == kind]
        if names:
            pairs = {n: scores[n] for n in names}, {n: labels[n] for n in names}
            aucs[kind] = evaluate(*pairs, protocol).auc
    return aucs
