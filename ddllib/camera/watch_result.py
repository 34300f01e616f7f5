"""The result of a watch: how many frames were scored, how late, and what went wrong."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

MAX_SEGMENTS_UNSCORED = 3  # with more segments and no score the report adds ``NO_SCORE_HINT``
NO_SCORE_HINT = (
    "; no piece between gaps is as long as a window: frames come in bursts (give the "
    "camera's rtsp or .m3u8 address), or too slowly"
)
REMEMBERED = 10_000  # delays from which the report is computed, the newest ones


@dataclass
class WatchResult:
    """The result of a watch so far.

    ``frames`` were read and ``scored`` of them have a score; the others were in segments shorter
    than a window, or still wait for their score. ``reused`` of those scored took the score of an
    earlier frame, as nothing moved (``still_scorer``); None where all are scored themselves.
    ``segments`` counts the pieces between gaps.
    ``dropped`` and ``reconnections`` are the source's. ``delays`` holds the seconds from reading a
    frame to its score, T // 2 frames of waiting included, for the newest ``REMEMBERED`` frames.
    ``stopped`` is the signal that ended the watch, if any; ``gave_up`` says that the source ended
    it, as no frames came. ``faults`` has a line for each clip of a recording that broke off.
    ``newest_s`` is the source's time of the newest frame, ``newest_read_s`` when it was read, by
    the clock ``time.monotonic``.
    """

    frames: int = 0
    scored: int = 0
    reused: int | None = None
    segments: int = 0
    dropped: int = 0
    reconnections: int = 0
    seconds: float = 0.0
    stopped: int | None = None
    gave_up: bool = False
    newest_s: float | None = None
    newest_read_s: float | None = None
    faults: list[str] = field(default_factory=list)
    delays: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED), repr=False)

    def delay(self, share: float = 0.5) -> float:
        """The quantile ``share`` of the delays, in seconds; 0.5 is the median."""
        return float(np.quantile(self.delays, share)) if self.delays else float("nan")

    def report(self) -> str:
        """One line to read."""
        pace = self.scored / self.seconds if self.seconds else 0.0
        unscored = self.segments > MAX_SEGMENTS_UNSCORED and not self.scored
        delay = f"delay {self.delay():.3f} s, 95 % within {self.delay(0.95):.3f} s; "
        reused = f"{self.reused or 0} of them reused, as nothing moved; "
        return (
            f"{self.scored} of {self.frames} frames scored, {pace:.1f} per second; "
            + reused * (self.reused is not None)
            + delay * bool(self.delays)
            + f"{self.dropped} dropped, {self.reconnections} reconnections"
            + f"; {len(self.faults)} broken off" * bool(self.faults)
            + NO_SCORE_HINT * unscored
        )
