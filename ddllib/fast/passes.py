"""Ways to pass several inputs through a model in training, each as a batch of its own.

Batch norm must not mix them. Large convolutions are fastest with one joint batch: weights are read
and their gradients written once. Many operations of a small model are too small for all threads of
a CPU and wait for the slowest one; passes in parallel threads wait less.

Inputs are created by functions without arguments and may have any shape that the model takes.
All ways return each input with the model's output, in the order of the inputs.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ddllib.fast import processes
from ddllib.fast.batch_norm import has_kernels, statistics_apart, statistics_later

Model = Callable[[Tensor], Tensor]
MakeInput = Callable[[], Tensor]  # creates an input
Pairs = list[tuple[Tensor, Tensor]]  # each input with the model's output


def quickest_way(device: torch.device, compiled: bool, small: bool) -> Callable[..., Pairs]:
    """The fastest of the ways below for this device; all give the same results.

    A compiled model must run in one thread, and only our own kernels separate the statistics of
    one batch at no cost. ``small`` says that the model's operations are too small for all threads.
    Several processes divide a batch, so each pass needs one of its own.
    """
    if device.type != "cpu" or compiled or not processes.is_alone():
        return in_turn
    if small and torch.get_num_threads() > 1 and torch.is_grad_enabled():
        return side_by_side
    return as_one if has_kernels() else in_turn


def in_turn(model: Model, *inputs: MakeInput) -> Pairs:
    """One after the other."""
    return [(x := make(), model(x)) for make in inputs]


def as_one(model: Model, *inputs: MakeInput) -> Pairs:
    """All in one batch, whose statistics ``BatchNorm2d.rectified`` keeps separate.

    If one input needs a gradient, the first convolution computes those of all inputs.
    Raises ``ValueError`` for inputs of several shapes.
    """
    xs = [make() for make in inputs]
    if len({x.shape for x in xs}) > 1:
        raise ValueError(f"inputs are of shapes {[tuple(x.shape) for x in xs]}; expected one shape")
    with statistics_later() as updates, statistics_apart(len(xs)):
        ys = model(torch.cat(xs)).chunk(len(xs))
    for update in updates:
        update()
    return list(zip(xs, ys, strict=True))


def side_by_side(model: Model, *inputs: MakeInput) -> Pairs:
    """Each in its own thread, forward and backward.

    The results belong to one graph, whose backward pass runs the graphs of all inputs in parallel.
    Running statistics are updated in the order of the inputs. Contexts of the calling thread, such
    as autocast, do not apply in the model. An exception of a thread is raised here.
    """
    pool = _threads(len(inputs), torch.get_num_threads())
    results = list(pool.map(functools.partial(_with_statistics, model), inputs))
    for _, updates in results:
        for update in updates:
            update()
    graphs = [pair for pair, _ in results]
    start = torch.zeros((), requires_grad=torch.is_grad_enabled())
    outputs = iter(_Joined.apply(start, pool, graphs))
    return list(zip(outputs, outputs, strict=True))


def _with_statistics(model: Model, make: MakeInput):
    with statistics_later() as updates:
        x = make()
        return (x, model(x)), updates


@functools.cache
def _threads(count: int, threads: int) -> ThreadPoolExecutor:
    """A pool of ``count`` workers that share PyTorch's threads."""
    barrier = threading.Barrier(count)

    def begin() -> None:
        torch.get_num_threads()  # the first call in a thread resets its number
        torch.set_num_threads(max(threads // count, 1))
        barrier.wait()

    pool = ThreadPoolExecutor(count, "pass", begin)
    list(pool.map(lambda _: None, range(count)))
    torch.set_num_threads(threads)  # for threads that begin later
    return pool


class _Joined(torch.autograd.Function):
    """Identity on tensors of several graphs; backward runs each graph in a worker of ``pool``."""

    @staticmethod
    def forward(ctx, start: Tensor, pool: ThreadPoolExecutor, graphs: Sequence[Sequence[Tensor]]):
        ctx.pool, ctx.graphs = pool, graphs
        ctx.set_materialize_grads(False)
        return tuple(value.detach() for values in graphs for value in values)

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients: Tensor):
        remaining, jobs = iter(gradients), []
        for values in ctx.graphs:
            value_gradients = [(value, next(remaining)) for value in values]
            pairs = [(v, dv) for v, dv in value_gradients if v.requires_grad and dv is not None]
            if pairs:
                jobs.append(ctx.pool.submit(torch.autograd.backward, *zip(*pairs, strict=True)))
        for job in jobs:
            job.result()
        return None, None, None
