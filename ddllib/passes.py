"""Passes through a model side by side, each on its share of a processor's threads.

Many operations of a small model are too small for all threads of a processor, and every one of
them ends with a wait for the slowest. Two passes that know nothing of one another wait less.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ddllib.norms import statistics_later

Work = Callable[[], tuple[Tensor, ...]]


def in_turn(*works: Work) -> list[tuple[Tensor, ...]]:
    """What each piece of work gives, one after the other."""
    return [work() for work in works]


def side_by_side(*works: Work) -> list[tuple[Tensor, ...]]:
    """The same, each in a thread of its own, and so their gradients later.

    What comes back is of one graph: its backward pass goes through those of all works at the same
    time. Running statistics follow the works in their order. Contexts of the calling thread,
    such as autocast, do not reach into a work. What one raises is raised here.
    """
    pool = _threads(len(works), torch.get_num_threads())
    given = list(pool.map(_with_statistics, works))
    for _, later in given:
        for follow in later:
            follow()
    graphs = [values for values, _ in given]
    start = torch.zeros((), requires_grad=torch.is_grad_enabled())
    joined = iter(_Joined.apply(start, pool, graphs))
    return [tuple(next(joined) for _ in values) for values in graphs]


def _with_statistics(work: Work):
    with statistics_later() as later:
        return work(), later


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
        return tuple(value.detach() for values in graphs for value in values)

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients: Tensor):
        rest, jobs = iter(gradients), []
        for values in ctx.graphs:
            pairs = [pair for pair in zip(values, rest) if pair[0].requires_grad]  # noqa: B905
            jobs.append(ctx.pool.submit(torch.autograd.backward, *zip(*pairs, strict=True)))
        for job in jobs:
            job.result()
        return None, None, None
