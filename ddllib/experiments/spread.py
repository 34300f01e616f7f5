"""How far runs that differ only in their seed are apart, and what differences that explains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.05  # a difference is an effect if chance alone exceeds it once in twenty times


class Spread(NamedTuple):
    """The standard deviation over seeds, in [0, 1], and its degrees of freedom."""

    deviation: float
    degrees: int

    def bound(self, *sizes: int, level: float = LEVEL) -> float:
        """The largest difference by chance, but for a share ``level``, of two means of runs.

        ``sizes`` are how many runs each mean is over; all runs are taken to vary alike.
        """
        error = self.deviation * sum(1 / size for size in sizes) ** 0.5
        return float(stats.t.ppf(1 - level / 2, self.degrees) * error)


def pooled(groups: Iterable[Sequence[float]]) -> Spread | None:
    """The spread over seeds from groups of runs, each of one setting and several seeds.

    Three runs alone tell their spread badly, so all settings with several seeds count, each about
    its own mean. None with less than two degrees of freedom.
    """
    several = [values for values in groups if len(values) > 1]
    degrees = sum(len(values) - 1 for values in several)
    if degrees < 2:
        return None
    squares = sum((len(values) - 1) * np.var(values, ddof=1) for values in several)
    return Spread(float(np.sqrt(squares / degrees)), degrees)
