"""Checkpoints: tensors and plain values only, so that loading one can never run code."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from ddllib.data import Prepared
from ddllib.devices import resolve_device, resolve_precision
from ddllib.errors import DDLError
from ddllib.settings import Settings, recorded

NAME = "checkpoint.pt"
# A change of these does not change what the weights mean.
_FREE = {"device", "compile", "protocol", "patch", "labelling"}


def exists(folder: Path) -> bool:
    """Whether a run in ``folder`` has left a checkpoint."""
    return (Path(folder) / NAME).is_file()


def identity(settings: Settings, data: Prepared) -> dict:
    """What a run's weights depend on, but for the code: settings and the data's digest."""
    kept = {name: value for name, value in settings.asdict().items() if name not in _FREE}
    precision = resolve_precision(settings.precision, resolve_device(settings.device))
    if settings.start_folder:  # what those weights are, wherever they lie
        start = read(settings.start_folder)
        kept["start_from"] = {"identity": start["identity"], "epoch": start["epoch"]}
    return {**kept, "precision": precision, "prepared data": data.digest}


def save(folder: Path, who: dict, progress: dict, *parts) -> None:
    """Write the run's identity, its progress and every part's state, all or nothing."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    content = {"identity": who, **progress, "parts": [part.state_dict() for part in parts]}
    temporary = folder / (NAME + ".part")
    torch.save(content, temporary)
    os.replace(temporary, folder / NAME)


def read(folder: Path) -> dict:
    """The checkpoint's content; ``DDLError`` if it is damaged or holds anything but plain data."""
    path = Path(folder) / NAME
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the restricted unpickler fails in many ways on damaged bytes
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DDLError(f"{path}: cannot be read ({reason}); remove it and train again") from None


def differences(folder: Path, settings: Settings, data: Prepared) -> list[str]:
    """Names of what the checkpoint in ``folder`` was trained with otherwise."""
    made, wanted = recorded(read(folder)["identity"]), identity(settings, data)
    return [name for name in sorted(wanted) if made.get(name) != wanted[name]]


def restore(folder: Path, *parts) -> dict:
    """Load the checkpoint in ``folder`` into ``parts``; returns the progress saved with it."""
    content = read(folder)
    for part, state in zip(parts, content["parts"], strict=True):
        part.load_state_dict(state)
    return content
