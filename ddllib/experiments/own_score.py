"""What trained models reach by a score of this edition's own, beside what learns nothing.

The score is ``averaged contrast``: held-out clips chose it among the terms before it scored a test
clip. The form of its divisor was found by others who had looked at the labels of UCSD Ped2.
"""

from __future__ import annotations

from collections.abc import Sequence

from ddllib.experiments import baselines
from ddllib.experiments.comparisons import cited_mean, described, made_by, paired_differences
from ddllib.experiments.findings import NOT_RUN, points
from ddllib.experiments.grid import Trial, read_experiment
from ddllib.records import Record

EXPERIMENT, VARIANT = "score-terms", "by averaged contrast"


def trials_by(mode: str) -> list[Trial]:
    """The trials of C3DSU by this score, trained in this mode."""
    trials = read_experiment(EXPERIMENT)
    return [t for t in trials if t.variant == VARIANT and t.settings.mode == mode]


def runs_by(records: Sequence[Record], mode: str) -> list[Record]:
    """Their records, one for each seed."""
    return made_by(records, trials_by(mode))


def in_short(records: Sequence[Record], protocol: str) -> str:
    """The AUC of DDL by this score, beside that of what learns nothing: three sentences."""
    runs = runs_by(records, "ddl")
    above = baselines.over_neighbours(runs, records, protocol)
    if above is None:
        return f"By a score that this edition adds: {NOT_RUN}."
    lead = "beyond chance" if above.is_beyond else "small enough to be chance"
    return (
        "By a score that this edition adds, averaged contrast, C3DSU with DDL has an AUC of "
        f"{cited_mean(runs, protocol)} on UCSD Ped2. The mean of two neighbour frames, which "
        f"learns nothing, has {_neighbours(runs, records, protocol)} by the same score: the lead "
        f"is {lead}. A look at the labels of these test clips suggested the form of this score, "
        "so other footage has to confirm it."
    )


def sentence(records: Sequence[Record], protocol: str) -> str:
    """What DDL, training without it and the neighbour mean have by this score: four sentences."""
    ddl, without = (runs_by(records, mode) for mode in ("ddl", "none"))
    above = baselines.over_neighbours(ddl, records, protocol)
    if above is None or not without:
        return f"By this edition's own score, averaged contrast: {NOT_RUN}."
    size = described(trials_by("ddl")[0].settings)
    gain = points(paired_differences(ddl, without, protocol))
    outcome = "is beyond chance" if above.is_beyond else "may be chance"
    return (
        "By averaged contrast, a score that this edition adds, C3DSU with DDL has "
        f"{cited_mean(ddl, protocol)} at {size}. Without pseudo-anomalies it has "
        f"{cited_mean(without, protocol)}, and the neighbour mean has "
        f"{_neighbours(ddl, records, protocol)}. DDL adds {gain} points by seed. It is "
        f"{baselines.points(above)} points above the neighbour mean, which {outcome}."
    )


def _neighbours(runs: Sequence[Record], records: Sequence[Record], protocol: str) -> str:
    """The AUC in percent of the neighbour mean by the score of these runs."""
    return baselines.mean_of(baselines.beside(runs[0], records)[baselines.NEIGHBOURS], protocol)
