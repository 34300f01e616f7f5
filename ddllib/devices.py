"""Where to compute and in what precision."""

from __future__ import annotations

import contextlib
import functools

import torch

from ddllib.errors import DDLError

# float32 is float32 on a GPU, too: PyTorch would let cuDNN round products to 10 bits (TF32). Who
# wants speed takes bfloat16.
torch.backends.cudnn.allow_tf32 = False

# What multiplies bfloat16 in a processor, and the question of torch.cpu that tells.
_BFLOAT16_UNITS = {
    "matrix unit": "_is_amx_tile_supported",
    "vector unit": "_is_avx512_bf16_supported",
}


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
    """``auto`` is bfloat16 where the device multiplies matrices in it faster, else float32."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if bfloat16_unit() else "float32"


def bfloat16_unit() -> str | None:
    """What multiplies bfloat16 in this processor: ``matrix unit``, ``vector unit``, or nothing."""
    for unit, question in _BFLOAT16_UNITS.items():
        if getattr(torch.cpu, question, lambda: False)():
            return unit
    return None


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """A context that computes convolutions in ``precision``; weights stay float32."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def searched_kernels(precision: str) -> contextlib.AbstractContextManager:
    """Let cuDNN time its kernels for each shape that it meets and keep the quickest.

    By itself it takes kernels without the matrix units for some large shapes in bfloat16, many
    times as slow. The search lasts, so it pays where the same shapes come many times, as in
    training. Nothing happens on a CPU, in float32, or where PyTorch was told
    to be deterministic.
    """
    cudnn = torch.backends.cudnn
    if precision == "float32" or not cudnn.is_available() or cudnn.deterministic:
        return contextlib.nullcontext()
    return cudnn.flags(cudnn.enabled, True, cudnn.benchmark_limit, False, cudnn.allow_tf32)


@functools.cache
def can_compile(device: torch.device) -> bool:
    """Whether ``torch.compile`` works for ``device``; on a CPU it needs a C++ compiler."""
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.zeros(2, device=device))
    except Exception as error:  # whatever a missing or broken compiler raises
        print(f"torch.compile does not work here, going on without: {str(error).split(chr(10))[0]}")
        return False
    return True


def describe_device(device: torch.device) -> str:
    """A name for the record, such as ``cpu, 2 threads, bfloat16 in its vector unit``.

    Of a GPU it is the model's.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    unit = bfloat16_unit()
    name = f"cpu, {torch.get_num_threads()} threads"
    return f"{name}, bfloat16 in its {unit}" if unit else name
