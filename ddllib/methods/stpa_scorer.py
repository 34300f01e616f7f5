"""The score of STPA: what each model cannot reconstruct of a window, as one number (section 4.2).

Each window of 17 frames gives the score of its frame 8, as in LNTRA. With a stride of k only every
k-th window is used, and it gives the scores of the k frames around its middle.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from ddllib.methods.stpa_pairs import Blocks, Pairs
from ddllib.models.spatio_temporal import SCALED
from ddllib.runs import Run
from ddllib.score_terms.terms import ScoreBatch
from ddllib.streaming import FrameScore, StreamScorer

PASS = {"cpu": 1, "cuda": 16}  # windows that are reconstructed at once


class UnifiedScorer(StreamScorer):
    """The weighted sum of a run's terms; several are first scaled by their normal scores.

    Flow that is not given is computed from the frames, and so are their features: a stream needs
    nothing else.
    """

    batched = False

    def __init__(self, run: Run, ignore: np.ndarray | None = None):
        settings = run.settings
        super().__init__(run.model, settings.patch_size, "float32", ignore, settings.score)
        self.precision = run.precision  # by autocast: the model itself stays in float32
        self.algorithm, self.stride = settings.flow, settings.window_stride
        self.pairs = Pairs(self.model, run, {term.of for _, term in self.terms.values()})
        if len(self.terms) > 1:
            pairs = zip(self.model.means.tolist(), self.model.deviations.tolist(), strict=True)
            self.terms.scales = dict(zip(SCALED, pairs, strict=True))
        self._recent: deque[np.ndarray] = deque(maxlen=self.model.temporal)
        self._ready: deque[FrameScore] = deque()
        self._first, self._scored = 0, 0  # where the stream began; how many frames have a score

    @property
    def identity(self) -> str:
        return f"{super().identity}-{self.algorithm}-{self.stride}"

    def blocks(self, frames: int) -> Iterator[tuple[int, range]]:
        """The windows of a clip to score: the first frame, and the numbers in it of those scored.

        Together they hold each frame of the clip from ``before`` to its last but ``delay``.
        """
        count = frames - self.model.frames  # frames that have a window of their own
        for i in range(0, count, self.stride):
            yield self._block(i, min(self.stride, count - i), count)

    def _block(self, i: int, length: int, count: int) -> tuple[int, range]:
        start = min(i + self.stride // 2, count - 1)
        first = i + self.before - start
        return start, range(first, first + length)

    def score_batches(
        self, frames: np.ndarray, companions: Mapping[str, np.ndarray] | None = None
    ) -> Iterator[ScoreBatch]:
        for blocks in self._passes(len(frames)):
            with torch.inference_mode():
                chunk = self.judge(**self.pairs.of(frames, blocks, companions or {}))
            yield chunk

    def rebuild(
        self, frames: np.ndarray, chunk: int | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Frames and their reconstructions by A^s, n x C x H x W each, as in ``Scorer.rebuild``."""
        for blocks in self._passes(len(frames)):
            yield self.pairs.frames(frames, blocks)

    def _passes(self, frames: int) -> Iterator[Blocks]:
        blocks, size = list(self.blocks(frames)), PASS[self.device.type]
        for k in range(0, len(blocks), size):
            yield blocks[k : k + size]

    @torch.inference_mode()
    def push(self, frame: np.ndarray) -> FrameScore | None:
        """As ``StreamScorer.push``; the answer comes ``delay`` + stride // 2 frames later."""
        self.check(frame)
        frame = np.array(frame)
        self._recent.append(frame)
        for beside in self.pairs.beside.values():
            beside.push(self._recent)
        self.pushed += 1
        if self._windows == self._scored + self.stride // 2 + 1:
            self._score_block(self.stride)
        if not self._ready:
            return None
        self._last = self._ready.popleft()
        return self._last

    @property
    def _windows(self) -> int:
        """How many windows the stream has had so far."""
        return self.pushed - self._first - self.model.frames

    def _score_block(self, length: int) -> None:
        """Score so many frames, the first without a score and those after it, by the last window.

        Near the end of a stream some of them may have no window of their own (``finish``).
        """
        first = self._scored + self.before - (self._windows - 1)
        blocks = [(0, range(first, first + length))]
        frames = np.stack(self._recent)
        beside = {role: part.stream for role, part in self.pairs.beside.items()}
        pairs = self.pairs.of(frames, blocks, beside)
        result, rebuilt = self.judge(**pairs), pairs.get("frames", (None, None))[1]
        for k, number in enumerate(blocks[0][1]):
            shown = frames[number] if rebuilt is None else as_uint8(rebuilt[k])
            answer = FrameScore(
                index=self._first + self.before + self._scored,
                score=float(result.scores[k]),
                map=result.maps[k].cpu().numpy(),
                frame=frames[number],
                reconstruction=shown,
                repeats=0 if self._scored else self.before,
            )
            self._ready.append(answer)
            self._scored += 1

    @torch.inference_mode()
    def finish(self) -> list[FrameScore]:
        last = self._first + self.before + self._windows  # later frames have no window
        waiting = [answer for answer in self._ready if answer.index < last]
        if self._windows > self._scored:
            self._ready.clear()
            self._score_block(self._windows - self._scored)
            waiting += self._ready
        self._last = waiting[-1] if waiting else self._last
        return waiting + super().finish()

    def reset(self) -> None:
        super().reset()
        self._recent.clear()
        self._ready.clear()
        for beside in self.pairs.beside.values():
            beside.clear()
        self._first, self._scored = self.pushed, 0


def as_uint8(frame: Tensor) -> np.ndarray:
    """A frame in [0, 1] as uint8."""
    return (frame * 255).round().byte().cpu().numpy()
