"""Facts of the known data sets, one YAML table each in `facts/`, and the check against them.

A data set is recognised by what is in it, the size of its frames and the lengths of its clips,
never by the name of a folder.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from data_prep.layouts import SPLITS, natural_key
from ddllib.errors import DDLError

FACTS = Path(__file__).parent / "facts"
OWN = "own"  # the name under which footage is taken as it is, whatever it resembles
ALIKE = 2 / 3  # share of a footage's clips that must have a data set's lengths


@dataclass(frozen=True)
class DataSet:
    """What is known of one data set.

    `frames`: by split and clip, None where unknown; `abnormal`: by labelling and test clip;
    `totals`: (clips, frames) of a split whose clips are not all known; `size`: height and width
    of a frame in pixels; `archives`: official files (address, bytes, sha256); `by_hand`: how to
    get it where the terms need a person; `whole`: the data set that this one is a part of.
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
        """The official labelling where more than one is about."""
        return next(iter(self.abnormal)) if len(self.abnormal) > 1 else None

    def total(self, split: str) -> tuple[int, int]:
        """Clips and frames of a split."""
        known = self.frames[split]
        return self.totals.get(split) or (len(known), sum(n or 0 for n in known.values()))

    @property
    def tests(self) -> Mapping[str, int]:
        """Frames of every test clip that a label file of this data set speaks of."""
        return (self.whole or self).frames["testing"]


def names() -> list[str]:
    """Names of the known data sets."""
    return sorted(path.stem for path in FACTS.glob("*.yaml"))


def wholes() -> list[str]:
    """Names of the known data sets without their named parts."""
    return [name for name in names() if not load(name).whole]


def rows() -> list[dict[str, str | int]]:
    """What is known of each data set, a row each, for a table to read."""
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
    """The known data set that footage with these clip lengths and frame size is, or None.

    `lengths`: frames by split and clip; `size`: height and width of its frames in pixels, None
    where only labels are there. A part is never chosen by itself.
    """
    for dataset in map(load, names()):
        if not dataset.whole and size in (None, dataset.size) and alike(lengths, dataset):
            return dataset
    return None


def alike(lengths: Mapping[str, Mapping[str, int | None]], dataset: DataSet) -> bool:
    """Whether most of the clips whose length is known on both sides have the same."""
    pairs = [
        (count, dataset.frames[split].get(name, -1))
        for split, clips in lengths.items()
        for name, count in clips.items()
        if dataset.frames[split]  # else the names of its clips are not known
    ]
    known = [(found, stated) for found, stated in pairs if stated is not None]
    same = sum(found == stated for found, stated in known)
    return same >= 2 and same >= ALIKE * len(known)


def absent(dataset: DataSet, lengths: Mapping[str, Mapping[str, int | None]]) -> dict[str, str]:
    """The data set's clips that are not there, in words, by split."""
    missing = {}
    for split in SPLITS:
        known, found = dataset.frames[split], lengths[split]
        total = dataset.total(split)[0]
        names = [name for name in known if name not in found]
        if total and not found:
            missing[split] = f"all {total} clips"
        elif names:
            missing[split] = spans(names)
        elif len(found) < total:
            missing[split] = f"{total - len(found)} of {total} clips"
    return missing


def differences(
    dataset: DataSet, lengths: Mapping[str, Mapping[str, int | None]]
) -> list[tuple[str, str, int, int | None]]:
    """Clips unlike the facts: split, clip, frames found, frames expected (None: no such clip)."""
    odd = []
    for split in SPLITS:
        known = dataset.frames[split]
        for name, found in lengths[split].items():
            stated = known.get(name, None if known else found)
            unknown_length = name in known and stated is None
            if not unknown_length and found not in (None, stated):
                odd.append((split, name, found, stated))
    return odd


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
    one, two = (re.fullmatch(r"(.*?)([0-9]+)", name) for name in (first, second))
    return bool(one and two and one[1] == two[1] and int(one[2]) + 1 == int(two[2]))
