"""Track objects through the clips with the first detector that finds enough of them."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd

from data_prep.footage.layouts import Clip
from data_prep.footage.survey import Survey
from data_prep.preparing.clips import Workers
from data_prep.preparing.request import Request
from data_prep.tracks.boxes import Boxes
from data_prep.tracks.detectors.base import Detector
from data_prep.tracks.tracking import common_track_coverage
from ddllib.data import TRACK_COLUMNS
from ddllib.errors import DDLError
from ddllib.paths import runs_root

ENOUGH = 0.05  # share of training windows with a track; a detector with as many is taken,
MANY = 1000  # or one with so many windows


def frames_of(contents: Survey, clips: Sequence[Clip]) -> int:
    """The number of frames of these clips, as far as their files state it."""
    return sum(contents.lengths[clip.split][clip.name] or 0 for clip in clips)


def follow(
    contents: Survey, request: Request, plan: dict, records: dict, workers: Workers
) -> tuple[list[tuple[Detector, float]], pd.DataFrame]:
    """Try detectors in turn; returns (detector, coverage) pairs and the tracks of the last one.

    The last detector is the one that is used. Coverage is the share, in [0, 1], of training windows
    with a track in all their frames; `records` are those of the training clips. The last of
    the request's detectors is used with any coverage above 0; 0 raises DDLError.
    """
    lengths = {name: record["frames"] for name, record in records.items()}
    windows, tried = sum(max(count - request.window + 1, 0) for count in lengths.values()), []
    for detector in request.detectors:
        tracks = find_tracks(contents, detector, request.tracked, plan, workers)
        training = tracks[tracks["split"] == "training"]
        coverage = common_track_coverage(training, lengths, request.window)
        tried.append((detector, coverage))
        if coverage >= ENOUGH or coverage * windows >= MANY:
            break
    if coverage == 0:
        raise DDLError(
            f"{contents.footage.root}: no window of {request.window} training frames has a track "
            f"throughout ({len(training)} boxes in {sum(lengths.values())} frames); expected "
            f"objects that detector {detector.settings['name']} finds; try another detector, a "
            "longer clip or, where nothing ever moves, detector none"
        )
    return tried, tracks


def find_tracks(
    contents: Survey, detector: Detector, tracked: Sequence[str], plan: dict, workers: Workers
) -> pd.DataFrame:
    """The table of tracks of the tracked splits, from saved boxes or new ones."""
    boxes = Boxes(detector, runs_root() / "detections")
    checksums = plan["footage"]
    clips = [clip for clip in contents.footage.all_clips() if clip.split in tracked]

    def rows(clip: Clip, watched: Callable[[Iterable], Iterable]) -> np.ndarray:
        return boxes.rows(clip, checksums[clip.split][clip.name], watched)

    by_clip = workers.over("objects", rows, clips, frames_of(contents, clips), detector.parallel)
    counts = [len(clip_rows) for clip_rows in by_clip]
    table = pd.DataFrame(np.concatenate([np.zeros((0, 8)), *by_clip]), columns=TRACK_COLUMNS[2:])
    table = table.astype({"frame": int, "track": int, "class": int})
    table.insert(0, "split", np.repeat([clip.split for clip in clips], counts))
    table.insert(1, "clip", np.repeat([clip.name for clip in clips], counts))
    return table
