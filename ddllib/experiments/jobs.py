"""The runs of an experiment as jobs of a workflow engine (``book/experiments/Snakefile``).

A job leaves a stamp, an empty file in ``<runs>/jobs``, and no engine knows of any other file: an
engine removes what a failed job has declared, and checkpoints and records must survive that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from ddllib.experiments.grid import first_run, read_experiment, what_is_prepared
from ddllib.paths import ROOT, runs_root
from ddllib.settings import Settings


def jobs(name: str) -> dict:
    """The jobs of an experiment, ready for JSON.

    ``prepare`` has one for each prepared folder that is needed, ``run`` one for each run without a
    record. Each has its ``stamp``, the ``index`` of a run for ``experiments prepare`` or
    ``experiments one``, and a run the stamps that it waits for in ``after``: its preparation, and
    the run before it that trains in the same folder or that it starts from. Stamps of runs whose
    records are gone are removed, so that these are run again.
    """
    folder = runs_root() / "jobs"
    stamps = {path.name for path in folder.glob("*.done")}  # before records: a run leaves it last
    preparations: dict[str, dict] = {}
    runs, last = [], {}
    trials = read_experiment(name)
    for index, trial in enumerate(trials):
        if trial.record() is not None:
            continue
        settings = trial.settings
        preparation = stamp("prepare", what_is_prepared(settings))
        preparations.setdefault(preparation, {"stamp": preparation, "index": index})
        own = stamp("run", (str(settings.record_folder), _text(settings)))
        if own in stamps:
            (folder / own).unlink(missing_ok=True)
        folder_of_weights = first_run(trials, settings)
        before = last.get(folder_of_weights)
        last[folder_of_weights] = own
        after = [preparation, *([before] if before else [])]
        runs.append({"stamp": own, "index": index, "after": after})
    places = {"root": str(ROOT), "folder": str(folder)}
    return {**places, "prepare": list(preparations.values()), "run": runs}


def stamp(kind: str, parts: Iterable[str]) -> str:
    """The name of a job's stamp, by all that its result depends on."""
    digest = hashlib.sha256("\n".join(parts).encode())
    return f"{kind}-{digest.hexdigest()[:16]}.done"


def _text(settings: Settings) -> str:
    return json.dumps({name: str(value) for name, value in vars(settings).items()}, sort_keys=True)
