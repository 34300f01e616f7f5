"""Several inputs through a model in training, each as a batch of its own.

Batch norm must not mix them. In one batch, large convolutions are quickest: weights are read, and
their gradients written, once for all. Many operations of a small model are too small for all
threads of a processor, and every one of them ends with a wait for the slowest; inputs that go side
by side wait less.

Inputs come from functions without arguments and may have any shape that the model takes, B x ....
What comes back is each with the model's output, in their order.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ddllib.norms import statistics_apart, statistics_later

Model = Callable[[Tensor], Tensor]
Make = Callable[[], Tensor]  # gives an input
Pairs = list[tuple[Tensor, Tensor]]  # each input, and what the model makes of it


def in_turn(model: Model, *inputs: Make) -> Pairs:
    """One after the other."""
    return [(x := make(), model(x)) for make in inputs]


def as_one(model: Model, *inputs: Make) -> Pairs:
    """All in one batch, kept apart by ``BatchNorm2d.rectified``.

    Where one input alone has a gradient, all have theirs computed, by the first convolution.
    Raises ``ValueError`` for inputs of several shapes.
    """
    xs = [make() for make in inputs]
    if len({x.shape for x in xs}) > 1:
        raise ValueError(f"inputs are of shapes {[tuple(x.shape) for x in xs]}; expected one shape")
    with statistics_later() as later, statistics_apart(len(xs)):
        ys = model(torch.cat(xs)).chunk(len(xs))
    for follow in later:
        follow()
    return list(zip(xs, ys, strict=True))


def side_by_side(model: Model, *inputs: Make) -> Pairs:
    """Each in a thread of its own, and so their gradients later.

    What comes back is of one graph: its backward pass goes through those of all inputs at the same
    time. Running statistics follow the inputs in their order. Contexts of the calling thread, such
    as autocast, do not reach into the model. What one raises is raised here.
    """
    pool = _threads(len(inputs), torch.get_num_threads())
    given = list(pool.map(functools.partial(_with_statistics, model), inputs))
    for _, later in given:
        for follow in later:
            follow()
    graphs = [pair for pair, _ in given]
    start = torch.zeros((), requires_grad=torch.is_grad_enabled())
    joined = iter(_Joined.apply(start, pool, graphs))
    return list(zip(joined, joined, strict=True))


def _with_statistics(model: Model, make: Make):
    with statistics_later() as later:
        x = make()
        return (x, model(x)), later


@functools.cache
def _threads(count: int, threads: int) -> ThreadPoolExecutor:
    """So many workers that share PyTorch's threads."""
    started = threading.Barrier(count)

    def begin() -> None:
        torch.get_num_threads()  # a thread's first question sets its number to the last one set
        torch.set_num_threads(max(threads // count, 1))
        started.wait()

    pool = ThreadPoolExecutor(count, "pass", begin)
    list(pool.map(lambda _: None, range(count)))
    torch.set_num_threads(threads)  # for threads that begin later
    return pool


class _Joined(torch.autograd.Function):
    """Tensors of several graphs as they are; backward, each graph by a worker of ``pool``."""

    @staticmethod
    def forward(ctx, start: Tensor, pool: ThreadPoolExecutor, graphs: Sequence[Sequence[Tensor]]):
        ctx.pool, ctx.graphs = pool, graphs
        ctx.set_materialize_grads(False)
        return tuple(value.detach() for values in graphs for value in values)

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients: Tensor):
        rest, jobs = iter(gradients), []
        for values in ctx.graphs:
            given = [(value, next(rest)) for value in values]
            pairs = [(v, dv) for v, dv in given if v.requires_grad and dv is not None]
            if pairs:
                jobs.append(ctx.pool.submit(torch.autograd.backward, *zip(*pairs, strict=True)))
        for job in jobs:
            job.result()
        return None, None, None
