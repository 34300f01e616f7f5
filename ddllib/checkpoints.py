"""Checkpoints: tensors and plain values only, so that loading one can never run code.

The last two are kept. Each holds a checksum of its content, by which any damage is noticed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ddllib.data import Prepared
from ddllib.errors import DDLError
from ddllib.io.files import disk_faults, writing
from ddllib.settings import PREPARED, WEIGHTS, Settings, recorded, touching

NAME = "checkpoint.pt"
PREVIOUS = "checkpoint.previous.pt"
UNFINISHED = "checkpoint.new.pt"  # while it is written
DAMAGED = ".damaged"
_TEMPORARY = {errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}


def exists(folder: Path) -> bool:
    """Whether a run in ``folder`` has left a checkpoint."""
    return any((Path(folder) / name).is_file() for name in (NAME, PREVIOUS))


def check_place(folder: Path) -> None:
    """Raise ``DDLError``, before training, where a folder has a checkpoint's name."""
    for name in (NAME, PREVIOUS, UNFINISHED):
        path = Path(folder) / name
        if path.is_dir():
            raise DDLError(f"{path}: is a folder; expected a checkpoint or nothing; move it away")


def identity(settings: Settings, data: Prepared, precision: str) -> dict:
    """What a run's weights depend on besides the code: settings and the training data's digest.

    ``precision`` is what they are trained in (``methods.Method.precision``).
    """
    shaping = touching(PREPARED, WEIGHTS)
    values = {name: value for name, value in settings.asdict().items() if name in shaping}
    if settings.start_folder:  # identify the weights by content, not by path
        start = read(settings.start_folder)
        values["start_from"] = {"identity": start["identity"], "epoch": start["parts"][-1]["epoch"]}
    return {**values, "precision": precision, "prepared data": data.training_digest}


def trained_on(folder: Path) -> str | None:
    """``Prepared.training_digest`` of what a run in ``folder`` was trained on."""
    return read(folder)["identity"].get("prepared data")


def save(folder: Path, who: dict, progress: dict, *parts) -> None:
    """Write the run's identity, its progress and every part's state, completely or not at all.

    The present checkpoint becomes the previous one. Raises ``DDLError`` if writing fails; the
    present checkpoint then stays.
    """
    path = Path(folder) / NAME
    content = {"identity": who, **progress, "parts": [part.state_dict() for part in parts]}
    unfinished = path.with_name(UNFINISHED)
    with writing(unfinished) as file:
        torch.save({**content, "checksum": checksum(content)}, file)
    with disk_faults(path):
        if path.exists():
            os.replace(path, path.with_name(PREVIOUS))
        os.replace(unfinished, path)


def checksum(content) -> str:
    """SHA-256 over every name, number and tensor of a checkpoint, as hexadecimal digits."""
    digest = hashlib.sha256()
    _update_digest(digest, content)
    return digest.hexdigest()


