"""Events of labelled footage: hits, beside the anomaly, or false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ddllib.camera.events import Event
from ddllib.data import Prepared

HIT, BESIDE, FALSE = "hit", "beside", "false alarm"


def verdicts(
    events: Sequence[Event], labels: np.ndarray, masks: Sequence[np.ndarray] | None = None
) -> list[str]:
    """What each event is by labels, N of 0 and 1, one for each watched frame.

    ``masks`` are the abnormal pixels of these frames, N x H x W of 0 and 1, or None. An event is a
    false alarm if all its frames are normal. It is a hit if its box holds an abnormal pixel of the
    frame of its peak; else it is beside: something abnormal was in the picture, and the event is
    about something else. Without masks, or without a box, an abnormal frame is enough for a hit.
    """
    return [_verdict(event, labels, masks) for event in events]


def _verdict(event: Event, labels: np.ndarray, masks: Sequence[np.ndarray] | None) -> str:
    if not labels[event.start : event.end + 1].any():
        return FALSE
    if masks is None or event.box is None:
        return HIT
    mask = masks[event.peak]
    height, width = mask.shape
    x0, y0, x1, y1 = event.box
    rows = slice(int(y0 * height), int(np.ceil(y1 * height)))
    columns = slice(int(x0 * width), int(np.ceil(x1 * width)))
    return HIT if mask[rows, columns].any() else BESIDE


def counts(kinds: Sequence[str]) -> str:
    """How many events are what, in words: ``6 events: 4 hits, 1 beside, 1 false alarm``."""
    hits, beside, false = (kinds.count(kind) for kind in (HIT, BESIDE, FALSE))
    events = f"{len(kinds)} event{'' if len(kinds) == 1 else 's'}"
    return (
        f"{events}: {hits} hit{'' if hits == 1 else 's'}, "
        f"{beside} beside, {false} false alarm{'' if false == 1 else 's'}"
    )


def masks_watched(
    place: str, data: Prepared, labels: np.ndarray | None
) -> Sequence[np.ndarray] | None:
    """The abnormal pixels of all frames that were watched at ``place``, N x H x W of 0 and 1.

    ``labels`` are those of the same frames (``assembly.labels_watched``), or None. None unless
    every clip has masks.
    """
    from data_prep.live.sources import find_clips

    if labels is None:
        return None
    names = [clip.name for clip in find_clips(Path(place))]
    if not all(name in data.masks for name in names):
        return None
    return np.concatenate([data.masks[name] for name in names])
