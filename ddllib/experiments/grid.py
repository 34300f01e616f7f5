"""Many runs of one profile, each recorded and none repeated.

An experiment is a file of ``book/experiments``: a profile, what is fixed over it, named variants
(one change each) and a grid of values; its runs are all variants times all points of the grid.
"""

from __future__ import annotations

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

from ddllib import pipeline
from ddllib.devices import resolve_device
from ddllib.errors import DDLError
from ddllib.fast import processes
from ddllib.io.reading import read_yaml
from ddllib.methods import method_of
from ddllib.paths import RESULTS, ROOT, runs_root
from ddllib.records import Record, read_record
from ddllib.settings import Settings, check_names, load_profile

FOLDER = ROOT / "book" / "experiments"
MAX_RUNS = 10_000  # runs of one experiment
_KEYS = {"profile", "fixed", "variants", "grid"}


@dataclass(frozen=True)
class Trial:
    """One run of an experiment: the variant it belongs to and its settings."""

    variant: str
    settings: Settings

    def record(self, published_first: bool = False) -> Record | None:
        """Its record, from the runs or the published results; None where it was not run.

        ``published_first`` prefers the results, so that all trials are of the same machine.
        """
        records = self.records()
        return next(iter(reversed(records) if published_first else records), None)

    def records(self) -> list[Record]:
        """Its records: that of the runs and the published one, as far as there are any.

        A record with its name but other settings, from before its profile changed, is ignored.
        """
        name = self.settings.record_folder.name
        folders = [self.settings.record_folder, RESULTS / self.settings.profile / name]
        records = [read_record(f) for f in folders if (f / "run.json").is_file()]
        return [record for record in records if record.made_by(self.settings)]


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


def run_trial(trial: Trial) -> Record | None:
    """Prepare, train and score one trial; finished steps are reused.

    Of the processes that torchrun has started the first scores; the others return None.
    """
    settings = trial.settings
    with processes.joined(resolve_device(settings.device), settings.batch_size):
        with processes.in_turn():
            data = pipeline.prepare(settings, progress=False)
        run = pipeline.train(settings, data, progress=False)
        if not processes.is_first():
            return None
        return pipeline.score(settings, data, run, progress=False)


def run_all(name: str, workers: int, say: Callable[[str], None] = print) -> int:
    """Run the missing trials of an experiment, each in its own process.

    The cores are shared evenly among ``workers`` processes of one trial each. A trial that fails
    is reported and the others continue. Returns how many failed.
    """
    trials = read_experiment(name)
    missing = [index for index, trial in enumerate(trials) if trial.record() is None]
    say(f"{name}: {len(trials)} runs, {len(trials) - len(missing)} recorded")
    needed = {what_is_prepared(trials[k].settings): trials[k].settings for k in missing}
    for settings in needed.values():
        pipeline.prepare(settings, progress=False)
    threads = max(1, (os.cpu_count() or 1) // workers)
    running: set[subprocess.Popen] = set()
    by_run: dict[Path, list[int]] = {}  # trials that share weights must not run in parallel
    for index in missing:
        by_run.setdefault(first_run(trials, trials[index].settings), []).append(index)

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


def what_is_prepared(settings: Settings) -> tuple[str, ...]:
    """What ``pipeline.prepare`` makes for a run, as names; runs with the same share it."""
    method = method_of(settings)
    beside = {*method.companions(settings).values()}
    if settings.held_out:
        beside.add(str(pipeline.judged_by(settings).prepared_folder))
    else:
        beside |= {f"testing {n}" for n in method.scoring_companions(settings).values()}
    return str(settings.prepared_folder), *sorted(beside)


def first_run(trials: Sequence[Trial], settings: Settings) -> Path:
    """The folder of the run that trains first: its own, or that of the trial it starts from."""
    by_folder = {trial.settings.run_folder: trial.settings for trial in trials}
    start = settings.start_from and by_folder.get(runs_root() / settings.start_from)
    return first_run(trials, start) if start else settings.run_folder


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
