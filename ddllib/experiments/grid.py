"""Experiments: many runs of one profile, each recorded and none repeated.

    python -m ddllib experiments list
    python -m ddllib experiments run table2 [--workers 2]
    python -m ddllib experiments publish table2
    python -m ddllib experiments test what-matters

An experiment is a file of ``book/experiments``: a profile, what is fixed over it, named variants
(one change each) and a grid of values; its runs are all variants times all points of the grid.
Finished runs are skipped, interrupted ones resumed, and several workers share the cores. ``test``
is for runs evaluated on held-out clips: after settings were chosen, it scores the test clips with
each, to see how well the held-out AUC predicts theirs.
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

from ddllib import checkpoints, pipeline
from ddllib.errors import DDLError
from ddllib.experiments.after_choice import score_afterwards
from ddllib.experiments.publishing import publish
from ddllib.io.commands import Parser, run_command, whole
from ddllib.io.reading import read_yaml
from ddllib.methods import method_of
from ddllib.paths import RESULTS, ROOT
from ddllib.pseudo_anomalies.held_out import PAIRED, gain
from ddllib.records import Record, read_record
from ddllib.settings import Settings, check_names, load_profile
from ddllib.training import load_run

FOLDER = ROOT / "book" / "experiments"
MAX_RUNS = 10_000  # runs of one experiment
_KEYS = {"profile", "fixed", "variants", "grid"}


@dataclass(frozen=True)
class Trial:
    """One run of an experiment: the variant it belongs to and its settings."""

    variant: str
    settings: Settings

    def record(self) -> Record | None:
        """Its record, from the runs or the published results; None where it was not run.

        A record with its name but other settings, from before its profile changed, is ignored.
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
        names = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
        raise DDLError(f"{path.name}: no such experiment; expected one of {names or 'none'}")
    content = read_yaml(path)
    if not isinstance(content, dict) or not {"profile", "grid"} <= set(content) <= _KEYS:
        raise DDLError(f"{path.name}: expected profile, grid and perhaps fixed and variants")
    fixed, grid = content.get("fixed", {}), content["grid"]
    variants = content.get("variants", {"": {}})
    _check_form(path, fixed, grid, variants)
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]

    def seed_number(point: dict) -> int:
        return grid["seed"].index(point["seed"]) if "seed" in grid else 0

    points.sort(key=seed_number)  # stable: otherwise in the file's order
    return [
        Trial(variant, load_profile(content["profile"], **{**fixed, **point, **change}))
        for _, group in itertools.groupby(points, key=seed_number)
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
    if runs > MAX_RUNS:
        raise DDLError(f"{path.name}: {runs} runs; expected at most {MAX_RUNS}; shorten the grid")


def run_trial(trial: Trial) -> Record:
    """Prepare, train and score one trial; finished steps are reused."""
    data = pipeline.prepare(trial.settings, progress=False)
    run = pipeline.train(trial.settings, data, progress=False)
    return pipeline.score(trial.settings, data, run, progress=False)


def run_all(name: str, workers: int, say: Callable[[str], None] = print) -> int:
    """Run the missing trials of an experiment, each in its own process.

    The cores are shared evenly among ``workers`` processes of one trial each. A trial that fails
    is reported and the others continue. Returns how many failed.
    """
    trials = read_experiment(name)
    missing = [index for index, trial in enumerate(trials) if trial.record() is None]
    say(f"{name}: {len(trials)} runs, {len(trials) - len(missing)} recorded")
    for settings in {_needs(trials[k].settings): trials[k].settings for k in missing}.values():
        pipeline.prepare(settings, progress=False)
    threads = max(1, (os.cpu_count() or 1) // workers)
    running: set[subprocess.Popen] = set()
    by_run: dict[Path, list[int]] = {}  # trials that share weights must not run in parallel
    for index in missing:
        by_run.setdefault(trials[index].settings.run_folder, []).append(index)

    def run_each(indices: Sequence[int]) -> int:
        return sum(_run_apart(name, index, threads, running, say) for index in indices)

    with ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(run_each, indices) for indices in by_run.values()]
        try:
            return sum(job.result() for job in jobs)
        except BaseException:  # stopped: let every run save a checkpoint
            pool.shutdown(wait=False, cancel_futures=True)
            _terminate(running, jobs)
            raise


def _needs(settings: Settings) -> tuple:
    """What is prepared for a run: runs with the same share it."""
    return settings.prepared_folder, *sorted(method_of(settings).companions(settings).values())


def _terminate(running: set[subprocess.Popen], jobs: Sequence[Future]) -> None:
    """Ask every process once to save and end, including those that are just starting."""
    terminated: set[subprocess.Popen] = set()
    while not all(job.done() for job in jobs):
        for process in set(running) - terminated:
            process.terminate()
            terminated.add(process)
        time.sleep(0.1)


def _run_apart(
    name: str, index: int, threads: int, running: set, say: Callable[[str], None]
) -> bool:
    """One trial in its own process; True if it failed."""
    command = [sys.executable, "-m", "ddllib", "experiments", "one", name, str(index)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C must reach only us: a second signal would interrupt a save
    )
    running.add(process)
    output, errors = process.communicate()
    running.discard(process)
    lines = (output if process.returncode == 0 else errors or output).splitlines()
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
    data, run = pipeline.prepare(settings, progress=False), load_run(folder)
    differing = checkpoints.differences(
        folder, settings, data, method_of(settings).precision(settings)
    )
    if differing or run.epoch < settings.epochs or record.facts["data"]["digest"] != data.digest:
        why = f"another {', '.join(differing)}" if differing else "other data, or half trained"
        raise DDLError(
            f"{folder.name}: not tested: its checkpoint is of {why}; remove both and run it"
        )
    return score_afterwards(settings, data, run, record)


def summary(record: Record) -> str:
    """One line: what was run and how it came out, in percent."""
    metrics, outcome = record.metrics or record.tests, ""
    if "held_out" in record.facts:
        verdicts = record.facts["held_out"]["median"]
        if record.judge == PAIRED:
            figures = {kind: f"{100 * gain(v):+.1f}" for kind, v in verdicts.items()}
        else:
            figures = {kind: f"{100 * v:.1f}" for kind, v in verdicts.items()}
        outcome = "held out " + ", ".join(f"{k} {v}" for k, v in figures.items())
    if metrics:
        tests = ", ".join(f"{p} {100 * m['auc']:.2f}" for p, m in metrics.items())
        outcome = f"{outcome}; test clips {tests}" if outcome else tests
    return f"{record.name}: {outcome}; {record.facts['train_seconds'] / 60:.0f} min"


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m ddllib experiments", description=__doc__)
    parser.add_argument("do", choices=["list", "run", "one", "publish", "test"])
    parser.add_argument("name", nargs="?", help="a file of book/experiments, or a path to another")
    parser.add_argument(
        "index", nargs="?", type=whole("the number of a run", least=0), help="which run, for one"
    )
    parser.add_argument(
        "--workers", type=whole("runs at a time"), default=1, help="runs at a time (default 1)"
    )
    options = parser.parse_args(arguments)
    return run_command("experiments", lambda: _do(options))


def _do(options: argparse.Namespace) -> int:
    names = [options.name] if options.name else sorted(p.stem for p in FOLDER.glob("*.yaml"))
    if options.do in ("run", "one", "test") and not options.name:
        raise DDLError(f"which experiment? one of {', '.join(names)}")
    if options.workers < 1:
        raise DDLError(f"--workers is {options.workers}; expected 1 or more")
    if options.do == "run":
        return min(run_all(options.name, options.workers), 1)
    if options.do == "one":
        trials = read_experiment(options.name)
        if not 0 <= (options.index or 0) < len(trials):
            raise DDLError(
                f"{options.name}: no run {options.index}; expected 0 to {len(trials) - 1}"
            )
        print(summary(run_trial(trials[options.index or 0])))
        return 0
    successes = [
        _report_trial(name, trial, options.do) for name in names for trial in read_experiment(name)
    ]
    return min(successes.count(False), 1)


def _report_trial(name: str, trial: Trial, do: str) -> bool:
    """Publish, test or list one trial and print the result; False on a ``DDLError``."""
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
