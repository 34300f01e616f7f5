"""Memory for maps that come and go many times a second."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
import threading
from collections.abc import Iterator

# mallopt's names (man 3 mallopt): from how many free bytes at the heap's end on they are given
# back, how many bytes more than needed to ask for, from which size on an allocation is a mapping
# of its own, and how many such mappings there may be.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4
_KEEP = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1, _TOP_PAD: 2**28}
# To what the library has come by itself once a process has freed large blocks.
_USUAL = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26, _TOP_PAD: 2**17}

_lock = threading.Lock()
_inside = 0  # how many are within ``keep_freed_memory`` now


@contextlib.contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Reuse freed memory for as long as it lasts, and give it back at the end.

    The C library of Linux takes an allocation of more than 32 MB from the system and gives it back
    when it is freed, so that each step of training would touch all pages of its maps for a first
    time. The setting is the process's, whichever thread asks for it, and may be nested. Nothing
    happens where there is another C library; a GPU's own memory PyTorch keeps in any case.
    """
    library = _c_library()
    if library is None:
        yield
        return
    _enter(library)
    try:
        yield
    finally:
        _leave(library)


def _enter(library: ctypes.CDLL) -> None:
    global _inside
    with _lock:
        _inside += 1
        if _inside == 1:
            _set(library, _KEEP)


def _leave(library: ctypes.CDLL) -> None:
    global _inside
    with _lock:
        _inside -= 1
        if not _inside:
            _set(library, _USUAL)
            library.malloc_trim(0)


def _set(library: ctypes.CDLL, values: dict[int, int]) -> None:
    for name, value in values.items():
        library.mallopt(name, value)


@functools.cache
def _c_library() -> ctypes.CDLL | None:
    """The GNU C library that this process runs on; None where it is another."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
