"""Files that are whole or absent, and one line where a disk does not take them."""

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

STILL_S = 60.0  # seconds; a younger half may be that of another machine on a shared disk
_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room there, or choose another folder"),
    errno.EFBIG: "raise the limit on the size of files, or choose another folder",
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "choose a folder you may write to"),
    errno.ENAMETOOLONG: "choose shorter names",
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR), "choose a folder, this leads through a file"),
}


@contextmanager
def writing(path: Path | str) -> Iterator[BinaryIO]:
    """A binary file under a temporary name beside ``path``; in its place only once it is whole.

    It has reached the disk before it takes the place of an earlier file, so that neither a power
    cut nor a full disk costs both. Missing folders are made, and what a process that was killed
    here has left half written is removed. Raises ``DDLError``, and leaves the
    earlier file as it was and nothing beside it, where the disk does not take the new one.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with disk_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_halves(path)
        try:
            with open(part, "wb", buffering=1 << 20) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _remove_halves(path: Path) -> None:
    """Remove halves of a file whose writers are gone; each may be as large as a whole."""
    for half in path.parent.glob(f"{glob.escape(path.name)}.*.tmp"):
        writer = half.name.removesuffix(".tmp").rpartition(".")[2]
        with contextlib.suppress(OSError):  # what cannot be removed keeps nobody from writing
            still = time.time() - half.stat().st_mtime > STILL_S
            if still and writer.isdecimal() and not _is_running(int(writer)):
                half.unlink()


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        return True
    return True


def write_whole(path: Path | str, writer: Callable[[BinaryIO], object]) -> None:
    """``writing`` for what is written by one call of ``writer`` with the open file."""
    with writing(path) as file:
        writer(file)


def write_json(path: Path | str, value: object) -> None:
    """``value`` as JSON, a line for each item, in plain ASCII, so that no locale misreads it."""
    write_whole(path, lambda file: file.write(f"{json.dumps(value, indent=1)}\n".encode()))


@contextmanager
def disk_faults(place: Path | str) -> Iterator[None]:
    """Turn a full disk, a read-only folder and the like into a ``DDLError`` that names ``place``.

    ``torch.save`` and zip files end in errors of their own after that of the disk; those count too.
    What fails to be read from another place is passed on as it is.
    """
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        fault = _of_disk(error)
        if fault is None or _elsewhere(fault.filename, Path(place)):
            raise
        reason = fault.strerror or " ".join(str(fault).split())
        remedy = remedy_of(fault)
        raise DDLError(
            f"{place}: cannot be written ({reason}); {remedy}, and run again: what was finished "
            "before is kept"
        ) from error


def remedy_of(fault: OSError) -> str:
    """What a person can do about a fault of the disk."""
    return _REMEDIES.get(fault.errno, "make room, or choose another folder")


def _of_disk(error: BaseException | None) -> OSError | None:
    """The disk's own error among an error and those that it followed from."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def _elsewhere(name, place: Path) -> bool:
    """Whether an error names a file that has nothing to do with ``place``."""
    if not isinstance(name, str | Path):
        return False
    return not place.is_relative_to(name) and not Path(name).is_relative_to(place.parent)
