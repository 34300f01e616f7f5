"""What stands beside the frames that STPA scores, flow or features, computed where it is not given.

Each entry is computed once, for a clip while its windows move on, and for a stream as it comes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np


class Beside:
    """One entry for each frame of a clip or of a stream.

    ``compute`` makes the entry of a frame from it and from those after it, ``needs`` in all, uint8
    C x H x W each. ``frames`` is how many of a stream are kept.
    """

    def __init__(self, compute: Callable[..., np.ndarray], needs: int, frames: int):
        self.compute, self.needs = compute, needs
        self._stream: deque[np.ndarray] = deque(maxlen=frames - needs + 1)
        self._clip: np.ndarray | None = None
        self._entries: dict[int, np.ndarray] = {}

    def windows(self, clip: np.ndarray, starts: Sequence[int], length: int) -> np.ndarray:
        """The entries of windows of a clip that begin at ``starts``, n x ``length`` x ..."""
        if self._clip is not clip:
            self._clip, self._entries = clip, {}
        times = sorted({t for start in starts for t in range(start, start + length)})
        for t in times:
            if t not in self._entries:
                self._entries[t] = self.compute(*clip[t : t + self.needs])
        entries = self._entries
        self._entries = {t: entry for t, entry in entries.items() if t > times[0]}
        return np.stack([[entries[start + k] for k in range(length)] for start in starts])

    def push(self, recent: Sequence[np.ndarray]) -> None:
        """Take the newest frame of a stream, the last of ``recent``."""
        if len(recent) >= self.needs:
            self._stream.append(self.compute(*list(recent)[-self.needs :]))

    @property
    def stream(self) -> np.ndarray:
        """The newest entries of the stream, N x ..."""
        return np.stack(self._stream)

    def clear(self) -> None:
        """Forget the stream."""
        self._stream.clear()
