"""Memory for maps that come and go many times a second."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

# mallopt's names (man 3 mallopt): from how many free bytes at the heap's end on they are given
# back, how many bytes more than needed to ask for, from which size on an allocation is a mapping
# of its own, and how many such mappings there may be.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4
_KEEP = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1, _TOP_PAD: 2**28}
# To what the library has come by itself once a process has freed large blocks.
_USUAL = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26, _TOP_PAD: 2**17}
# madvise's names (man 2 madvise): large pages for what is touched from now on, and for what was.
_HUGEPAGE, _COLLAPSE = 14, 25
_SIZE_OF_LARGE = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
GROWN = 1.1  # how much larger a process is when its pages are worth another look
WARM = 30.0  # seconds of work before pages are moved, which may take some of them

_lock = threading.Lock()
_inside = 0  # how many are within ``keep_freed_memory`` now
_since = 0.0  # when the first of them came
_in_large_pages = 0.0  # how large the process was when its pages were made large


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
    global _inside, _since
    with _lock:
        _inside += 1
        if _inside == 1:
            _since = time.monotonic()
            _set(library, _KEEP)


def _leave(library: ctypes.CDLL) -> None:
    global _inside, _in_large_pages
    with _lock:
        _inside -= 1
        if not _inside:
            _in_large_pages = 0.0
            _set(library, _USUAL)
            library.malloc_trim(0)


def use_large_pages(after: float = WARM) -> None:
    """Within ``keep_freed_memory``, move what the process has taken by now to large pages.

    A processor looks up where each page of memory lies, and maps of many megabytes have more pages
    of 4 KiB than it can remember. To be called after each step of the work: nothing happens in its
    first ``after`` seconds, later only where the process has grown since; nor where the system has
    no large pages or cannot move to them (Linux before 6.1).
    """
    library = _c_library()
    if library is None or not _large_page() or not _worth_a_look(after):
        return
    for start, size in _own_memory(_large_page()):
        for advice in (_HUGEPAGE, _COLLAPSE):
            library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), advice)


def _worth_a_look(after: float) -> bool:
    global _in_large_pages
    with _lock:
        if not _inside or time.monotonic() - _since < after:
            return False
        held = int(Path("/proc/self/statm").read_text().split()[1])
        grown = held > GROWN * _in_large_pages
        _in_large_pages = held if grown else _in_large_pages
    return grown


def _own_memory(page: int) -> Iterator[tuple[int, int]]:
    """Where the process's memory that belongs to no file begins and its bytes, in whole pages."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, _, _, _, *name = line.split()
        start, end = (int(edge, 16) for edge in span.split("-"))
        start, end = -(-start // page) * page, end // page * page
        if rights == "rw-p" and name in ([], ["[heap]"]) and start < end:
            yield start, end - start


@functools.cache
def _large_page() -> int:
    """Bytes of a large page; 0 where there are none."""
    return int(_SIZE_OF_LARGE.read_text()) if _SIZE_OF_LARGE.is_file() else 0


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
