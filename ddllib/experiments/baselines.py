"""Runs beside baselines that learn nothing, on the same clips, by the same score and size."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from ddllib.evaluation import Difference, judge, micro_auc, paired_difference
from ddllib.experiments.comparisons import MODELS, MODES, cited_mean, described, mean_and_spread
from ddllib.figures.chapter import Cited, percent
from ddllib.records import Record
from ddllib.score_terms.terms import Terms
from ddllib.settings import Settings, recorded

NEIGHBOURS, FLOW, UNTRAINED = "neighbour mean", "flow magnitude", "untrained network"
FLOW_TVL1 = "flow magnitude by TV-L1"  # STPA's flow, which takes far longer
# What is changed of a run's settings, besides epochs, to have its baseline.
CHANGES: dict[str, dict] = {
    "frame difference": {"method": "frame-difference"},
    NEIGHBOURS: {"method": "neighbour-mean"},
    FLOW: {"method": "optical-flow", "score": "flow magnitude", "flow": "dis"},
    FLOW_TVL1: {"method": "optical-flow", "score": "flow magnitude", "flow": "tvl1"},
    UNTRAINED: {},
}
MARK = "†"  # beside a figure that is not beyond the neighbour mean
_SAME = ("data", "scene", "frame_rate", "labelling", "ignore", "size", "patch", "scaled_terms")
PLAIN = Settings().score  # the paper's


def baseline_settings(settings: Settings) -> dict[str, Settings]:
    """The settings of a run's baselines by name, without those that its score cannot judge.

    TV-L1 is only for a run that uses it.
    """
    compares_flow = any(term.of == "flow" for _, term in Terms(settings.score).values())
    left_out = ["frame difference", NEIGHBOURS] if compares_flow else []
    if not compares_flow or settings.flow != "tvl1":
        left_out.append(FLOW_TVL1)
    return {
        name: replace(settings, **{"epochs": 0, "start_from": None, **changes})
        for name, changes in CHANGES.items()
        if name not in left_out
    }


def baseline_name(record: Record) -> str | None:
    """Which baseline a record is of; None for one that was trained."""
    if record.is_trained:
        return None
    settings = recorded(record.facts["settings"])
    for name, changes in CHANGES.items():
        if changes.get("method") == record.method:
            if changes.get("flow") in (None, settings["flow"]):
                return name
    return UNTRAINED


def has_plain_score(record: Record) -> bool:
    """Whether a record of DDL, or a baseline, is by the paper's score or by the baseline's own."""
    name, values = baseline_name(record), recorded(record.facts["settings"])
    own = CHANGES[name].get("score", PLAIN) if name else PLAIN
    return values["score"] == own and not values["scaled_terms"]


def beside(run: Record, records: Iterable[Record]) -> dict[str, list[Record]]:
    """The recorded baselines of a run by name: those of the same clips at its size and patch.

    They have the same score, but for the flow's magnitude, which has its own.
    """
    run_settings = recorded(run.facts["settings"])
    groups: dict[str, list[Record]] = {name: [] for name in CHANGES}
    for record in records:
        name, values = baseline_name(record), recorded(record.facts["settings"])
        score = CHANGES[name].get("score", run_settings["score"]) if name else None
        is_same = (
            all(values[key] == run_settings[key] for key in _SAME) and values["score"] == score
        )
        if name and is_same and record.labels.keys() == run.labels.keys():
            groups[name].append(record)
    return groups


def exceeds(
    runs: Sequence[Record], baselines: Sequence[Record], protocol: str
) -> Difference | None:
    """How much the mean AUC of some runs exceeds that of baselines; None where one was not run."""
    if not runs or not baselines:
        return None
    first, second = ([record.scores for record in side] for side in (runs, baselines))
    return paired_difference(first, second, runs[0].labels, protocol)


def over_neighbours(
    runs: Sequence[Record], records: Sequence[Record], protocol: str
) -> Difference | None:
    """``exceeds`` for the neighbour mean among ``records``."""
    neighbours = beside(runs[0], records)[NEIGHBOURS] if runs else []
    return exceeds(runs, neighbours, protocol)


def points(difference: Difference | None) -> str:
    """A difference in points with its bounds over clips; ``not run`` for None."""
    if difference is None:
        return "not run"
    mean, low, high = (f"{100 * value:+.2f}" for value in difference)
    return f"{mean} ({low} to {high})"


def verdict(difference: Difference | None) -> str:
    """Whether a run is beyond the neighbour mean: yes, no, or not run."""
    if difference is None:
        return "not run"
    return "yes" if difference.is_beyond else "no"


def mean_of(records: Sequence[Record], protocol: str) -> Cited:
    """The mean AUC in percent, computed from scores; with its spread where it depends on seeds."""
    aucs = [micro_auc(record.scores, record.labels, protocol) for record in records]
    has_no_seed = records and baseline_name(records[0]) not in (None, UNTRAINED)
    return Cited(percent(aucs[0]) if has_no_seed else mean_and_spread(aucs), *records)


def marked_mean(records: Sequence[Record]) -> Callable[[Sequence[Record], str], Cited]:
    """``cited_mean``, marked where runs are not beyond the neighbour mean among ``records``."""

    def cell(runs: Sequence[Record], protocol: str) -> Cited:
        text, difference = cited_mean(runs, protocol), over_neighbours(runs, records, protocol)
        is_marked = difference is not None and not difference.is_beyond
        return Cited(f"{text} {MARK}", *runs) if is_marked else text

    return cell


def grouped(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Runs of DDL that differ in nothing but their seed, by model, mode, width and size.

    Only those by the paper's score are taken.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record.is_trained and record.method == "ddl" and has_plain_score(record):
            settings = Settings(**recorded(record.facts["settings"]))
            preset = "" if settings.preset == "released" else f", preset {settings.preset}"
            name = f"{MODELS[settings.model]} {MODES[settings.mode]}, {described(settings)}"
            groups.setdefault(name + preset, []).append(record)
    return groups


def baseline_table(records: Sequence[Record], protocols: Sequence[str]) -> pd.DataFrame:
    """The AUC of each baseline among ``records``, a column for each size and protocol."""
    cells: dict[str, dict[str, list[Record]]] = {name: {} for name in CHANGES}
    for record in records:
        if name := baseline_name(record):
            cells[name].setdefault(record.facts["settings"]["size"], []).append(record)
    sizes = sorted({size for by_size in cells.values() for size in by_size})
    rows = [
        {"nothing learnt": name}
        | {f"{s} px; {p}": mean_of(by_size.get(s, []), p) for p in protocols for s in sizes}
        for name, by_size in cells.items()
        if by_size
    ]
    return pd.DataFrame(rows)


def lines_of(records: Sequence[Record], size: int, protocol: str) -> dict[str, float]:
    """The AUC in percent of what learns nothing at a frame size, but for untrained networks."""
    return {
        name: 100 * micro_auc(record.scores, record.labels, protocol)
        for record in records
        if (name := baseline_name(record)) not in (None, UNTRAINED)
        and record.facts["settings"]["size"] == size
    }


def best_of_all(records: Sequence[Record], protocol: str) -> str:
    """The highest AUC of what learns nothing, at any frame size: a sentence, empty without any."""
    sizes = {record.facts["settings"]["size"] for record in records}
    known = [
        (auc, name, size)
        for size in sorted(sizes)
        for name, auc in lines_of(records, size, protocol).items()
    ]
    if not known:
        return ""
    auc, name, size = max(known)
    meaning = " (how far pixels move)" if name in (FLOW, FLOW_TVL1) else ""
    place = f"{name}{meaning} at {size} x {size} pixels"
    return f"The best of what learns nothing is {place}: {auc:.2f}."


def rows_of_neighbours(
    records: Sequence[Record], sizes: Iterable[int], protocols: Sequence[str]
) -> dict[str, Cited]:
    """The neighbour mean as rows of another table: its name, size and protocol, and its AUC."""
    rows = {}
    for size in dict.fromkeys(sizes):
        neighbour_records = [
            r
            for r in records
            if baseline_name(r) == NEIGHBOURS and r.facts["settings"]["size"] == size
        ]
        for protocol in protocols if neighbour_records else protocols[:1]:
            name = f"{NEIGHBOURS}, nothing learnt, {size} x {size}; {protocol}"
            rows[name] = mean_of(neighbour_records, protocol)
    return rows


def below_modes(by_mode: pd.DataFrame, rows: Mapping[str, Cited]) -> pd.DataFrame:
    """Table 2 with ``rows_of_neighbours`` below it; nothing learnt has no mode but the first."""
    added = [{"model": "–", "source": name, MODES["none"]: cell} for name, cell in rows.items()]
    return pd.concat([by_mode, pd.DataFrame(added)], ignore_index=True)


def difference_table(
    groups: Mapping[str, Sequence[Record]], records: Sequence[Record], protocols: Sequence[str]
) -> pd.DataFrame:
    """By how many points of AUC each group of runs exceeds each baseline (``points``)."""
    rows = []
    for name, runs in groups.items():
        for protocol in protocols:
            differences = {
                n: exceeds(runs, b, protocol) for n, b in beside(runs[0], records).items()
            }
            cells = {f"above {n}": points(difference) for n, difference in differences.items()}
            beyond = {f"beyond the {NEIGHBOURS}": verdict(differences[NEIGHBOURS])}
            row = {"runs": name, "protocol": protocol, "AUC": mean_of(runs, protocol)}
            rows.append(row | cells | beyond)
    return pd.DataFrame(rows)


def nearness(
    groups: Mapping[str, Sequence[Record]], records: Sequence[Record], protocol: str
) -> list[str]:
    """What the neighbour mean and the flow say of trained runs, sentences with their numbers."""
    known = {
        name: difference
        for name, runs in groups.items()
        if (difference := over_neighbours(runs, records, protocol)) is not None
    }
    if not known:
        return [f"not run: no trained run beside a {NEIGHBOURS} of its size"]
    order = sorted(known, key=lambda name: known[name].mean)
    lowest, highest = order[0], order[-1]
    over_flow = {
        flow: [
            exceeds(groups[name], beside(groups[name][0], records)[flow], protocol)
            for name in known
        ]
        for flow in (FLOW, FLOW_TVL1)
    }
    likenesses = _likenesses(groups[highest], records, protocol)
    return [
        f"{_counted(known.values(), NEIGHBOURS)} (protocol {protocol})",
        f"compared with the {NEIGHBOURS}, the lowest setting is {lowest}: {points(known[lowest])} "
        f"points. The highest is {highest}: {points(known[highest])} points",
        *(_counted([d for d in each if d], flow) for flow, each in over_flow.items()),
        f"how alike frames are ranked by the {NEIGHBOURS} and by others: {', '.join(likenesses)} "
        "(rank correlation; 1 is the same order)",
    ]


def _counted(differences: Collection[Difference], baseline: str) -> str:
    """How many trained settings are beyond a baseline, and how many more are only above it.

    Chance is that of drawing whole clips.
    """
    count = len(differences)
    if not count:
        return f"{baseline}: not run"
    beyond = sum(difference.is_beyond for difference in differences)
    above = sum(difference.mean > 0 for difference in differences) - beyond
    verb = "are" if beyond > 1 else "is"
    told = f"{beyond or 'none'} of {count} trained settings {verb} beyond the {baseline}"
    others = f"{above} {'more ' if beyond else ''}{'has' if above == 1 else 'have'} a higher AUC"
    return f"{told}; {others}, but not by more than chance" if above else told


def _likenesses(runs: Sequence[Record], records: Sequence[Record], protocol: str) -> list[str]:
    """How alike frames are ordered by the neighbour mean and by others of the same size."""
    baselines = beside(runs[0], records)
    (neighbours, *_) = baselines[NEIGHBOURS]
    others = {FLOW: baselines[FLOW], "the highest of these runs": runs}
    return [
        f"{name} {likeness(neighbours, group[0], protocol):.2f}"
        for name, group in others.items()
        if group
    ]


def likeness(first: Record, second: Record, protocol: str) -> float:
    """The rank correlation of two records' scores over all frames, in [-1, 1]."""
    values = []
    for record in (first, second):
        judged, _ = judge(record.scores, record.labels, protocol)
        values.append(np.concatenate([judged[name] for name in sorted(judged)]))
    return float(stats.spearmanr(*values).statistic)


def regions_verdict(runs: Sequence[Record], records: Sequence[Record]) -> str:
    """How many runs find more abnormal regions than baselines do, a sentence.

    By RBDC, for runs that have it beside baselines of their size that do.
    """
    parts = []
    for name in (NEIGHBOURS, FLOW):
        pairs = [
            (_rbdc(run), _rbdc(baselines[0]))
            for run in runs
            if (baselines := beside(run, records)[name])
        ]
        pairs = [pair for pair in pairs if None not in pair]
        more = sum(own > other for own, other in pairs)
        parts.append(f"{more} of {len(pairs)} runs have a higher RBDC than the {name}")
    return "; ".join(parts)


def _rbdc(record: Record) -> float | None:
    return (record.facts.get("pixels") or {}).get("rbdc")


def protocol_table(
    columns: Mapping[str, Sequence[Record]], protocols: Iterable[str]
) -> pd.DataFrame:
    """The AUC of runs and baselines under each protocol, computed from their scores."""

    rows = [
        {"protocol": p} | {name: mean_of(records, p) for name, records in columns.items()}
        for p in protocols
    ]
    return pd.DataFrame(rows)
