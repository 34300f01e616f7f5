"""Devices and the precision that they compute in."""

from __future__ import annotations

import contextlib
import functools
import os

import torch
from torch import nn

from ddllib.errors import DDLError
from ddllib.fast import processes

# By default cuDNN rounds float32 products to 10 bits (TF32), which makes results on a GPU differ
# from those on a CPU. For speed there is bfloat16.
torch.backends.cudnn.allow_tf32 = False

PRECISIONS = ("float32", "bfloat16")

# Units of a processor that multiply bfloat16, and the function of torch.cpu that detects each.
_BFLOAT16_UNITS = {
    "matrix unit": "_is_amx_tile_supported",
    "vector unit": "_is_avx512_bf16_supported",
}


def device_of(model: nn.Module) -> torch.device:
    """Where a model's weights are; the CPU for a model without any."""
    return next((weight.device for weight in model.parameters()), torch.device("cpu"))


def resolve_device(name: str) -> torch.device:
    """``auto`` is a GPU where there is one; ``cuda`` without a GPU raises ``DDLError``."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise DDLError(f"device is {name!r}; expected cpu, cuda or auto")
    if name == "cuda" and not torch.cuda.is_available():
        raise DDLError("device is 'cuda' but no GPU is found; set device to cpu or auto")
    return torch.device(name)


def resolve_precision(name: str, device: torch.device) -> str:
    """``auto`` is bfloat16 where the device multiplies matrices in it faster, else float32.

    ``$DDL_PRECISION`` replaces ``auto`` on any device, so that machines compute alike.
    """
    if name != "auto":
        return name
    value = os.environ.get("DDL_PRECISION")
    if value:
        if value not in PRECISIONS:
            raise DDLError(f"DDL_PRECISION is {value!r}; expected one of {', '.join(PRECISIONS)}")
        return value
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if bfloat16_unit() else "float32"


def bfloat16_unit() -> str | None:
    """What multiplies bfloat16 in this processor: ``matrix unit``, ``vector unit``, or None."""
    for unit, function in _BFLOAT16_UNITS.items():
        if getattr(torch.cpu, function, lambda: False)():
            return unit
    return None


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """A context that computes convolutions in ``precision``; weights stay float32."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def searched_kernels(precision: str) -> contextlib.AbstractContextManager:
    """Let cuDNN time its kernels for each new shape and keep the fastest.

    Without the search it picks kernels that do not use the matrix units for some large bfloat16
    shapes, many times slower. The search takes time, so it is worth it only where the same shapes
    come often, as in training. No effect on a CPU, in float32, or in deterministic mode.
    """
    cudnn = torch.backends.cudnn
    if precision == "float32" or not cudnn.is_available() or cudnn.deterministic:
        return contextlib.nullcontext()
    return cudnn.flags(cudnn.enabled, True, cudnn.benchmark_limit, False, cudnn.allow_tf32)


@functools.cache
def can_compile(device: torch.device) -> bool:
    """Whether ``torch.compile`` works for ``device``; on a CPU it needs a C++ compiler."""
    if not processes.is_alone():
        print("torch.compile is for one process, going on without")
        return False
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.zeros(2, device=device))
    except Exception as error:  # whatever a missing or broken compiler raises
        print(f"torch.compile does not work here, going on without: {str(error).split(chr(10))[0]}")
        return False
    return True


def describe_device(device: torch.device) -> str:
    """A name for the record, such as ``cpu, 2 threads, bfloat16 in its vector unit``.

    For a GPU it is the name of its model. Several processes that train one run are counted.
    """
    together = "" if processes.is_alone() else f", {processes.count()} processes"
    if device.type == "cuda":
        return torch.cuda.get_device_name(device) + together
    unit = bfloat16_unit()
    in_unit = f", bfloat16 in its {unit}" if unit else ""
    return f"cpu, {torch.get_num_threads()} threads{in_unit}{together}"
