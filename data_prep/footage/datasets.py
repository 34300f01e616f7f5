"""Facts of the known data sets, one YAML table each in `facts/`, and the check against them.

A data set is recognised by the size of its frames and the lengths of its clips, never by the name
of a folder.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from data_prep.footage.layouts import SPLITS, natural_key
from ddllib.errors import DDLError

FACTS = Path(__file__).parent.parent / "facts"
OWN = "own"  # the name for footage of no known data set, even if it resembles one
SAME_LENGTHS = 2 / 3  # share of the clips that must have the data set's lengths


@dataclass(frozen=True)
class DataSet:
    """The facts of one data set.

    `frames`: their number by split and clip, None if unknown; `abnormal`: the number of abnormal
    frames by labelling and test clip; `totals`: (clips, frames) of a split whose clips are not all
    known; `size`: height and width of a frame in pixels; `archives`: official files (address,
    bytes, sha256); `by_hand`: how to get it, if only a person can accept its terms; `whole`: the
    data set that this one is a part of.
    """

    name: str
    title: str
    source: str
    size: tuple[int, int]
    frames: Mapping[str, Mapping[str, int | None]]
    abnormal: Mapping[str, Mapping[str, int]]
    totals: Mapping[str, tuple[int, int]]
    archives: Sequence[Mapping] = ()
    folder: str = ""
    by_hand: str = ""
    note: str = ""
    scenes: bool = False
    whole: "DataSet | None" = None

    @property
    def labelling(self) -> str | None:
        """The official labelling, if several circulate."""
        return next(iter(self.abnormal)) if len(self.abnormal) > 1 else None

    def total(self, split: str) -> tuple[int, int]:
        """Clips and frames of a split."""
        counts = self.frames[split]
        return self.totals.get(split) or (len(counts), sum(n or 0 for n in counts.values()))

    @property
    def tests(self) -> Mapping[str, int]:
        """Frames of every test clip that a label file of this data set has labels for."""
        return (self.whole or self).frames["testing"]


def names() -> list[str]:
    """Names of the known data sets."""
    return sorted(path.stem for path in FACTS.glob("*.yaml"))


def wholes() -> list[str]:
    """Names of the known data sets without their named parts."""
    return [name for name in names() if not load(name).whole]


def rows() -> list[dict[str, str | int]]:
    """The facts of each data set as a row of a table to read."""
    return [row(load(name)) for name in wholes()]


def row(dataset: DataSet) -> dict[str, str | int]:
    tests = dataset.frames["testing"]
    clips, frames = dataset.total("training")
    abnormal = [f"{sum(counts.values()):,}" for counts in dataset.abnormal.values()]
    return {
        "name": dataset.name,
        "data set": dataset.title,
        "training clips": clips,
        "frames": f"{frames:,}",
        "test clips": len(tests),
        "test frames": f"{sum(tests.values()):,}",
        "abnormal": " or ".join(abnormal) or "–",
        "frame size": f"{dataset.size[1]} x {dataset.size[0]}",
        "get it": "by a person" if dataset.by_hand else "download",
    }


@cache
def load(name: str) -> DataSet:
    """The facts of one data set; raises DDLError for a name that is not known."""
    path = FACTS / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join([*names(), OWN])
        raise DDLError(f"dataset: unknown name {name!r}; expected one of {known}")
    facts = yaml.safe_load(path.read_text("utf-8"))
    return part(name, facts) if "part_of" in facts else complete(name, facts)


def complete(name: str, facts: dict) -> DataSet:
    rows = facts["testing"]
    labellings = facts.get("labellings", ["frames"])
    optional = ("archives", "folder", "by_hand", "note", "scenes")
    return DataSet(
        name,
        facts["title"],
        facts["source"],
        tuple(facts["size"]),
        {"training": facts.get("training", {}), "testing": {n: row[0] for n, row in rows.items()}},
        {
            labelling: {n: row[k] for n, row in rows.items()}
            for k, labelling in enumerate(labellings, start=1)
            if all(len(row) > k for row in rows.values())
        },
        {"training": tuple(facts.get("training_total", {}).values())},
        **{key: facts[key] for key in optional if key in facts},
    )


def part(name: str, facts: dict) -> DataSet:
    """A named part: chosen clips of another data set, with that one's facts."""
    whole = load(facts["part_of"])
    frames = {split: {n: whole.frames[split][n] for n in facts[split]} for split in SPLITS}
    abnormal = {
        labelling: {n: counts[n] for n in facts["testing"]}
        for labelling, counts in whole.abnormal.items()
    }
    return DataSet(
        name, facts["title"], whole.source, whole.size, frames, abnormal, {}, whole=whole
    )


def identify(
    lengths: Mapping[str, Mapping[str, int | None]], size: tuple[int, int] | None
) -> DataSet | None:
    """The known data set with these clip lengths and this frame size, or None.

    `lengths`: frames by split and clip; `size`: height and width of its frames in pixels, None
    if there are only labels. A part of a data set is never recognised, only the whole one.
    """
    for dataset in map(load, names()):
        if not dataset.whole and size in (None, dataset.size) and alike(lengths, dataset):
            return dataset
    return None


def alike(lengths: Mapping[str, Mapping[str, int | None]], dataset: DataSet) -> bool:
    """Whether most clips have the same length in the footage and in the facts."""
    pairs = [
        (count, dataset.frames[split].get(name, -1))
        for split, clips in lengths.items()
        for name, count in clips.items()
        if dataset.frames[split]  # else the names of its clips are not known
    ]
    comparable = [(count, official) for count, official in pairs if official is not None]
    same = sum(count == official for count, official in comparable)
    return same >= 2 and same >= SAME_LENGTHS * len(comparable)


def absent(dataset: DataSet, lengths: Mapping[str, Mapping[str, int | None]]) -> dict[str, str]:
    """The missing clips of a data set, in words, by split."""
    missing = {}
    for split in SPLITS:
        official, present = dataset.frames[split], lengths[split]
        total = dataset.total(split)[0]
        names = [name for name in official if name not in present]
        if total and not present:
            missing[split] = f"all {total} clips"
        elif names:
            missing[split] = spans(names)
        elif len(present) < total:
            missing[split] = f"{total - len(present)} of {total} clips"
    return missing


def differences(
    dataset: DataSet, lengths: Mapping[str, Mapping[str, int | None]]
) -> list[tuple[str, str, int, int | None]]:
    """Clips unlike the facts: split, clip, its frames, frames expected (None: no such clip)."""
    differing = []
    for split in SPLITS:
        facts = dataset.frames[split]
        for name, count in lengths[split].items():
            official = facts.get(name, None if facts else count)
            unknown_length = name in facts and official is None
            if not unknown_length and count not in (None, official):
                differing.append((split, name, count, official))
    return differing


def spans(names: Sequence[str]) -> str:
    """Clip names in short: 01, 02, 03, 07 as "01-03, 07"."""
    runs: list[list[str]] = []
    for name in sorted(names, key=natural_key):
        if runs and follows(runs[-1][-1], name):
            runs[-1].append(name)
        else:
            runs.append([name])
    return ", ".join(run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def follows(first: str, second: str) -> bool:
    """Whether two names differ by one in the number at their end."""
    a, b = (re.fullmatch(r"(.*?)([0-9]+)", name) for name in (first, second))
    return bool(a and b and a[1] == b[1] and int(a[2]) + 1 == int(b[2]))
