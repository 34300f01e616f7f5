"""What each process does in the tests of several processes; torchrun starts it.

    torchrun --nproc-per-node 2 tests/support/together.py PREPARED FOLDER

PREPARED is a folder of prepared data. FOLDER holds ``cases.json``: for each name the settings,
whether to stop, and whether gradients are compared. Each process leaves its results in
FOLDER/<name>-<number of the process>.pt.
"""

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ddllib import DDLError, fit, training
from ddllib.data import Prepared, load_prepared
from ddllib.fast import batch_norm, processes
from ddllib.fast.divided import divide
from ddllib.methods import method_of
from ddllib.settings import Settings

STOP_AFTER = 3  # steps


def train(settings: Settings, data: Prepared, folder: Path | None, stopping: bool = False) -> dict:
    """The curves of a run and its steps now.

    With ``stopping`` the last process, and it alone, is asked to stop; the exit status follows.
    """
    step, results = training.train_step, []
    result: dict = {"status": 0}

    def counted(*args):
        results.append(step(*args))
        is_last = processes.number() == processes.count() - 1
        if stopping and len(results) == STOP_AFTER and is_last:
            os.kill(os.getpid(), signal.SIGTERM)
        return results[-1]

    training.train_step = counted
    try:
        result["history"] = fit(settings, data, folder, progress=False).history
    except SystemExit as error:
        result["status"] = error.code
    finally:
        training.train_step = step
    return {**result, "steps": len(results)}


def gradients(settings: Settings, data: Prepared) -> dict[str, Tensor]:
    """The gradients of a first step by parameter, on a batch of the first windows.

    DDL computes in float64, where rounding turns no rectifier on or off; STPA cannot.
    """
    dtype = torch.float64 if settings.method == "ddl" else torch.float32
    run, method = training.new_run(settings), method_of(settings)
    run.train()
    for model in run.models.values():
        model.to(dtype)
    optimiser = training.new_optimiser(run)
    divide(run.quick, method.divided)
    windows, rng = training.training_windows(settings, data), torch.Generator().manual_seed(0)
    numbers = torch.arange(settings.batch_size)
    sample = windows.sample(numbers, windows.draw(numbers, rng))
    method.loss(run, replace(sample, x=sample.x.to(dtype)), rng)["total"].backward()
    processes.average_gradients(optimiser)
    return {
        f"{model}.{name}": parameter.grad
        for model, module in run.models.items()
        for name, parameter in module.named_parameters()
        if parameter.grad is not None
    }


def fail_first() -> None:
    """The first process fails at what the others wait for."""
    with processes.in_turn():
        raise DDLError("no footage")


def main(prepared: Path, folder: Path) -> None:
    data = load_prepared(prepared)
    batch_norm._kernels = lambda: None  # our own kernels take seconds to load
    with processes.joined(torch.device("cpu"), batch_size=10):
        for name, case in json.loads((folder / "cases.json").read_text()).items():
            settings = Settings(**case["settings"])
            result = train(settings, data, folder / name, case["stop"])
            if case["compare"]:
                result["gradients"] = gradients(settings, data)
            torch.save(result, folder / f"{name}-{processes.number()}.pt")
        print("the first process prints")
        try:
            fail_first()
        except BaseException as error:
            torch.save(repr(error), folder / f"failure-{processes.number()}.pt")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
