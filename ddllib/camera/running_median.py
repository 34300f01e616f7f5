"""The median filter of the protocol for scores that arrive one by one."""

from __future__ import annotations

from collections import deque

from ddllib.errors import DDLError
from ddllib.evaluation import MEDIAN_LENGTH


class RunningMedian:
    """The median filter of the protocol ``median`` over a stream, ``width // 2`` values late.

    Centred, ``width`` odd; at both ends the first or last value is repeated. The outputs of
    ``push`` and ``finish`` together equal ``evaluation.apply_protocol(values, "median")`` exactly.
    """

    def __init__(self, width: int = MEDIAN_LENGTH):
        if width < 1 or width % 2 == 0:
            raise DDLError(f"width is {width}; expected an odd number of frames, such as 17")
        self.delay = width // 2
        self._values: deque[float] = deque(maxlen=width)

    def push(self, value: float) -> float | None:
        """Take a value; returns the median around the one ``delay`` pushes ago, None before it."""
        if not self._values:
            self._values.extend([float(value)] * self.delay)
        self._values.append(float(value))
        full = len(self._values) == self._values.maxlen
        return sorted(self._values)[self.delay] if full else None

    def finish(self) -> list[float]:
        """The remaining medians, at most ``delay`` of them; the next value starts a new stream."""
        last = list(self._values)[-1:]
        medians = [self.push(value) for value in last * self.delay]
        self._values.clear()
        return [median for median in medians if median is not None]


class HeldBack:
    """A queue of items that wait for their filtered score; returns pairs (item, filtered score).

    ``smooth`` is a filter such as ``RunningMedian``; without one no item waits and scores are raw.
    """

    def __init__(self, smooth: RunningMedian | None = None):
        self.smooth = smooth
        self._waiting: deque = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def delay(self) -> int:
        """After how many further pushes an item has its filtered score."""
        return self.smooth.delay if self.smooth else 0

    def push(self, item, score: float) -> list[tuple]:
        """Take an item with its raw score; returns the pair that is ready, if any."""
        self._waiting.append(item)
        value = self.smooth.push(score) if self.smooth else score
        return [] if value is None else [(self._waiting.popleft(), value)]

    def finish(self) -> list[tuple]:
        """The pairs of all waiting items; the next item starts a new stream."""
        values = self.smooth.finish() if self.smooth else []
        return [(self._waiting.popleft(), value) for value in values]
