"""Experiments: many runs of one profile, each recorded and none repeated.

    python -m ddllib experiments list
    python -m ddllib experiments run table2 [--workers 2]
    python -m ddllib experiments publish table2
    python -m ddllib experiments test what-matters

Finished runs are skipped, interrupted ones resumed, and several workers share the cores. ``test``
is for runs evaluated on held-out clips: after settings were chosen, it scores the test clips with
each, to see how well the held-out AUC predicts theirs. ``jobs``, ``prepare`` and ``one`` are for
several machines (``book/experiments/Snakefile``).
"""

from __future__ import annotations

import argparse
import json
import sys

from ddllib import checkpoints, pipeline
from ddllib.errors import DDLError
from ddllib.experiments.after_choice import score_afterwards
from ddllib.experiments.grid import FOLDER, Trial, read_experiment, run_all, run_trial
from ddllib.experiments.jobs import jobs
from ddllib.experiments.publishing import publish
from ddllib.fast import processes
from ddllib.io.commands import Parser, run_command, whole
from ddllib.methods import method_of
from ddllib.pseudo_anomalies.held_out import PAIRED, gain
from ddllib.records import Record
from ddllib.training import load_run

OF_ONE = ("run", "one", "prepare", "jobs", "test")  # these need the name of an experiment


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
    parser.add_argument("do", choices=["list", *OF_ONE, "publish"])
    parser.add_argument("name", nargs="?", help="a file of book/experiments, or a path to another")
    parser.add_argument(
        "index", nargs="?", type=whole("the number of a run", least=0), help="for one, prepare"
    )
    parser.add_argument(
        "--workers", type=whole("runs at a time"), default=1, help="runs at a time (default 1)"
    )
    beside = "publish: put the weights beside each record, too"
    parser.add_argument("--weights", action="store_true", help=beside)
    options = parser.parse_args(arguments)
    return run_command("experiments", lambda: _do(options))


def _do(options: argparse.Namespace) -> int:
    names = [options.name] if options.name else sorted(p.stem for p in FOLDER.glob("*.yaml"))
    if options.do in OF_ONE and not options.name:
        raise DDLError(f"which experiment? one of {', '.join(names)}")
    if options.workers < 1:
        raise DDLError(f"--workers is {options.workers}; expected 1 or more")
    if options.do != "one" and processes.started_together() > 1:
        raise DDLError("torchrun is for one run: experiments one NAME INDEX")
    if options.do == "run":
        return min(run_all(options.name, options.workers), 1)
    if options.do == "jobs":
        print(json.dumps(jobs(options.name), indent=1))
        return 0
    if options.do in ("one", "prepare"):
        trial = _trial(options.name, options.index or 0)
        if options.do == "one":
            record = run_trial(trial)
            if record:
                print(summary(record))
        else:
            print(f"{pipeline.prepare(trial.settings, progress=False).folder}: prepared")
        return 0
    successes = [
        _report_trial(name, trial, options.do, options.weights)
        for name in names
        for trial in read_experiment(name)
    ]
    return min(successes.count(False), 1)


def _trial(name: str, index: int) -> Trial:
    trials = read_experiment(name)
    if not 0 <= index < len(trials):
        raise DDLError(f"{name}: no run {index}; expected 0 to {len(trials) - 1}")
    return trials[index]


def _report_trial(name: str, trial: Trial, do: str, weights: bool) -> bool:
    """Publish, test or list one trial and print the result; False on a ``DDLError``."""
    try:
        record = tested(trial) if do == "test" else trial.record()
        if record and do == "publish":
            record = publish(record, weights)
    except DDLError as error:
        print(error, file=sys.stderr)
        return False
    state = summary(record) if record else f"{trial.settings.record_folder.name}: not run"
    print(f"{name}, {trial.variant}: {state}" if trial.variant else f"{name}: {state}")
    return True
