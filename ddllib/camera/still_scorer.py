"""Reuse the last score while nothing moves (``python -m ddllib watch --still skip``).

What is promised: a frame that is scored has the score that it has without the option, as its window
holds its true neighbours. The last frames are kept, and given to the scorer when it goes on. A
frame takes the score of the last scored one only if neither window shows more than the noise
beside that frame's picture (``stillness``), and for ``LONGEST_S`` at most. What is not promised:
an alarm that noise or flickering light alone would raise, without any object, may be missed.

What it costs: the first answer after still frames waits until the model has got a whole window
anew, T frames instead of one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ddllib.camera.stillness import Stillness
from ddllib.camera.turns import InTurn
from ddllib.errors import DDLError
from ddllib.score_terms.base import RECENT
from ddllib.streaming import FrameScore, StreamScorer

LONGEST_S = 2.0  # seconds from a scored frame to the last one that takes its score
SETTLED_S = 1.0  # seconds in which all is scored after something moved or a score was high
OF_PICTURES = ("frames", "recent_frames")  # what terms may compare: pictures of the window alone


def check_skips(scorer: StreamScorer | InTurn, method: str) -> None:
    """Raise ``DDLError`` for a scorer of a ``method`` whose still frames cannot be skipped."""
    others = [name for name, (_, term) in scorer.terms.items() if term.of not in OF_PICTURES]
    if others or not scorer.batched:
        what = f"the term {others[0]!r}" if others else f"method {method}"
        raise DDLError(
            f"still: skip is for scores of single pictures, and {what} is none (it looks at "
            "motion, or at windows too long to begin again); leave it out, so that every frame is "
            "scored"
        )


def saves(scorer: StreamScorer | InTurn, rate: float) -> bool:
    """Whether skipping saves anything at so many frames per second.

    Once in ``LONGEST_S`` seconds a frame is scored, for which a whole window is computed.
    """
    return rate * LONGEST_S > scorer.model.temporal


def may_skip(
    scorer: StreamScorer | InTurn, method: str, rate: float, tell: Callable[[str], None]
) -> bool:
    """Whether frames in which nothing moves may take the last score; why not, if it saves nothing.

    Raises ``DDLError`` as ``check_skips`` does.
    """
    check_skips(scorer, method)
    may = saves(scorer, rate)
    if not may:
        tell(
            f"note: at {rate:g} frames per second --still skip saves nothing, as each score is "
            f"reused for {LONGEST_S:g} s at most; every frame is scored"
        )
    return may


class StillScorer:
    """A scorer of one stream that asks ``scorer`` only where something may have changed.

    It answers as ``StreamScorer`` does, as late as that; an answer with ``reused`` has the score,
    the map and the reconstruction of the frame scored last, and its own ``frame``. All is scored
    while ``is_busy``, as during an event, and until for ``SETTLED_S`` nothing has moved and all
    scores were below ``release`` (None: no level). Everything else is the scorer's own.
    """

    def __init__(
        self,
        scorer: StreamScorer | InTurn,
        release: float | None = None,
        is_busy: Callable[[], bool] = lambda: False,
    ):
        self.scorer, self.is_busy = scorer, is_busy
        self.release = float("inf") if release is None else release
        self.stillness = Stillness(scorer.ignore)
        self.pushed = 0
        window = scorer.model.temporal
        # Terms of recent frames need those before the scored one, and their reconstructions.
        more = (RECENT - 1) * any(term.of == "recent_frames" for _, term in scorer.terms.values())
        self._window = window
        self._frames: deque[tuple[np.ndarray, float]] = deque(maxlen=window + more)
        self._last: FrameScore | None = None  # the last answer
        self._reference: tuple[FrameScore, float] | None = (
            None  # what still frames take, and its time
        )
        self._awake_since = 0.0

    def __getattr__(self, name: str):
        return getattr(self.scorer, name)

    def push(self, frame: np.ndarray, time_s: float) -> FrameScore | None:
        """Take the next frame, uint8 C0 x H x W, and its time in seconds.

        Returns and raises what ``StreamScorer.push`` does.
        """
        self.scorer.check(frame)
        if not self._frames or time_s < self._frames[-1][1]:  # a beginning, or a clock set back
            self._awake_since = time_s
        frame = np.array(frame)  # kept; a source may use its memory again
        self.stillness.push(frame, time_s)
        self._frames.append((frame, time_s))
        self.pushed += 1
        if self._reference and not self.is_busy() and self.stillness.same(self._compared, frame):
            answer = self._reused() or self._scored(self._again())
        elif self._reference:
            self._awake_since = time_s
            answer = self._scored(self._again())
        else:
            answer = self._scored(self.scorer.push(frame))
        self._last = answer or self._last
        return answer

    def finish(self) -> list[FrameScore]:
        """Answers for the last frames, which repeat the last one; the next one begins a clip."""
        last, indices = self._last, range(self.pushed - self.scorer.delay, self.pushed)
        self.reset()
        return [replace(last, index=i, repeats=0) for i in indices] if last else []

    def reset(self) -> None:
        """Discard the frames so far, as at a gap; the noise of the camera stays known."""
        self.scorer.reset()
        self.stillness.cut()
        self._frames.clear()
        self._last = self._reference = None

    @property
    def _compared(self) -> np.ndarray:
        return self._reference[0].frame

    def _reused(self) -> FrameScore | None:
        """The answer of a still frame; None where the last score is too old."""
        answer, scored_s = self._reference
        frame, time_s = self._frames[-1 - self.scorer.delay]
        if not 0 <= time_s - scored_s <= LONGEST_S:
            return None
        return replace(answer, index=self._index, frame=frame, repeats=0, reused=True)

    @property
    def _index(self) -> int:
        """The number of the frame that is answered now."""
        return self.pushed - 1 - self.scorer.delay

    def _again(self) -> FrameScore | None:
        """The answer of the scorer, which gets the kept frames anew."""
        self._reference = None
        self.scorer.reset()
        answers = [self.scorer.push(frame) for frame, _ in self._frames]
        return answers[-1] and replace(answers[-1], repeats=0)

    def _scored(self, answer: FrameScore | None) -> FrameScore | None:
        """A true answer; from now on still frames take its score, if they may."""
        if answer is None:
            return None
        now = self._frames[-1][1]
        is_quiet = answer.score < self.release and not self.is_busy()
        if not (is_quiet and self._is_still(answer.frame)):
            self._awake_since = now
        elif now - self._awake_since >= SETTLED_S:
            self._reference = answer, self._frames[-1 - self.scorer.delay][1]
        return replace(answer, index=self._index)

    def _is_still(self, frame: np.ndarray) -> bool:
        """Whether no frame of the window differs from this one of it."""
        window = list(self._frames)[-self._window :]
        return all(self.stillness.same(frame, other) for other, _ in reversed(window))
