"""Scoring frame by frame, as a camera gives them (paper, section 3.4).

Model and score are those of ``ddllib.scoring``. Memory is constant: each frame is encoded once and
its features are kept only while a window needs them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ddllib.errors import DDLError
from ddllib.score_terms.terms import ScoreBatch
from ddllib.scoring import Pair, Scorer, as_input, following


@dataclass(frozen=True)
class FrameScore:
    """One frame of a stream with its score.

    ``index`` counts the pushed frames from 0; ``score`` is raw, larger for stranger. ``map`` is the
    error, H x W float32; ``frame`` the input, uint8 C0 x H x W; ``reconstruction`` the model's
    output, uint8 C x H x W (C of the model). ``repeats`` frames just before this one have no
    window of their own and take its score: T // 2 of them where a stream begins, else none.
    ``view``, where the source has one, is the frame as a person looks at it, uint8 h x w x 3 BGR.
    ``reused`` says that nothing moved and the frame took the score, the map and the reconstruction
    of an earlier one (``ddllib.camera.still_scorer``).
    """

    index: int
    score: float
    map: np.ndarray
    frame: np.ndarray
    reconstruction: np.ndarray
    repeats: int = 0
    view: np.ndarray | None = None
    reused: bool = False

    def each(self) -> list[FrameScore]:
        """One answer for every frame that takes this score, in order; only ``index`` differs.

        Offline scoring gives the frames at either end the nearest frame's value in the same way
        (``ddllib.scoring.Scorer.clip``).
        """
        first = self.index - self.repeats
        return [replace(self, index=i, repeats=0) for i in range(first, self.index + 1)]


class StreamScorer(Scorer):
    """A scorer that takes one frame at a time and answers ``delay`` frames later.

    Pushing a whole clip and finishing it gives the scores of ``clip``, edges included, where each
    answer is expanded by ``each``. A model with ``encode_frames`` and ``decode_windows``
    (``models.unet.UNet``) encodes each frame once; for any other the window's frames are kept.
    ``batched`` says whether frames of several scorers can go through the model at once
    (``push_together``); a subclass with a ``push`` of its own sets it to False.
    """

    batched = True

    def __init__(self, *args, **options):
        """The arguments are those of ``Scorer``."""
        super().__init__(*args, **options)
        self.pushed = 0
        self._shape: tuple[int, ...] | None = None
        self._window: deque[tuple[np.ndarray, Tensor, list[Tensor]]] = deque(
            maxlen=self.model.temporal
        )
        self._last: FrameScore | None = None
        self._before: Pair | None = None  # the frames scored last, and their reconstructions

    def push(self, frame: np.ndarray) -> FrameScore | None:
        """Take the next frame, uint8 C0 x H x W (C0 is 1 or the model's channels).

        Returns the score of frame T // 2 of the newest window, None until there is a window. Raises
        ``DDLError`` for a frame of another type, or of another shape than those before it; the
        stream is then unchanged.
        """
        self.check(frame)
        (scored,) = push_together([self], [frame])
        return scored

    def _keep(self, frame: np.ndarray, x: Tensor, features: list[Tensor]) -> bool:
        """Add a frame, its input and its features to the window; returns whether it is full."""
        self._window.append((np.array(frame), x, features))
        self.pushed += 1
        return len(self._window) == self.model.temporal

    def _window_inputs(self) -> list[Tensor]:
        """What the model takes of the full window: features by level, or the frames, batch 1."""
        encodings = [features for _, _, features in self._window]
        if hasattr(self.model, "encode_frames"):
            return [torch.cat(level)[None] for level in zip(*encodings, strict=True)]
        return [torch.stack([inputs for (inputs,) in encodings], dim=2)]

    def _answer(self, y: Tensor) -> FrameScore:
        """The score of the full window's frame, whose reconstruction is 1 x C x H x W."""
        frame, x, _ = self._window[self.before]
        result = self._judge_window(x, y)
        self._last = FrameScore(
            index=self.pushed - 1 - self.delay,
            score=float(result.scores),
            map=result.maps[0].cpu().numpy(),
            frame=frame,
            reconstruction=(y[0] * 255).round().byte().cpu().numpy(),
            repeats=0 if self._last else self.before,
        )
        return self._last

    def _judge_window(self, x: Tensor, y: Tensor) -> ScoreBatch:
        """The newest window's scored frame and its reconstruction, 1 x C x H x W, judged."""
        pairs = self._pairs((x, y), self._before)
        self._before = following((x, y), self._before)
        return self.judge(**pairs)

    def finish(self) -> list[FrameScore]:
        """Scores of the last frames, which repeat the last one; the next frame starts a new clip.

        Empty where no window was ever full: such frames have no score offline either.
        """
        last, indices = self._last, range(self.pushed - self.delay, self.pushed)
        self.reset()
        return [replace(last, index=i, repeats=0) for i in indices] if last else []

    def reset(self) -> None:
        """Discard the frames so far, so that no window spans a cut; the frame count goes on.

        The next frame may have another size. Frames without an answer get none; ``finish`` gives
        them their score instead.
        """
        self._window.clear()
        self._last, self._shape, self._before = None, None, None

    def check(self, frame: np.ndarray) -> None:
        """Raise ``DDLError`` for a frame that ``push`` does not take."""
        if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3:
            kind = f"{getattr(frame, 'dtype', type(frame).__name__)} {np.shape(frame)}"
            raise DDLError(f"frame is {kind}; expected uint8, C x H x W, at the working size")
        channels, height, width = frame.shape
        if channels not in (1, self.model.channels):
            raise DDLError(f"frame has {channels} channels; expected 1 or {self.model.channels}")
        if height % 16 or width % 16:
            raise DDLError(f"frame is {height}x{width}; expected multiples of 16, resize it")
        if self._shape not in (None, frame.shape):
            first = "x".join(map(str, self._shape))
            raise DDLError(
                f"frame is {channels}x{height}x{width}, those before it are {first}; expected "
                "one size; call reset() where the stream changes"
            )
        self._shape = frame.shape


@torch.inference_mode()
def push_together(
    scorers: Sequence[StreamScorer], frames: Sequence[np.ndarray]
) -> list[FrameScore | None]:
    """Push a frame into each scorer; returns their answers, as ``StreamScorer.push`` gives them.

    The scorers have one model in common and are ``batched``; the frames have one height and width
    and have passed ``check``. So they go through the model as one batch.
    """
    first, model = scorers[0], scorers[0].model
    xs = [as_input(frame[None], model.channels, first.device) for frame in frames]
    inputs = first._in_model_precision(torch.cat(xs))
    features = model.encode_frames(inputs) if hasattr(model, "encode_frames") else [inputs]
    # Clones: a slice would hold the memory of the whole batch as long as the window needs it.
    parts = [
        [level[k : k + 1].clone() for level in features] if len(scorers) > 1 else features
        for k in range(len(scorers))
    ]
    triples = zip(scorers, frames, xs, parts, strict=True)
    full = [scorer._keep(frame, x, part) for scorer, frame, x, part in triples]
    ready = [scorer for scorer, is_full in zip(scorers, full, strict=True) if is_full]
    if not ready:
        return [None] * len(scorers)
    windows = [torch.cat(parts) for parts in zip(*(s._window_inputs() for s in ready), strict=True)]
    if hasattr(model, "encode_frames"):
        y = model.decode_windows(windows)[:, 0]
    else:
        y = model(windows[0])[:, :, 0]
    answers = {id(scorer): scorer._answer(y[k : k + 1]) for k, scorer in enumerate(ready)}
    return [answers.get(id(scorer)) for scorer in scorers]
