"""Experiments: many runs of one profile, each recorded, none done twice.

    python -m ddllib.experiments list
    python -m ddllib.experiments run table2 [--workers 2]
    python -m ddllib.experiments publish table2
    python -m ddllib.experiments test what-matters

An experiment is a file of ``book/experiments``: a profile, what is fixed over it, named variants
(one change each) and a grid of values; its runs are all variants times all points of the grid.
Finished runs are skipped, interrupted ones go on, and several workers share the cores. ``test`` is
for runs that were judged by held-out clips: once the choice is made, it scores the test clips with
each, to see how well the held-out AUC foretold theirs.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ddllib import checkpoints, road
from ddllib.commands import run_command
from ddllib.errors import DDLError
from ddllib.reading import read_yaml
from ddllib.records import Record, publish, read_record
from ddllib.settings import RESULTS, ROOT, Settings, check_names, load_profile
from ddllib.training import load_run

FOLDER = ROOT / "book" / "experiments"
MOST = 10_000  # runs of one experiment
_KEYS = {"profile", "fixed", "variants", "grid"}


@dataclass(frozen=True)
class Trial:
    """One run of an experiment: the variant it belongs to and its settings."""

    variant: str
    settings: Settings

    def record(self) -> Record | None:
        """Its record, from the runs or from what is published; None where it was not run.

        A record under its name but of other values, from before its profile changed, is not its.
        """
        name = self.settings.record_folder.name
        for folder in (self.settings.record_folder, RESULTS / self.settings.profile / name):
            if (folder / "run.json").is_file():
                record = read_record(folder)
                if record.made_by(self.settings):
                    return record
        return None


def read_experiment(name: str, folder: Path = FOLDER) -> list[Trial]:
    """The trials of ``<folder>/<name>.yaml``, the first seed of all before the second of any.

    A name that ends in ``.yaml`` is a path. Raises ``DDLError`` for a file that is not there or
    holds unknown names.
    """
    path = Path(name) if name.endswith(".yaml") else folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
        raise DDLError(f"{path.name}: no such experiment; expected one of {known or 'none'}")
    content = read_yaml(path)
    if not isinstance(content, dict) or not {"profile", "grid"} <= set(content) <= _KEYS:
        raise DDLError(f"{path.name}: expected profile, grid and perhaps fixed and variants")
    fixed, grid = content.get("fixed", {}), content["grid"]
    variants = content.get("variants", {"": {}})
    _check_form(path, fixed, grid, variants)
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]

    def turn(point: dict) -> int:
        return grid["seed"].index(point["seed"]) if "seed" in grid else 0

    points.sort(key=turn)  # stable: else in the file's order
    return [
        Trial(variant, load_profile(content["profile"], **{**fixed, **point, **change}))
        for _, group in itertools.groupby(points, key=turn)
        for (variant, change), point in itertools.product(variants.items(), list(group))
    ]


def _check_form(path: Path, fixed, grid, variants) -> None:
    """Raise ``DDLError`` unless the parts of an experiment hold names, lists and values."""
    if not isinstance(variants, dict) or not variants:
        raise DDLError(f"{path.name}: variants: expected one `name: {{parameter: value}}` a line")
    for part, values in {"fixed": fixed, "grid": grid, **variants}.items():
        if not isinstance(values, dict):
            raise DDLError(f"{path.name}: {part}: expected one `parameter: value` a line")
        check_names(values, path.name)
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            raise DDLError(f"{path.name}: grid: {name}: expected a list of values, such as [0, 1]")
    runs = math.prod(map(len, grid.values())) * len(variants)
    if runs > MOST:
        raise DDLError(f"{path.name}: {runs} runs; expected at most {MOST}; shorten the grid")


def run_trial(trial: Trial) -> Record:
    """Prepare, train and score one trial; what is finished of it is reused."""
    data = road.prepare(trial.settings, progress=False)
    run = road.train(trial.settings, data, progress=False)
    return road.score(trial.settings, data, run, progress=False)


def run_all(name: str, workers: int, say: Callable[[str], None] = print) -> int:
    """Run what is missing of an experiment, each trial in a process of its own.

    The cores are shared evenly among ``workers`` processes of one trial each. A trial that fails
    is told and does not keep the others from running. Returns how many failed.
    """
    trials = read_experiment(name)
    missing = [index for index, trial in enumerate(trials) if trial.record() is None]
    say(f"{name}: {len(trials)} runs, {len(trials) - len(missing)} recorded")
    for trial in {t.settings.prepared_folder: t for t in map(trials.__getitem__, missing)}.values():
        road.prepare(trial.settings, progress=False)
    threads = max(1, (os.cpu_count() or 1) // workers)
    running: set[subprocess.Popen] = set()
    by_run: dict[Path, list[int]] = {}  # trials that score the same weights follow one another
    for index in missing:
        by_run.setdefault(trials[index].settings.run_folder, []).append(index)

    def run_each(indices: Sequence[int]) -> int:
        return sum(_run_apart(name, index, threads, running, say) for index in indices)

    with ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(run_each, indices) for indices in by_run.values()]
        try:
            return sum(job.result() for job in jobs)
        except BaseException:  # stopped: every run saves where it is
            pool.shutdown(wait=False, cancel_futures=True)
            _terminate(running, jobs)
            raise


def _terminate(running: set[subprocess.Popen], jobs: Sequence[Future]) -> None:
    """Ask every process to save and end, once, those too that are just being started."""
    asked: set[subprocess.Popen] = set()
    while not all(job.done() for job in jobs):
        for process in set(running) - asked:
            process.terminate()
            asked.add(process)
        time.sleep(0.1)


def _run_apart(
    name: str, index: int, threads: int, running: set, say: Callable[[str], None]
) -> bool:
    """One trial in its own process; True if it failed."""
    command = [sys.executable, "-m", "ddllib.experiments", "one", name, str(index)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for us, and we ask each once; twice breaks off
    )
    running.add(process)
    printed, faults = process.communicate()
    running.discard(process)
    lines = (printed if process.returncode == 0 else faults or printed).splitlines()
    say(lines[-1] if lines else f"{name} {index}: ended with status {process.returncode}")
    return process.returncode != 0


def tested(trial: Trial) -> Record:
    """The record of a held-out run with its test clips scored too.

    Raises ``DDLError`` where the run was not judged by held-out clips, or is no longer here.
    """
    record, settings, folder = trial.record(), trial.settings, trial.settings.run_folder
    if record is None or not settings.held_out:
        raise DDLError(f"{folder.name}: not tested: no run judged by held-out clips")
    if record.tests:
        return record
    if record.folder != settings.record_folder or not checkpoints.exists(folder):
        raise DDLError(
            f"{folder.name}: not tested: its checkpoint is not here; remove its record and run it"
        )
    data, run = road.prepare(settings, progress=False), load_run(folder)
    differing = checkpoints.differences(folder, settings, data)
    if differing or run.epoch < settings.epochs or record.facts["data"]["digest"] != data.digest:
        why = f"another {', '.join(differing)}" if differing else "other data, or half trained"
        raise DDLError(
            f"{folder.name}: not tested: its checkpoint is of {why}; remove both and run it"
        )
    return road.score_afterwards(settings, data, run, record)


def summary(record: Record) -> str:
    """One line: what was run and how it came out, in percent."""
    metrics, outcome = record.metrics or record.tests, ""
    if "held_out" in record.facts:
        aucs = record.facts["held_out"]["median"]
        outcome = "held out " + ", ".join(f"{k} {100 * v:.1f}" for k, v in aucs.items())
    if metrics:
        tests = ", ".join(f"{p} {100 * m['auc']:.2f}" for p, m in metrics.items())
        outcome = f"{outcome}; test clips {tests}" if outcome else tests
    return f"{record.name}: {outcome}; {record.facts['train_seconds'] / 60:.0f} min"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ddllib.experiments", description=__doc__)
    parser.add_argument("do", choices=["list", "run", "one", "publish", "test"])
    parser.add_argument("name", nargs="?", help="a file of book/experiments, or a path to another")
    parser.add_argument("index", nargs="?", type=int, help="which run, for one")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time (default 1)")
    given = parser.parse_args(arguments)
    return run_command("experiments", lambda: _do(given))


def _do(given: argparse.Namespace) -> int:
    names = [given.name] if given.name else sorted(p.stem for p in FOLDER.glob("*.yaml"))
    if given.do in ("run", "one", "test") and not given.name:
        raise DDLError(f"which experiment? one of {', '.join(names)}")
    if given.workers < 1:
        raise DDLError(f"--workers is {given.workers}; expected 1 or more")
    if given.do == "run":
        return min(run_all(given.name, given.workers), 1)
    if given.do == "one":
        trials = read_experiment(given.name)
        if not 0 <= (given.index or 0) < len(trials):
            raise DDLError(f"{given.name}: no run {given.index}; expected 0 to {len(trials) - 1}")
        print(summary(run_trial(trials[given.index or 0])))
        return 0
    told = [_told(name, trial, given.do) for name in names for trial in read_experiment(name)]
    return min(told.count(False), 1)


def _told(name: str, trial: Trial, do: str) -> bool:
    """Publish, test or only tell one trial; False where it was refused."""
    try:
        record = tested(trial) if do == "test" else trial.record()
    except DDLError as error:
        print(error, file=sys.stderr)
        return False
    if record and do == "publish":
        record = publish(record)
    state = summary(record) if record else f"{trial.settings.record_folder.name}: not run"
    print(f"{name}, {trial.variant}: {state}" if trial.variant else f"{name}: {state}")
    return True


if __name__ == "__main__":
    sys.exit(main())
