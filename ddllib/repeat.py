"""Run a record again, from its footage, and say whether the same came out.

::

    python -m ddllib.repeat book/results/ped2-cpu/c3dsu-ddl-seed0

Everything is made anew in ``repeated`` of the runs' folder; what an earlier repetition finished
there is set aside. On the machine and with the versions
of the record, a CPU gives the same bits; what differs otherwise is listed.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ddllib import road
from ddllib.commands import run_command
from ddllib.records import Record, read_record, rounded
from ddllib.settings import Settings, recorded, runs_root


def settings_of(record: Record) -> Settings:
    """The settings that a record was made with.

    The run it began with is given by its whole path, since other runs' folders hold no such run.
    Raises ``DDLError`` where that run is not there.
    """
    settings = Settings(**recorded(record.facts["settings"]))
    start = settings.start_folder
    return replace(settings, start_from=str(start.resolve())) if start else settings


def repeat(record: Record, root: Path, progress: bool = True) -> Record:
    """Prepare, train and score again by a record's settings, all of it below ``root``.

    On a CPU as many threads work as did then, since the order of sums depends on it. An
    interrupted repetition goes on when it is called again; a finished one is set aside and begun
    anew. Raises ``DDLError`` where the footage, or the run that this one began with, is not there.
    """
    threads = re.match(r"cpu, (\d+) threads", record.facts["device"])
    if threads:
        torch.set_num_threads(int(threads[1]))
    settings = settings_of(record)
    with _runs_in(root):
        _set_finished_aside(settings)
        data = road.prepare(settings, progress)
        return road.score(settings, data, road.train(settings, data, progress), progress)


@contextmanager
def _runs_in(root: Path) -> Iterator[None]:
    """Runs go to ``root`` within the block, and where they went before after it."""
    before = os.environ.get("DDL_RUNS")
    os.environ["DDL_RUNS"] = str(root)
    try:
        yield
    finally:
        if before is None:
            del os.environ["DDL_RUNS"]
        else:
            os.environ["DDL_RUNS"] = before


def _set_finished_aside(settings: Settings) -> None:
    """Rename what a finished repetition left, so that nothing of it is taken for the next.

    The record goes last: a repetition stopped in between is still seen as finished.
    """
    record = settings.record_folder
    if not (record / "run.json").is_file():
        return
    for folder in dict.fromkeys((settings.prepared_folder, settings.run_folder, record)):
        if folder.exists():
            road.set_aside(folder)


def compare(first: Record, second: Record) -> list[str]:
    """What differs between two records of one run, a line each; empty if nothing does.

    Curves are compared to the six digits that published records keep, scores by every bit.
    """
    lines = [_curve(first, second), _scores(first, second)]
    if first.facts["data"]["digest"] != second.facts["data"]["digest"]:
        lines.insert(0, "prepared data: another digest")
    differing = [line for line in lines if line]
    return [*differing, *_surroundings(first.facts, second.facts)] if differing else []


def _curve(first: Record, second: Record) -> str | None:
    a, b = (rounded(record.facts["history"]) for record in (first, second))
    steps = len(a["step"]), len(b["step"])
    if steps[0] != steps[1]:
        return f"training: {steps[0]} steps, now {steps[1]}"
    for step in range(steps[0]):
        for name in a:
            if a[name][step] != b[name][step]:
                return f"training: {name} at step {step} was {a[name][step]}, now {b[name][step]}"
    return None


def _scores(first: Record, second: Record) -> str | None:
    if first.scores.keys() != second.scores.keys():
        return "scores: of other clips"
    if all(np.array_equal(values, second.scores[name]) for name, values in first.scores.items()):
        return None
    aucs = [
        f"AUC ({name}) was {100 * m['auc']:.3f}, now {100 * second.auc(name):.3f} %"
        for name, m in first.metrics.items()
    ]
    return "; ".join(["scores: not the same", *aucs])


def _surroundings(first: dict, second: dict) -> list[str]:
    """What the two were made with, as far as it differs."""
    made = [{**f["environment"], **f["environment"]["packages"]} for f in (first, second)]
    for facts, values in zip((first, second), made, strict=True):
        values |= {"device": facts["device"], "precision": facts["precision"]}
        del values["packages"]
    return [
        f"made with {name} {made[0].get(name)}, now {value}"
        for name, value in made[1].items()
        if made[0].get(name) != value
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ddllib.repeat", description="Run a record again and compare."
    )
    parser.add_argument("record", type=Path, help="folder of a record")
    given = parser.parse_args(arguments)
    return run_command("repeat", lambda: _repeat_and_tell(given.record))


def _repeat_and_tell(folder: Path) -> int:
    first = read_record(folder)
    second = repeat(first, runs_root() / "repeated")
    differences = compare(first, second)
    print(*differences or [f"{first.name}: the same curves and scores, bit for bit"], sep="\n")
    return int(bool(differences))


if __name__ == "__main__":
    sys.exit(main())
