"""The course of sigma, P and Q in recorded runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ddllib.experiments.comparisons import MODELS
from ddllib.figures.chapter import Cited
from ddllib.records import Record

_SMALLEST_CHANGE = 0.01  # smaller changes of sigma are ignored


def sigma_table(records: Sequence[Record]) -> pd.DataFrame:
    """Sigma of each run that learnt it: at the start, at its peak and at the end."""
    rows = []
    for record in records:
        sigma = np.array(record.facts["history"]["sigma"], dtype=float)
        peak = int(sigma.argmax())
        rows.append(
            {
                "record": Cited(record.name, record),
                "start": f"{sigma[0]:.3f}",
                "peak": f"{sigma[peak]:.3f}",
                "peak after, % of steps": f"{100 * peak / max(len(sigma) - 1, 1):.0f}",
                "end": f"{sigma[-1]:.3f}",
                "from peak to end": f"{sigma[-1] - sigma[peak]:+.3f}",
            }
        )
    return pd.DataFrame(rows)


def sigma_verdict(records: Sequence[Record]) -> str:
    """Whether sigma takes the course that the paper describes, a sentence for each model's runs.

    That is: it rises early (highest in the first half of the steps), then declines until it settles
    (moves by less than 0.01 in the last tenth).
    """
    sentences = []
    for model, curves in _curves_by_model(records).items():
        matching = sum(map(_as_described, curves))
        rising = sum(curve[-1] > curve.max() - _SMALLEST_CHANGE for curve in curves)
        sentences.append(
            f"{MODELS[model]}: in {matching or 'none'} of {len(curves)} runs sigma rises early, "
            "then falls and settles, as the paper describes; "
            f"in {rising or 'none'} it ends at its peak (within {_SMALLEST_CHANGE})"
        )
    return ". ".join(sentences) or "not run"


def counts_as_described(records: Sequence[Record]) -> dict[str, tuple[int, int]]:
    """By model how many runs take the course of ``sigma_verdict``, and of how many."""
    curves = _curves_by_model(records)
    return {model: (sum(map(_as_described, runs)), len(runs)) for model, runs in curves.items()}


def _curves_by_model(records: Sequence[Record]) -> dict[str, list[np.ndarray]]:
    curves: dict[str, list[np.ndarray]] = {}
    for record in records:
        sigma = np.array(record.facts["history"]["sigma"], dtype=float)
        curves.setdefault(record.facts["settings"]["model"], []).append(sigma)
    return curves


def _as_described(sigma: np.ndarray) -> bool:
    peak, last = int(sigma.argmax()), sigma[-max(len(sigma) // 10, 1) :]
    early = peak <= len(sigma) / 2 and sigma[peak] > sigma[0] + _SMALLEST_CHANGE
    return early and sigma[-1] < sigma[peak] - _SMALLEST_CHANGE and np.ptp(last) < _SMALLEST_CHANGE


def distance_verdict(records: Sequence[Record]) -> str:
    """Whether Q exceeds P at the end of training (supplement 7.1.1), a sentence."""
    ratios = distance_ratios(records)
    if not ratios:
        return "not run"
    return (
        f"Q is larger than P in {sum(ratio > 1 for ratio in ratios)} of {len(ratios)} runs; "
        f"Q is {min(ratios):.1f} to {max(ratios):.1f} times P"
    )


def distance_ratios(records: Sequence[Record]) -> list[float]:
    """Mean Q by mean P of each run, over the last tenth of its steps."""
    return [_late_mean(record, "q") / _late_mean(record, "p") for record in records]


def _late_mean(record: Record, name: str) -> float:
    """The mean of a curve over the last tenth of the steps."""
    curve = record.facts["history"][name]
    return float(np.mean(curve[-max(len(curve) // 10, 1) :]))


def distance_table(records: Sequence[Record]) -> pd.DataFrame:
    """Means of P and Q under the mask over the last tenth of a run's steps (supplement 7.1.1)."""
    rows = []
    for record in records:
        p, q = (_late_mean(record, name) for name in ("p", "q"))
        cells = {"P": f"{p:.4f}", "Q": f"{q:.4f}", "Q / P": f"{q / p:.2f}"}
        rows.append({"record": Cited(record.name, record), **cells})
    return pd.DataFrame(rows)
