"""Evaluation without test labels: pseudo-anomalies of several kinds in held-out training clips.

Of each held-out clip there are copies with one altered piece each. A model is evaluated by the AUC
of its scores, with altered frames as positives, beside the AUC that the unaltered clip has under
the same labels: where objects are, scores are higher anyway, so chance is that level and not 0.5.
The alterations are the same for every model. Only the noise resembles what models are trained with.

Records of before have the AUC alone, one track a kind, and noise that was drawn at their own size;
they are of another judge (``SINGLE``) and are not compared with those of this one (``PAIRED``).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from ddllib.data import Prepared
from ddllib.errors import DDLError
from ddllib.evaluation import apply_protocol, micro_auc
from ddllib.pseudo_anomalies import base
from ddllib.pseudo_anomalies.objects import places
from ddllib.windows import Sample, as_frames, paint_boxes, to_pixels

PAIRED, SINGLE = "paired", "single"  # the judge, as records name it; they lack it if single
UNALTERED = "unaltered"  # in place of a kind: the clip itself
TRACKS = 3  # altered one by one, of each held-out clip and for each kind, at most
NOISE_SIDE = 256  # pixels of the frame that noise is drawn for, whatever the working size

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
# Less detail and less movement are easier to reconstruct: a score by an error can hardly see them.
# They stay, so that a table shows what such a score does not see.
EASIER = ("blurred object", "repeated frames")
SHOWN = ("noise 0.5", "foreign patch")  # a record keeps a frame of each, for figures


def altered(
    kind: str, clip: np.ndarray, tracks: pd.DataFrame, donor: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """The first of ``alterations``; None where there is none."""
    return next(alterations(kind, clip, tracks, donor, seed, 1), None)


def alterations(
    kind: str,
    clip: np.ndarray,
    tracks: pd.DataFrame,
    donor: np.ndarray,
    seed: int,
    count: int = TRACKS,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Copies of a normal clip with one piece of that kind each, and their labels.

    ``clip`` and ``donor`` (another clip, for foreign patches) are uint8 N x C x H x W, ``tracks``
    the clip's rows of the tracks table. Each is uint8 M x C x H x W and M labels, 1 where altered;
    M differs from N for skipped and repeated frames. A kind that needs an object has at most
    ``count``, of other tracks each, and none where no track is long enough; any other has one.
    """
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode())])
    pseudo_anomaly = base.KINDS[kind]()
    if pseudo_anomaly.needs_object:
        places = [(min(b), max(b) + 1, b) for b in _choose_tracks(tracks, clip.shape, rng, count)]
    else:  # the middle third of the clip
        places = [(len(clip) // 3, 2 * len(clip) // 3, {})]
    for start, stop, boxes in places:
        sample = _sample(clip, boxes, start, pseudo_anomaly.frames_of(stop - start), donor)
        with torch.no_grad():
            x_a = pseudo_anomaly.alter_checked(sample, _WithinObject(rng, sample)).x
        x = x_a[0].transpose(0, 1)
        piece = (x[:, : clip.shape[1]] * 255 + 1e-4).floor().byte().numpy()  # 1.9999 counts as 2
        labels = np.repeat([0, 1, 0], [start, len(piece), len(clip) - stop]).astype(np.uint8)
        yield np.concatenate([clip[:start], piece, clip[stop:]]), labels


class _WithinObject(base.NumpyRandom):
    """Draws noise only where the object is, frame by frame, on a frame of one size.

    It is then resized to the working size as footage is, by the mean over areas: so the same noise
    is put into footage of every working size, and small frames do not get coarser noise.
    """

    def __init__(self, generator: np.random.Generator, sample: Sample):
        super().__init__(generator)
        self.sample = sample
        self.full = to_pixels(sample.boxes, NOISE_SIDE, NOISE_SIDE).int().tolist()

    def uniform(self, shape: tuple[int, ...]) -> torch.Tensor:
        numbers = torch.zeros(shape)
        for window, t, x0, y0, x1, y1 in places(self.sample):
            left, top, right, bottom = self.full[window][t]
            sides = max(bottom - top, 1), max(right - left, 1)
            drawn = self.generator.random((1, shape[1], *sides), np.float32)
            within = F.interpolate(torch.from_numpy(drawn), (y1 - y0, x1 - x0), mode="area")
            numbers[window, :, t, y0:y1, x0:x1] = within[0]
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


def _choose_tracks(
    tracks: pd.DataFrame, shape: tuple, rng: np.random.Generator, count: int
) -> list[Boxes]:
    """The boxes of some tracks that are long enough, drawn at random; of a long one its middle."""
    runs = [run for _, rows in tracks.groupby("track") if len(run := _longest_run(rows, shape))]
    runs = [run for run in runs if len(run) >= SHORTEST_PIECE]
    chosen = []
    for number in rng.permutation(len(runs))[:count]:
        run = runs[number]
        length = min(len(run), LONGEST_PIECE, shape[0] // 2)
        first = (len(run) - length) // 2
        chosen.append(dict(list(run.items())[first : first + length]))
    return chosen


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
    """Every kind in every held-out clip: ``<kind>/<number>/<clip>``, its frames and its labels.

    First each clip itself, ``unaltered/<clip>``, whose labels are all 0. ``tracks`` says where
    objects are; the same table gives every model the same frames, whatever boxes it was trained on.
    Raises ``DDLError`` where a kind that needs an object finds none in any clip.
    """
    _, held_out = split(data, count)
    donors = list(held_out.values())[1:] + list(held_out.values())[:1]
    tracks = tracks[tracks["split"] == "training"]
    for name, clip in held_out.items():
        yield f"{UNALTERED}/{name}", clip, np.zeros(len(clip), np.uint8)
    for kind in KINDS:
        any_altered = False
        for seed, (name, donor) in enumerate(zip(held_out, donors, strict=True)):
            rows = tracks[tracks["clip"] == name]
            pieces = alterations(kind, held_out[name], rows, donor, seed)
            for number, (frames, labels) in enumerate(pieces):
                any_altered = True
                yield f"{kind}/{number}/{name}", frames, labels
        if not any_altered:
            raise DDLError(
                f"{data.folder / 'tracks.csv'}: no held-out clip has a track of {SHORTEST_PIECE} "
                "frames; expected one; hold out more clips or prepare with another detector"
            )


def sources(kind: str, labels: np.ndarray, frames: int) -> np.ndarray:
    """Which frame of the unaltered clip each frame of an altered one was made of, M numbers.

    ``labels``, M, are 1 where it was altered; ``frames`` is the length N of the unaltered clip.
    """
    altered_frames = np.flatnonzero(labels)
    start, length = int(altered_frames[0]), len(altered_frames)
    behind = len(labels) - start - length
    piece = start + base.KINDS[kind]().order(length)
    numbers = np.concatenate([np.arange(start), piece, np.arange(frames - behind, frames)])
    return np.minimum(numbers, frames - 1)


def judge_held_out(
    scores: Mapping, labels: Mapping, protocol: str = "median"
) -> dict[str, dict[str, float]]:
    """What scores say of each kind, from scores and labels named as by ``altered_clips``.

    ``auc`` is the micro AUC of the altered clips, ``unaltered`` that of the unaltered ones under
    the same labels, frame by frame; what the altered have more is to the score's credit (``gain``).
    ``above`` is the share of altered frames that score above what they had unaltered, ties half.
    All in [0, 1].
    """
    verdicts = {}
    for kind in KINDS:
        names = [name for name in scores if name.split("/")[0] == kind]
        if not names:
            continue
        pairs = {name: _paired(kind, name, scores, labels, protocol) for name in names}
        truth = {name: labels[name] for name in names}
        aucs = [micro_auc({n: pairs[n][k] for n in names}, truth, "raw") for k in (0, 1)]
        differences = [(one - other)[labels[n] == 1] for n, (one, other) in pairs.items()]
        above = np.heaviside(np.concatenate(differences), 0.5).mean()
        verdicts[kind] = {"auc": aucs[0], "unaltered": aucs[1], "above": float(above)}
    return verdicts


def _paired(
    kind: str, name: str, scores: Mapping, labels: Mapping, protocol: str
) -> tuple[np.ndarray, np.ndarray]:
    """The scores of an altered clip and, for the same frames, of the unaltered one, M each."""
    clip = name.split("/", 2)[2]
    unaltered = apply_protocol(scores[f"{UNALTERED}/{clip}"], protocol)
    numbers = sources(kind, labels[name], len(unaltered))
    return apply_protocol(scores[name], protocol), unaltered[numbers]


def gain(verdict: Mapping[str, float]) -> float:
    """By how much altered clips exceed the level of unaltered ones, in [-1, 1]."""
    return verdict["auc"] - verdict["unaltered"]
