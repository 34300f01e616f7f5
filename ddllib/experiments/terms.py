"""The terms of a score: where each of them helps, and what training adds to what learns nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from ddllib.evaluation import Difference, paired_difference
from ddllib.experiments.baselines import (
    CHANGES,
    NEIGHBOURS,
    PLAIN,
    baseline_name,
    beside,
    has_plain_score,
    mean_of,
    over_neighbours,
    points,
)
from ddllib.experiments.comparisons import MODES, cited_mean, made_by, mean_auc
from ddllib.experiments.grid import Trial
from ddllib.records import Record
from ddllib.settings import recorded

_KEY = ("data", "scene", "frame_rate", "labelling", "ignore", "size", "patch")


def of_plain_score(records: Iterable[Record]) -> list[Record]:
    """What learns nothing by the paper's score, or by one that its baseline has of its own."""
    return [record for record in records if baseline_name(record) and has_plain_score(record)]


def _score(record: Record) -> str:
    """The terms that scored a record, and whether they were scaled."""
    values = recorded(record.facts["settings"])
    return values["score"] + ", scaled" * values["scaled_terms"]


Groups = Mapping[str, Mapping[str, Sequence[Record]]]  # records by what is scored, and by term


def by_terms(records: Iterable[Record]) -> dict[str, dict[str, list[Record]]]:
    """Records of what learns nothing by what is scored, and there by term; one for each seed.

    A row without the paper's score has nothing to be held to and is left out.
    """
    rows: dict[tuple, dict[str, list[Record]]] = {}
    for record in records:
        name, values = baseline_name(record), recorded(record.facts["settings"])
        if name and record.metrics and "score" not in CHANGES[name]:
            key = (name, *(str(values[k]) for k in _KEY))
            rows.setdefault(key, {}).setdefault(_score(record), []).append(record)
    named = {
        f"{data} at {size} px, {name}": terms for (name, data, *_, size, _), terms in rows.items()
    }
    return {name: named[name] for name in sorted(named) if PLAIN in named[name]}


def trained_by_terms(
    trials: Sequence[Trial], records: Sequence[Record]
) -> dict[str, dict[str, list[Record]]]:
    """Records of an experiment by footage and way of training, and there by term.

    A row without the paper's score is left out.
    """
    rows: dict[str, dict[str, list[Record]]] = {}
    for trial in trials:
        settings = trial.settings
        name = f"{settings.data} at {settings.size} px, {MODES[settings.mode]}"
        for record in made_by(records, [trial]):
            rows.setdefault(name, {}).setdefault(_score(record), []).append(record)
    return {name: terms for name, terms in rows.items() if PLAIN in terms}


def change(terms: Mapping[str, Sequence[Record]], term: str, protocol: str) -> Difference | None:
    """By how much the AUC by a term exceeds that by the paper's score; None where it was not run.

    The same clips are drawn for both.
    """
    if term not in terms:
        return None
    one, other = terms[term], terms[PLAIN]
    labels = one[0].labels
    return paired_difference([r.scores for r in one], [r.scores for r in other], labels, protocol)


def tried(groups: Groups) -> list[str]:
    """The terms other than the paper's score by which something was scored."""
    return sorted({term for terms in groups.values() for term in terms} - {PLAIN})


def terms_table(groups: Groups, protocol: str) -> pd.DataFrame:
    """The AUC in percent by each term, and the points above the paper's score (``points``).

    What is scored is named in the first of its rows.
    """
    rows = []
    for name, terms in groups.items():
        for term in (PLAIN, *sorted(terms.keys() - {PLAIN})):
            above = "" if term == PLAIN else points(change(terms, term, protocol))
            rows.append(
                {
                    "scored": name if term == PLAIN else "",
                    "score": term,
                    "AUC": mean_of(terms[term], protocol),
                    "points above the paper's": above,
                }
            )
    return pd.DataFrame(rows)


def where_it_helps(groups: Groups, term: str, protocol: str) -> str:
    """Where a term helps beyond its bounds over clips, and where it harms, two or three sentences.

    Those that are open are only counted, as ``terms_table`` shows them.
    """
    verdicts: dict[str, list[str]] = {"helps": [], "harms": [], "open": []}
    for name, terms in groups.items():
        difference = change(terms, term, protocol)
        if difference is not None:
            outcome = "harms" if difference.high < 0 else "open"
            outcome = "helps" if difference.is_beyond else outcome
            verdicts[outcome].append(f"{name} ({100 * difference.mean:+.2f})")
    if not any(verdicts.values()):
        return f"{term}: not run"
    helps, harms = ("; ".join(verdicts[word]) or "nowhere" for word in ("helps", "harms"))
    told = f"{term}: in points of AUC, it helps {helps}. It harms {harms}"
    count, total = len(verdicts["open"]), sum(map(len, verdicts.values()))
    return f"{told}. For {count} of {total} it is open" if count else told


def trained_table(
    trials: Sequence[Trial], records: Sequence[Record], protocol: str
) -> pd.DataFrame:
    """A row for each score and way of training of an experiment: the AUC in percent.

    Beside it stand the neighbour mean by the same score, and the points above it with their bounds
    over clips.
    """
    rows = []
    for (variant, mode), runs in _ways(trials, records).items():
        neighbours = beside(runs[0], records)[NEIGHBOURS] if runs else []
        rows.append(
            {
                "score": variant,
                "trained": MODES[mode],
                "AUC": cited_mean(runs, protocol) if runs else "not run",
                "neighbour mean": mean_of(neighbours, protocol) if neighbours else "not run",
                "points above it": points(over_neighbours(runs, records, protocol)),
            }
        )
    return pd.DataFrame(rows)


def trained_sentence(trials: Sequence[Trial], records: Sequence[Record], protocol: str) -> str:
    """Whether training adds anything beyond the neighbour mean by the same score, two sentences."""
    ways = {
        (variant, mode): (runs, over_neighbours(runs, records, protocol))
        for (variant, mode), runs in _ways(trials, records).items()
    }
    known = {way: pair for way, pair in ways.items() if pair[1] is not None}
    if not known:
        return "trained models by each term: not run"
    beyond = [f"{MODES[m]}, {v}" for (v, m), (_, above) in known.items() if above.is_beyond]
    (variant, mode), (runs, _) = max(known.items(), key=lambda item: mean_auc(item[1][0], protocol))
    those, verb = f": {'; '.join(beyond)}" if beyond else "", "are" if len(beyond) > 1 else "is"
    return (
        f"{len(beyond) or 'none'} of {len(known)} ways of training and scoring {verb} beyond "
        f"the neighbour mean by the same score{those}. The highest AUC of a trained model is "
        f"{cited_mean(runs, protocol)}, {MODES[mode]}, {variant}"
    )


def _ways(
    trials: Sequence[Trial], records: Sequence[Record]
) -> dict[tuple[str, str], list[Record]]:
    """The records of an experiment by variant and mode, those of all seeds together."""
    ways: dict[tuple[str, str], list[Record]] = {}
    for trial in trials:
        way = trial.variant, trial.settings.mode
        ways.setdefault(way, []).extend(made_by(records, [trial]))
    return ways
