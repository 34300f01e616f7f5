"""Checkpoints: tensors and plain values only, so that loading one can never run code.

Two are kept, the last and the one before it. Each holds a checksum of its own content, so that
damage is noticed whatever it hits.
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
from ddllib.devices import resolve_device, resolve_precision
from ddllib.errors import DDLError
from ddllib.files import disk_faults, writing
from ddllib.settings import AFTERWARDS, Settings, recorded

NAME = "checkpoint.pt"
PREVIOUS = "checkpoint.previous.pt"
FRESH = "checkpoint.new.pt"  # while it is not yet the last
DAMAGED = ".damaged"
_PASSING = {errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}
# A change of these does not change what the weights mean.
_FREE = AFTERWARDS | {"patch", "ignore"}


def exists(folder: Path) -> bool:
    """Whether a run in ``folder`` has left a checkpoint."""
    return any((Path(folder) / name).is_file() for name in (NAME, PREVIOUS))


def check_place(folder: Path) -> None:
    """Raise ``DDLError`` where a folder lies under a checkpoint's name: better before training."""
    for name in (NAME, PREVIOUS, FRESH):
        path = Path(folder) / name
        if path.is_dir():
            raise DDLError(f"{path}: is a folder; expected a checkpoint or nothing; move it away")


def identity(settings: Settings, data: Prepared) -> dict:
    """What a run's weights depend on, but for the code: settings and the training data's digest."""
    kept = {name: value for name, value in settings.asdict().items() if name not in _FREE}
    precision = resolve_precision(settings.precision, resolve_device(settings.device))
    if settings.start_folder:  # what those weights are, wherever they lie
        start = read(settings.start_folder)
        kept["start_from"] = {"identity": start["identity"], "epoch": start["parts"][-1]["epoch"]}
    return {**kept, "precision": precision, "prepared data": data.training_digest}


def trained_on(folder: Path) -> str | None:
    """``Prepared.training_digest`` of what a run in ``folder`` was trained on."""
    return read(folder)["identity"].get("prepared data")


def save(folder: Path, who: dict, progress: dict, *parts) -> None:
    """Write the run's identity, its progress and every part's state, all or nothing.

    The checkpoint that was there becomes the one before. Raises ``DDLError`` where the disk does
    not take it; the one that was there then stays.
    """
    path = Path(folder) / NAME
    content = {"identity": who, **progress, "parts": [part.state_dict() for part in parts]}
    fresh = path.with_name(FRESH)
    with writing(fresh) as file:
        torch.save({**content, "checksum": checksum(content)}, file)
    with disk_faults(path):
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
        except Damaged as error:
            faults.append(str(error))
            continue
        for fault in faults:
            print(f"{fault}; going on from {name}")
            with contextlib.suppress(OSError):  # a folder that may only be read
                os.replace(Path(folder) / NAME, Path(folder) / (NAME + DAMAGED))
        return content
    told = "; ".join(faults) or f"{Path(folder) / NAME}: not there"
    raise DDLError(f"{told}; remove it and train again")


class Damaged(DDLError):
    """A file that is no whole checkpoint, whoever reads it and when."""


def _read_whole(path: Path) -> dict:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the restricted unpickler fails in many ways on damaged bytes
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if _is_passing(error):
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


def _is_passing(error: Exception) -> bool:
    """Whether reading failed for want of memory, rights or files, and this one may be whole."""
    wanting = isinstance(error, RuntimeError) and "allocate memory" in str(error)
    return wanting or isinstance(error, MemoryError) or getattr(error, "errno", None) in _PASSING


def _fault(content: dict) -> str | None:
    """What is wrong with values that fit their checksum: another program may have written them."""
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
    if not all(torch.isfinite(t).all() for t in _tensors(parts[:2])):
        return "its weights are not finite"
    return None


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value) -> bool:
    return _is_number(value) and isinstance(value, int) and value >= 0


def _are_curves(history) -> bool:
    if not isinstance(history, dict) or not all(isinstance(v, list) for v in history.values()):
        return False
    alike = len({len(values) for values in history.values()}) == 1
    return alike and all(_is_number(v) for values in history.values() for v in values)


def _tensors(states: Sequence[dict]) -> list[Tensor]:
    """The tensors of the model's state and the creator's, which are saved first."""
    return [value for state in states for value in state.values() if isinstance(value, Tensor)]


def differences(folder: Path, settings: Settings, data: Prepared) -> list[str]:
    """Names of what the checkpoint in ``folder`` was trained with otherwise."""
    made, wanted = recorded(read(folder)["identity"]), identity(settings, data)
    return [name for name in sorted(wanted) if made.get(name) != wanted[name]]


def restore(folder: Path, *parts) -> dict:
    """Load the checkpoint in ``folder`` into ``parts``; returns the progress saved with it."""
    content = read(folder)
    load(folder, content["parts"], *parts)
    return content


def _check_moments(optimiser: torch.optim.Optimizer) -> None:
    """Raise ``ValueError`` for moments unlike their parameters; PyTorch takes them as they are."""
    for parameter, state in optimiser.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.dim() and value.shape != parameter.shape:
                raise ValueError(f"{name} of {tuple(value.shape)} for {tuple(parameter.shape)}")


def load(folder: Path, states: Sequence[dict], *parts) -> None:
    """Load states read from ``folder`` into ``parts``, as many.

    Raises ``DDLError`` where they are of other parts; some parts may then be loaded already.
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
