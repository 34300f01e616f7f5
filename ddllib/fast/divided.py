"""Passes through a model that several processes divide: each passes its share of the batch.

The output is that of the whole batch, in every process, so losses need not know of processes.
Backward, each process has gradients of its share, times the number of processes; their mean over
the processes (``processes.average_gradients``) is the gradient of the whole batch. What is computed
outside of these passes is the same in all processes, and so is its mean.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from ddllib.errors import DDLError
from ddllib.fast import processes
from ddllib.fast.batch_norm import BatchNorm2d


def divide(models: Mapping[str, nn.Module], names: Iterable[str]) -> None:
    """Divide training passes of the models' modules of these names, such as ``model.encoder``.

    Each takes a batch B x ... and gives one. A batch that cannot be divided evenly, as an epoch's
    last, is passed whole by every process. Alone, nothing changes. Raises ``DDLError`` for a batch
    norm that keeps no mean and variance.
    """
    if processes.is_alone():
        return
    for name in names:
        model, _, path = name.partition(".")
        _divide(models[model].get_submodule(path))


def _divide(module: nn.Module) -> None:
    pass_whole, pass_share = module.forward, _with_common_norms(module)

    def forward(x: Tensor) -> Tensor:
        is_even = len(x) % processes.count() == 0
        if not (module.training and torch.is_grad_enabled() and is_even):
            return pass_whole(x)
        return _Joined.apply(pass_share(_Share.apply(x)))

    module.forward = forward


def _with_common_norms(module: nn.Module) -> nn.Module:
    """A twin in training that shares parameters and buffers, with batch norms of all processes."""
    twin = copy.copy(module)
    children = module._modules.items()
    twin._modules = {name: child and _with_common_norms(child) for name, child in children}
    twin.training = True
    if isinstance(twin, _BatchNorm):
        if any(part is None for part in (twin.weight, twin.running_mean, twin.momentum)):
            raise DDLError(
                "a batch norm without weight, running mean or momentum; expected one with all for "
                "several processes; train in one process"
            )
        twin.__class__ = CommonBatchNorm
    return twin


class CommonBatchNorm(BatchNorm2d):
    """Batch norm in training by mean and variance over the shares of all processes."""

    def forward(self, x: Tensor, offset: Tensor | None = None) -> Tensor:
        """The norm of a share, B x C x ...; an ``offset`` is skipped as in ``BatchNorm2d``."""
        axes, shape = [0, *range(2, x.dim())], [1, -1, *[1] * (x.dim() - 2)]
        wide = x.to(self.weight.dtype)
        mean = _Mean.apply(wide.mean(axes))
        centred = wide - mean.view(shape)
        variance = _Mean.apply(centred.square().mean(axes))
        scale = self.weight * (variance + self.eps).rsqrt()
        pixels = processes.count() * x.numel() // x.shape[1]
        self._update(mean.detach(), variance.detach(), pixels, offset)
        return (centred * scale.view(shape) + self.bias.view(shape)).to(x.dtype)

    def _uses_kernels(self, x: Tensor, pieces: int) -> bool:
        return False


class _Share(torch.autograd.Function):
    """This process's share of a batch that all processes have."""

    @staticmethod
    def forward(ctx, batch: Tensor) -> Tensor:
        return batch.chunk(processes.count())[processes.number()].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> Tensor:
        return processes.gathered(gradient) / processes.count()


class _Joined(torch.autograd.Function):
    """The whole batch from the shares of all processes."""

    @staticmethod
    def forward(ctx, share: Tensor) -> Tensor:
        return processes.gathered(share)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient.chunk(processes.count())[processes.number()] * processes.count()


class _Mean(torch.autograd.Function):
    """The mean over the processes."""

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        mean = values.clone()
        processes.average(mean)
        return mean

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _Mean.forward(ctx, gradient)
