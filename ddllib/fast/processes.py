"""One training run on several processes, which torchrun starts: a GPU for each.

Every process draws every batch whole and computes its loss; only the passes through the models are
divided (``ddllib.fast.divided``). Only the first process prints, saves and scores. In a process
that is alone the functions here change nothing.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator

import torch
import torch.distributed as group
from torch import Tensor

from ddllib.errors import DDLError

PATIENCE = datetime.timedelta(days=2)  # the first prepares footage while the others wait


def is_alone() -> bool:
    """Whether this process trains without others."""
    return not (group.is_available() and group.is_initialized())


def count() -> int:
    """The number of processes that train this run."""
    return 1 if is_alone() else group.get_world_size()


def number() -> int:
    """The number of this process, from 0."""
    return 0 if is_alone() else group.get_rank()


def is_first() -> bool:
    """Whether this process is the one that prints, saves and scores."""
    return number() == 0


def started_together() -> int:
    """The number of processes that torchrun has started together with this one, itself counted."""
    by_torchrun = group.is_available() and group.is_torchelastic_launched()
    return int(os.environ["WORLD_SIZE"]) if by_torchrun else 1


@contextlib.contextmanager
def joined(device: torch.device, batch_size: int) -> Iterator[None]:
    """Within it, the processes that torchrun has started train one run.

    ``device`` and ``batch_size`` are those of the run. Raises ``DDLError`` where a batch
    cannot be divided evenly, or a GPU would have to take two processes; the other processes end
    without a message.
    """
    processes = started_together()
    if processes == 1:
        yield
        return
    fault = _fault(device, batch_size, processes)
    if fault and os.environ["RANK"] != "0":
        raise SystemExit(1)
    if fault:
        raise DDLError(fault)
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    group.init_process_group(timeout=PATIENCE)
    try:
        with open(os.devnull, "w") as nowhere, contextlib.ExitStack() as stack:
            if not is_first():
                stack.enter_context(contextlib.redirect_stdout(nowhere))
            yield
    finally:
        group.destroy_process_group()


def _fault(device: torch.device, batch_size: int, processes: int) -> str | None:
    if batch_size % processes:
        return (
            f"batch_size is {batch_size}, for {processes} processes; expected a multiple of "
            f"{processes}; set batch_size or --nproc-per-node"
        )
    here = int(os.environ["LOCAL_WORLD_SIZE"])
    if device.type == "cuda" and here > torch.cuda.device_count():
        return (
            f"{here} processes for {torch.cuda.device_count()} GPUs of this machine; expected a "
            "GPU for each; lower --nproc-per-node"
        )
    return None


@contextlib.contextmanager
def in_turn() -> Iterator[None]:
    """The first process does the block; then the others do it, and find its work done.

    They end where it fails for the first.
    """
    if is_first():
        try:
            yield
        except BaseException:
            highest(1)
            raise
        highest(0)
    elif highest(0):
        raise SystemExit(1)
    else:
        yield


def wait() -> None:
    """Go on when all processes are here."""
    highest(0)


def highest(value: int) -> int:
    """The highest of the whole numbers that the processes give."""
    if is_alone():
        return value
    values = torch.tensor(value)
    with _others_needed():
        group.all_reduce(values, group.ReduceOp.MAX)
    return int(values)


def average(values: Tensor) -> None:
    """Replace ``values`` by the mean of what the processes give."""
    if not is_alone():
        with _others_needed():
            group.all_reduce(values)
        values /= count()


def gathered(batch: Tensor) -> Tensor:
    """The batches of all processes one after the other; all have one shape, B x ..."""
    batch = batch.contiguous()
    parts = [torch.empty_like(batch) for _ in range(count())]
    with _others_needed():
        group.all_gather(parts, batch)
    return torch.cat(parts)


def average_gradients(optimiser: torch.optim.Optimizer) -> None:
    """Give all processes the mean gradients, so that their weights stay the same."""
    if is_alone():
        return
    for parameters in optimiser.param_groups:
        for parameter in parameters["params"]:
            if parameter.grad is not None:
                average(parameter.grad)


@contextlib.contextmanager
def _others_needed() -> Iterator[None]:
    """End in one line where another process has ended, which has told why."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise DDLError(f"another process of this run has ended ({reason}); run again") from None
