"""Scoring frame by frame, as a camera gives them (paper, section 3.4).

The same model and the same score as ``ddllib.scoring``, with a memory that does not grow: each
frame is encoded once and kept as long as a window can hold it.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ddllib.errors import DDLError
from ddllib.evaluation import MEDIAN_LENGTH
from ddllib.models import UNet, for_scoring
from ddllib.scoring import as_input, distance_map, patch_scores, without


@dataclass(frozen=True)
class Scored:
    """One frame of a stream with its score.

    ``index`` counts the pushed frames from 0; ``score`` is raw, larger for stranger. ``map`` is the
    error, H x W float32; ``frame`` the input, uint8 C0 x H x W; ``reconstruction`` what the model
    made of it, uint8 C x H x W (C of the model). ``repeats`` frames just before this one have no
    window of their own and take its score: T // 2 of them where a stream begins, else none.
    ``view``, where the source has one, is the frame as a person looks at it, uint8 h x w x 3 BGR.
    """

    index: int
    score: float
    map: np.ndarray
    frame: np.ndarray
    reconstruction: np.ndarray
    repeats: int = 0
    view: np.ndarray | None = None

    def each(self) -> list[Scored]:
        """One answer for every frame that this one stands for, in order; all but ``index`` equal.

        Offline scoring gives the frames at either end the nearest frame's value in the same way
        (``ddllib.scoring.repeat_edges``).
        """
        first = self.index - self.repeats
        return [replace(self, index=i, repeats=0) for i in range(first, self.index + 1)]


class StreamScorer:
    """Scores a stream T // 2 frames late, in constant memory.

    A whole clip pushed and finished, every answer taken by ``each``, gives the scores of
    ``scoring.score_clip``, edges included. ``patch`` is in pixels; ``precision`` is float32 or
    bfloat16; pixels marked in ``ignore``, H x W, count 0. The work is done where the model is.
    """

    def __init__(
        self,
        model: UNet,
        patch: int,
        precision: str = "float32",
        ignore: np.ndarray | None = None,
    ):
        self.model = for_scoring(model, precision)
        self.patch = patch
        self.ignore = ignore
        self.pushed = 0
        self._shape: tuple[int, ...] | None = None
        self._window: deque[tuple[np.ndarray, Tensor, list[Tensor]]] = deque(maxlen=model.temporal)
        self._last: Scored | None = None

    @property
    def identity(self) -> str:
        """A checksum of all that shapes a score: weights, patch, precision and what is ignored."""
        digest = hashlib.sha256(f"{self.patch} {next(self.model.parameters()).dtype}".encode())
        for name, value in self.model.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        digest.update(b"" if self.ignore is None else np.packbits(self.ignore).tobytes())
        return digest.hexdigest()

    @property
    def delay(self) -> int:
        """Frames between a frame and its answer: T // 2."""
        return self.model.temporal // 2

    @torch.inference_mode()
    def push(self, frame: np.ndarray) -> Scored | None:
        """Take the next frame, uint8 C0 x H x W (C0 is 1 or the model's channels).

        Answers for the middle frame of the newest window, None until there is a window. Raises
        ``DDLError`` for a frame of another type, or unlike the ones before it; the stream is then
        as it was.
        """
        self._check(frame)
        parameter = next(self.model.parameters())
        x = as_input(frame[None], self.model.channels, parameter.device)
        features = self.model.encoder(x.to(parameter.dtype))
        self._window.append((np.array(frame), x, features))
        self.pushed += 1
        if len(self._window) < self.model.temporal:
            return None
        self._last = self._score_middle()
        return self._last

    def _score_middle(self) -> Scored:
        frame, x, _ = self._window[self.delay]
        levels = zip(*(features for _, _, features in self._window), strict=True)
        y = self.model.decode([torch.cat(level)[None] for level in levels])[0]
        error = without(distance_map(x, y), self.ignore)
        return Scored(
            index=self.pushed - 1 - self.delay,
            score=float(patch_scores(error, self.patch)),
            map=error[0].cpu().numpy(),
            frame=frame,
            reconstruction=(y[0] * 255).round().byte().cpu().numpy(),
            repeats=0 if self._last else self.delay,
        )

    def finish(self) -> list[Scored]:
        """The last T // 2 frames, which repeat the last answer; the next frame starts anew.

        Empty where no window was ever full: such frames have no score, offline either.
        """
        last, after = self._last, range(self.pushed - self.delay, self.pushed)
        self.reset()
        return [replace(last, index=i, repeats=0) for i in after] if last else []

    def reset(self) -> None:
        """Forget the frames so far: at a cut, no window spans it. Frames are counted on.

        The next frame may have another size. Frames not yet answered stay so; ``finish`` gives
        them their score first.
        """
        self._window.clear()
        self._last, self._shape = None, None

    def _check(self, frame: np.ndarray) -> None:
        if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3:
            found = f"{getattr(frame, 'dtype', type(frame).__name__)} {np.shape(frame)}"
            raise DDLError(f"frame is {found}; expected uint8, C x H x W, at the working size")
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


class RunningMedian:
    """The median filter of the protocol ``median`` over a stream, ``width // 2`` values late.

    Centred, ``width`` odd; at either end the edge value is repeated. What ``push`` and ``finish``
    give together equals ``evaluation.apply_protocol(values, "median")`` exactly.
    """

    def __init__(self, width: int = MEDIAN_LENGTH):
        if width < 1 or width % 2 == 0:
            raise DDLError(f"width is {width}; expected an odd number of frames, such as 17")
        self.delay = width // 2
        self._values: deque[float] = deque(maxlen=width)

    def push(self, value: float) -> float | None:
        """The median around the value ``delay`` pushes ago; None while there is none."""
        if not self._values:
            self._values.extend([float(value)] * self.delay)
        self._values.append(float(value))
        full = len(self._values) == self._values.maxlen
        return sorted(self._values)[self.delay] if full else None

    def finish(self) -> list[float]:
        """The medians still owed, at most ``delay`` of them; the next value starts anew."""
        last = list(self._values)[-1:]
        answers = [self.push(value) for value in last * self.delay]
        self._values.clear()
        return [answer for answer in answers if answer is not None]


class HeldBack:
    """What waits until the filter over time knows its score: pairs of it and the filtered score.

    ``smooth`` is a filter such as ``RunningMedian``; without one nothing waits and scores are raw.
    """

    def __init__(self, smooth: RunningMedian | None = None):
        self.smooth = smooth
        self._waiting: deque = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def delay(self) -> int:
        """Pushes that a filtered score comes late."""
        return self.smooth.delay if self.smooth else 0

    def push(self, item, score: float) -> list[tuple]:
        """Take an item with its raw score; the pair that is due, if one is."""
        self._waiting.append(item)
        value = self.smooth.push(score) if self.smooth else score
        return [] if value is None else [(self._waiting.popleft(), value)]

    def finish(self) -> list[tuple]:
        """The pairs still owed; what is pushed next begins anew."""
        values = self.smooth.finish() if self.smooth else []
        return [(self._waiting.popleft(), value) for value in values]
