"""Run a record again from its footage and compare the results.

::

    python -m ddllib repeat book/results/ped2-cpu/c3dsu-ddl-seed0 [--scores]

All steps are run again in ``repeated`` of the runs' folder; a finished earlier repetition there is
renamed. With ``--scores`` nothing is trained: the weights beside the record score the footage
again, which takes about a minute. A CPU gives identical bits on the same machine with the same
versions; differences are listed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ddllib import pipeline
from ddllib.experiments.publishing import rounded
from ddllib.experiments.weights import run_of
from ddllib.io.commands import Parser, run_command
from ddllib.io.files import set_aside
from ddllib.paths import runs_root
from ddllib.records import Record, read_record
from ddllib.settings import Settings, recorded


def settings_of(record: Record) -> Settings:
    """The settings that a record was made with.

    ``start_from`` becomes an absolute path, since the repetition has another folder of runs.
    Raises ``DDLError`` where that run is not there.
    """
    settings = Settings(**recorded(record.facts["settings"]))
    start = settings.start_folder
    return replace(settings, start_from=str(start.resolve())) if start else settings


def repeat(record: Record, root: Path, progress: bool = True) -> Record:
    """Prepare, train and score again by a record's settings, all of it below ``root``.

    On a CPU the number of threads is that of the record, since the order of sums depends on it. An
    interrupted repetition is resumed; a finished one is renamed and begun again. Raises
    ``DDLError`` where the footage, or the run of ``start_from``, does not exist.
    """
    _take_threads(record)
    settings = settings_of(record)
    with _runs_in(root):
        _set_finished_aside(settings)
        data = pipeline.prepare(settings, progress)
        return pipeline.score(settings, data, pipeline.train(settings, data, progress), progress)


def score_again(record: Record, root: Path, progress: bool = True) -> Record:
    """Prepare the footage and score it by the weights beside a record, all of it below ``root``.

    Scores of test clips need no objects, so none are looked for; held-out clips are altered there.
    Raises ``DDLError`` where the footage or the weights do not exist.
    """
    _take_threads(record)
    settings = settings_of(record)
    run = run_of(settings, record.folder)
    with _runs_in(root):
        _set_finished_aside(settings)
        footage = settings if settings.held_out else replace(settings, detector="none")
        return pipeline.score(settings, pipeline.prepare(footage, progress), run, progress)


def _take_threads(record: Record) -> None:
    threads = re.match(r"cpu, (\d+) threads", record.facts["device"])
    if threads:
        torch.set_num_threads(int(threads[1]))


@contextmanager
def _runs_in(root: Path) -> Iterator[None]:
    """Runs go to ``root`` within the block, and where they went before after it."""
    previous = os.environ.get("DDL_RUNS")
    os.environ["DDL_RUNS"] = str(root)
    try:
        yield
    finally:
        if previous is None:
            del os.environ["DDL_RUNS"]
        else:
            os.environ["DDL_RUNS"] = previous


def _set_finished_aside(settings: Settings) -> None:
    """Rename the folders of a finished repetition, so that the next one does not reuse them.

    The record is renamed last, so that a stop in between still leaves it recognised as finished.
    """
    record = settings.record_folder
    if not (record / "run.json").is_file():
        return
    for folder in dict.fromkeys((settings.prepared_folder, settings.run_folder, record)):
        if folder.exists():
            set_aside(folder)


def compare(first: Record, second: Record, trained: bool = True) -> list[str]:
    """What differs between two records of one run, a line each; empty if nothing does.

    Curves are compared to the six digits that published records keep, scores by every bit. Without
    ``trained`` the second record was only scored and has no curves.
    """
    curves = _curve_difference(first, second) if trained else None
    lines = [curves, _score_difference(first, second)]
    if trained and first.facts["data"]["digest"] != second.facts["data"]["digest"]:
        lines.insert(0, "prepared data: another digest")
    differing = [line for line in lines if line]
    return [*differing, *_environment_differences(first.facts, second.facts)] if differing else []


def _curve_difference(first: Record, second: Record) -> str | None:
    a, b = (rounded(record.facts["history"]) for record in (first, second))
    steps = len(a["step"]), len(b["step"])
    if steps[0] != steps[1]:
        return f"training: {steps[0]} steps, now {steps[1]}"
    for step in range(steps[0]):
        for name in a:
            if a[name][step] != b[name][step]:
                return f"training: {name} at step {step} was {a[name][step]}, now {b[name][step]}"
    return None


def _score_difference(first: Record, second: Record) -> str | None:
    if first.scores.keys() != second.scores.keys():
        return "scores: of other clips"
    if all(np.array_equal(values, second.scores[name]) for name, values in first.scores.items()):
        return None
    aucs = [
        f"AUC ({name}) was {100 * m['auc']:.3f}, now {100 * second.auc(name):.3f} %"
        for name, m in first.metrics.items()
    ]
    return "; ".join(["scores: not the same", *aucs])


def _environment_differences(first: dict, second: dict) -> list[str]:
    """Differences of device, precision and versions between two records' facts."""
    environments = [{**f["environment"], **f["environment"]["packages"]} for f in (first, second)]
    for facts, values in zip((first, second), environments, strict=True):
        values |= {"device": facts["device"], "precision": facts["precision"]}
        del values["packages"]
    return [
        f"made with {name} {environments[0].get(name)}, now {value}"
        for name, value in environments[1].items()
        if environments[0].get(name) != value
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m ddllib repeat", description="Run a record again and compare.")
    parser.add_argument("record", type=Path, help="folder of a record")
    only = "score by the weights beside the record, without training"
    parser.add_argument("--scores", action="store_true", help=only)
    options = parser.parse_args(arguments)
    return run_command("repeat", lambda: _repeat_and_report(options.record, options.scores))


def _repeat_and_report(folder: Path, only_scores: bool) -> int:
    first, again = read_record(folder), score_again if only_scores else repeat
    second = again(first, runs_root() / "repeated")
    differences = compare(first, second, trained=not only_scores)
    same = "scores" if only_scores else "curves and scores"
    print(*differences or [f"{first.name}: the same {same}, bit for bit"], sep="\n")
    return int(bool(differences))
