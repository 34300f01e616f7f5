"""One finding: a claim, what came out, and the verdict; and how paired differences are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ddllib.experiments.comparisons import interval

HOLDS, PARTLY, NO, OPEN = "holds", "partly", "no", "open"
NOT_RUN = "not run yet"


@dataclass(frozen=True)
class Finding:
    """One claim: what the paper reports, what came out here, and the verdict.

    ``parts`` has a verdict and its figure for each part that a claim has, such as a model.
    """

    claim: str
    paper: str
    outcome: str
    verdict: str  # holds, partly, no or open
    parts: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def points(differences: Sequence[float]) -> str:
    """The mean of paired differences in points, in brackets its interval (``interval``)."""
    if not differences:
        return NOT_RUN
    bounds = interval(differences)
    if bounds is None:
        return f"{100 * differences[0]:+.2f} (1 seed)"
    mean, low, high = (100 * value for value in bounds)
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"