def _update_digest(digest, value) -> None:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        digest.update(f"{value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy())
    elif isinstance(value, dict):
        for key, item in value.items():
            digest.update(f"{key!r}:".encode())
            _update_digest(digest, item)
    elif isinstance(value, list | tuple):
        digest.update(f"{type(value).__name__} {len(value)}".encode())
        for item in value:
            _update_digest(digest, item)
    else:
        digest.update(f"{value!r};".encode())


def read(folder: Path) -> dict:
    """The content of the last valid checkpoint.

    One that is damaged, or holds anything but plain data, is reported and renamed, and the
    previous one is read. Raises ``DDLError`` where none is left.
    """
    faults = []
    for name in (NAME, PREVIOUS):
        path = Path(folder) / name
        if not path.is_file():
            continue
        try:
            content = _read_whole(path)
        except Damaged as error:
            faults.append(str(error))
            continue
        for fault in faults:
            print(f"{fault}; going on from {name}")
            with contextlib.suppress(OSError):  # a read-only folder
                os.replace(Path(folder) / NAME, Path(folder) / (NAME + DAMAGED))
        return content
    reasons = "; ".join(faults) or f"{Path(folder) / NAME}: not there"
    raise DDLError(f"{reasons}; remove it and train again")


class Damaged(DDLError):
    """A file that is not a valid checkpoint, rather than one that cannot be read now."""


def _read_whole(path: Path) -> dict:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the restricted unpickler fails in many ways on damaged bytes
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if _is_temporary(error):
            raise DDLError(
                f"{path}: cannot be read now ({reason}); mend that and run again"
            ) from None
        raise Damaged(f"{path}: cannot be read ({reason})") from None
    if not isinstance(content, dict) or not {"identity", "parts", "checksum"} <= content.keys():
        raise Damaged(f"{path}: holds no checkpoint of this project")
    if content.pop("checksum") != checksum(content):
        raise Damaged(f"{path}: damaged (its content does not fit its checksum)")
    fault = _fault(content)
    if fault:
        raise Damaged(f"{path}: damaged ({fault})")
    return content


def _is_temporary(error: Exception) -> bool:
    """Whether reading failed for lack of memory, rights or file handles; the file may be valid."""
    no_memory = isinstance(error, RuntimeError) and "allocate memory" in str(error)
    return (
        no_memory or isinstance(error, MemoryError) or getattr(error, "errno", None) in _TEMPORARY
    )


def _fault(content: dict) -> str | None:
    """What is wrong with values that fit their checksum (another program may have written them)."""
    if not isinstance(content["identity"], dict):
        return "its identity is no table"
    parts = content["parts"]
    if not isinstance(parts, list) or not parts or not all(isinstance(p, dict) for p in parts):
        return "its parts are no list of tables"
    if not all(_is_count(parts[-1].get(name)) for name in ("epoch", "step")):
        return "its epoch and step are no whole numbers"
    if not _is_number(content.get("seconds")):
        return "its seconds are no number"
    if not _are_curves(content.get("history")):
        return "its history is no table of equally long lists of numbers"
    if not all(torch.isfinite(t).all() for t in _tensors(parts[:-3])):
        return "its weights are not finite"
    return None


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value) -> bool:
    return _is_number(value) and isinstance(value, int) and value >= 0


def _are_curves(history) -> bool:
    if not isinstance(history, dict) or not all(isinstance(v, list) for v in history.values()):
        return False
    same_length = len({len(values) for values in history.values()}) == 1
    return same_length and all(_is_number(v) for values in history.values() for v in values)


def _tensors(states: Sequence[dict]) -> list[Tensor]:
    """The tensors of the models' states, which are saved before optimiser, schedule and draws."""
    return [value for state in states for value in state.values() if isinstance(value, Tensor)]


def differences(folder: Path, settings: Settings, data: Prepared, precision: str) -> list[str]:
    """Names of the settings that differ from those of the checkpoint in ``folder``."""
    old, new = recorded(read(folder)["identity"]), identity(settings, data, precision)
    return [name for name in sorted(new) if old.get(name) != new[name]]


def restore(folder: Path, *parts) -> dict:
    """Load the checkpoint in ``folder`` into ``parts``; returns the progress saved with it."""
    content = read(folder)
    load(folder, content["parts"], *parts)
    return content


def _check_moments(optimiser: torch.optim.Optimizer) -> None:
    """Raise ``ValueError`` for moments of another shape than their parameter; PyTorch does not."""
    for parameter, state in optimiser.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.dim() and value.shape != parameter.shape:
                raise ValueError(f"{name} of {tuple(value.shape)} for {tuple(parameter.shape)}")


def load(folder: Path, states: Sequence[dict], *parts) -> None:
    """Load the states that were read from ``folder`` into ``parts``.

    Raises ``DDLError`` where they do not fit; some parts may then be loaded already.
    """
    try:
        for part, state in zip(parts, states, strict=True):
            part.load_state_dict(state)
            if isinstance(part, torch.optim.Optimizer):
                _check_moments(part)
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DDLError(
            f"{folder}: its checkpoint does not fit this run ({reason}); remove {NAME} and "
            f"{PREVIOUS} there and train again"
        ) from None
