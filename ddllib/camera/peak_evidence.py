"""Collect the evidence of the running event: its peak, and the scores before and during it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ddllib.camera.events import Box, Event, region
from ddllib.camera.evidence import Evidence, Trace
from ddllib.camera.pictures import seen
from ddllib.patches import best_patch, grids_of
from ddllib.streaming import FrameScore

TRACE_S = 30.0  # seconds before an event of which patch means are kept


class PeakEvidence:
    """The frame of the highest score, and patch means from half a minute before the event on.

    ``patch`` is a patch's side in pixels; ``threshold`` is drawn into the trace of the scores.
    """

    def __init__(self, folder: Path, patch: int, frame_rate: float, threshold: float):
        self.folder, self.patch, self.threshold = folder, patch, threshold
        self.peak: FrameScore | None = None
        self._trace = Trace(max(int(TRACE_S * frame_rate), 1))
        self._written_peak: int | None = None  # frame number of the peak that is in the files

    def push(self, scored: FrameScore, time_s: float, value: float, running: bool) -> None:
        """Take the next frame and its filtered score; ``running`` during an event."""
        grids = [grid.astype(np.float16) for grid in grids_of(scored.map, self.patch)]
        self._trace.push((time_s, value, scored.score, grids), running=running)

    def clear(self) -> None:
        """Forget the frames so far, as at a gap."""
        self.peak = None
        self._trace.clear()

    def box(self) -> Box:
        """The box of the strange region at the peak (``events.region``)."""
        return region(self.peak.map, self.patch)

    def renew(self, number: int, event: Event) -> None:
        """Write the evidence of a running event, if its peak has changed."""
        if self._written_peak != event.peak:
            self._written_peak = event.peak
            self.leave(number, event)

    def leave(self, number: int, event: Event) -> None:
        """Write the evidence of event ``number`` into the folder (``evidence.Evidence.leave``)."""
        peak, place = self.peak, best_patch(self.peak.map, self.patch)
        grid, row, column = place
        image, trace = seen(peak), self._trace.seen
        evidence = Evidence(
            frame=peak.frame,
            reconstruction=peak.reconstruction,
            map=np.asarray(peak.map, np.float32),
            place=np.array(place),
            patch=np.array(self.patch),
            shape=np.array(image.shape[:2]),
            seconds=np.array([seconds for seconds, *_ in trace]),
            scores=np.array([value for _, value, *_ in trace]),
            raw=np.array([raw for _, _, raw, _ in trace]),
            region=np.array([float(means[grid][row, column]) for *_, means in trace]),
        )
        evidence.leave(self.folder, number, image, event.box, self.threshold)
