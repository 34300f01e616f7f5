"""The unified score of STPA from records of its models, trained apart or together (equation 6)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from ddllib.errors import DDLError
from ddllib.evaluation import Evaluation, evaluate_lntra
from ddllib.records import Record
from ddllib.score_terms.base import make_terms

STEP = 0.1  # between the weights that the oracle tries


def term_curves(records: Sequence[Record]) -> dict[str, dict[str, np.ndarray]]:
    """The raw curve of each term by clip, of records of the same clips.

    A record with one term has its curve as its scores. Raises ``DDLError`` for a term that two
    records have, and for records of other clips.
    """
    terms: dict[str, dict[str, np.ndarray]] = {}
    for record in records:
        if record.scores.keys() != records[0].scores.keys():
            raise DDLError(f"{record.name}: has other clips than {records[0].name}; give the same")
        for name in make_terms(record.facts["settings"].get("score", "distance")):
            if name in terms:
                raise DDLError(f"{record.name}: the term {name!r} is in another record, too")
            terms[name] = {
                clip: record.terms.get(f"{name}/{clip}", scores)
                for clip, scores in record.scores.items()
            }
    return terms


def unified(records: Sequence[Record], weights: Mapping[str, float] | None = None) -> Evaluation:
    """The protocol ``lntra`` on the sum of the records' terms; equal weights by default."""
    terms = term_curves(records)
    return evaluate_lntra(terms, weights or dict.fromkeys(terms, 1.0), records[0].labels)


def oracle(records: Sequence[Record]) -> tuple[dict[str, float], Evaluation]:
    """The weights with the highest AUC on the test labels themselves, and that evaluation.

    They sum to 1 and are tried in steps of ``STEP``. It is no result: it bounds what any choice of
    weights could reach.
    """
    terms = term_curves(records)
    count = round(1 / STEP)
    splits = itertools.product(range(count + 1), repeat=len(terms))
    choices = [
        dict(zip(terms, (part / count for part in split), strict=True))
        for split in splits
        if sum(split) == count
    ]
    results = [evaluate_lntra(terms, weights, records[0].labels) for weights in choices]
    best = max(range(len(choices)), key=lambda k: results[k].auc)
    return choices[best], results[best]
