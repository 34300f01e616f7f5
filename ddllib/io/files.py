"""Atomic writing of files, with disk errors reported in one line."""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ddllib.errors import DDLError

ABANDONED_S = 60.0  # seconds; a younger temporary file may be in use by another machine
_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room there, or choose another folder"),
    errno.EFBIG: "raise the limit on the size of files, or choose another folder",
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "choose a folder you may write to"),
    errno.ENAMETOOLONG: "choose shorter names",
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR), "choose a folder, this leads through a file"),
}


@contextmanager
def writing(path: Path | str, sync: bool = True) -> Iterator[BinaryIO]:
    """Open a binary file with a temporary name beside ``path``; renamed to ``path`` when complete.

    The file is synced to disk before it replaces an earlier one, so that a power cut or a full
    disk cannot lose both; without ``sync`` a power cut can. Missing folders are created, and
    temporary files of killed processes are removed. Raises ``DDLError`` if writing fails; the
    earlier file is then unchanged.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with disk_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_parts(path)
        try:
            with open(part, "wb", buffering=1 << 20) as file:
                yield file
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _remove_parts(path: Path) -> None:
    """Remove temporary files of processes that have ended; they may be large."""
    for part in path.parent.glob(f"{glob.escape(path.name)}.*.tmp"):
        writer = part.name.removesuffix(".tmp").rpartition(".")[2]
        with contextlib.suppress(OSError):  # a file that cannot be removed does no harm
            is_old = time.time() - part.stat().st_mtime > ABANDONED_S
            if is_old and writer.isdecimal() and not _is_running(int(writer)):
                part.unlink()


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # a process of another user
        return True
    return True


def write_whole(path: Path | str, writer: Callable[[BinaryIO], object], sync: bool = True) -> None:
    """``writing`` for what is written by one call of ``writer`` with the open file."""
    with writing(path, sync) as file:
        writer(file)


def write_json(path: Path | str, value: object) -> None:
    """``value`` as JSON, a line for each item, in ASCII, which reads the same in every locale."""
    write_whole(path, lambda file: file.write(f"{json.dumps(value, indent=1)}\n".encode()))


def set_aside(folder: Path) -> Path:
    """Rename a folder to ``<name>.old-<n>``, the first that is free; returns its new path.

    Raises ``DDLError`` where the disk does not allow it.
    """
    number = 1
    while (aside := folder.with_name(f"{folder.name}.old-{number}")).exists():
        number += 1
    with disk_faults(folder):
        os.replace(folder, aside)
    return aside


@contextmanager
def disk_faults(place: Path | str) -> Iterator[None]:
    """Turn a full disk, a read-only folder and the like into a ``DDLError`` that names ``place``.

    Errors of ``torch.save`` and zip files that follow from a disk error are included. Errors about
    other files than ``place`` are passed on unchanged.
    """
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        fault = _disk_error(error)
        if fault is None or _is_elsewhere(fault.filename, Path(place)):
            raise
        reason = fault.strerror or " ".join(str(fault).split())
        remedy = remedy_of(fault)
        raise DDLError(
            f"{place}: cannot be written ({reason}); {remedy}, and run again: what was finished "
            "before is kept"
        ) from error


def remedy_of(fault: OSError) -> str:
    """What a user can do about a disk error."""
    return _REMEDIES.get(fault.errno, "make room, or choose another folder")


def _disk_error(error: BaseException | None) -> OSError | None:
    """The ``OSError`` among an error and its causes."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def _is_elsewhere(name, place: Path) -> bool:
    """Whether an error's file name is unrelated to ``place``."""
    if not isinstance(name, str | Path):
        return False
    return not place.is_relative_to(name) and not Path(name).is_relative_to(place.parent)
