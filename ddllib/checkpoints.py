"""Checkpoints: tensors and plain values only, so that loading one can never run code.

Two are kept, the last and the one before it. Each holds a checksum of its own content, so that
damage is noticed whatever it hits.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import torch
from torch import Tensor

from ddllib.data import Prepared
from ddllib.devices import resolve_device, resolve_precision
from ddllib.errors import DDLError
from ddllib.files import writing
from ddllib.settings import AFTERWARDS, Settings, recorded

NAME = "checkpoint.pt"
PREVIOUS = "checkpoint.previous.pt"
DAMAGED = ".damaged"
# A change of these does not change what the weights mean.
_FREE = AFTERWARDS | {"patch", "ignore"}


def exists(folder: Path) -> bool:
    """Whether a run in ``folder`` has left a checkpoint."""
    return any((Path(folder) / name).is_file() for name in (NAME, PREVIOUS))


def identity(settings: Settings, data: Prepared) -> dict:
    """What a run's weights depend on, but for the code: settings and the data's digest."""
    kept = {name: value for name, value in settings.asdict().items() if name not in _FREE}
    precision = resolve_precision(settings.precision, resolve_device(settings.device))
    if settings.start_folder:  # what those weights are, wherever they lie
        start = read(settings.start_folder)
        kept["start_from"] = {"identity": start["identity"], "epoch": start["parts"][-1]["epoch"]}
    return {**kept, "precision": precision, "prepared data": data.digest}


def save(folder: Path, who: dict, progress: dict, *parts) -> None:
    """Write the run's identity, its progress and every part's state, all or nothing.

    The checkpoint that was there becomes the one before. Raises ``DDLError`` where the disk does
    not take it; the one that was there then stays.
    """
    path = Path(folder) / NAME
    content = {"identity": who, **progress, "parts": [part.state_dict() for part in parts]}
    fresh = path.with_name("checkpoint.new.pt")
    with writing(fresh) as file:
        torch.save({**content, "checksum": checksum(content)}, file)
    if path.exists():
        os.replace(path, path.with_name(PREVIOUS))
    os.replace(fresh, path)


def checksum(content) -> str:
    """SHA-256 over every name, number and tensor of a checkpoint, as hexadecimal digits."""
    digest = hashlib.sha256()
    _feed(digest, content)
    return digest.hexdigest()


def _feed(digest, value) -> None:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        digest.update(f"{value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy())
    elif isinstance(value, dict):
        for key, item in value.items():
            digest.update(f"{key!r}:".encode())
            _feed(digest, item)
    elif isinstance(value, list | tuple):
        digest.update(f"{type(value).__name__} {len(value)}".encode())
        for item in value:
            _feed(digest, item)
    else:
        digest.update(f"{value!r};".encode())


def read(folder: Path) -> dict:
    """The content of the last checkpoint that is whole.

    One that is damaged, or holds anything but plain data, is named and put aside, and the one
    before it is read. Raises ``DDLError`` where none is left.
    """
    faults = []
    for name in (NAME, PREVIOUS):
        path = Path(folder) / name
        if not path.is_file():
            continue
        try:
            content = _read_whole(path)
        except DDLError as error:
            faults.append(str(error))
            continue
        for fault in faults:
            print(f"{fault}; going on from {name}")
            with contextlib.suppress(OSError):  # a folder that may only be read
                os.replace(Path(folder) / NAME, Path(folder) / (NAME + DAMAGED))
        return content
    told = "; ".join(faults) or f"{Path(folder) / NAME}: not there"
    raise DDLError(f"{told}; remove it and train again")


def _read_whole(path: Path) -> dict:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the restricted unpickler fails in many ways on damaged bytes
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DDLError(f"{path}: cannot be read ({reason})") from None
    if not isinstance(content, dict) or not {"identity", "parts", "checksum"} <= content.keys():
        raise DDLError(f"{path}: holds no checkpoint of this project")
    if content.pop("checksum") != checksum(content):
        raise DDLError(f"{path}: damaged (its content does not fit its checksum)")
    return content


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
