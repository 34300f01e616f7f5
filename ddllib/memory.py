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
_COLLAPSE = 25  # madvise's name (man 2 madvise) for: move these pages to large ones now
_PAGES = Path("/sys/kernel/mm/transparent_hugepage")
LARGE = 2**22  # bytes of a page that may be filled for a part of it
LEAST = 2**24  # bytes of a mapping that is worth it; the stacks of threads have fewer
GROWN = 1.1  # how much larger a process is when its pages are worth another look
WARM = 30.0  # seconds of work before pages are moved: to move them may take seconds itself

_lock = threading.Lock()
_inside = 0  # how many are within ``keep_freed_memory`` now
_from = 0.0  # when the first of them has worked long enough to move pages
_moved = 0  # pages that the process held when they were moved last


@contextlib.contextmanager
def keep_freed_memory(warm: float | None = None) -> Iterator[None]:
    """Reuse freed memory for as long as it lasts, and give it back at the end.

    The C library of Linux takes an allocation of more than 32 MB from the system and gives it back
    when it is freed, so that each step of training would touch all pages of its maps for a first
    time. The setting is the process's, whichever thread asks for it, and may be nested; ``warm``
    of the outermost, seconds, is when ``use_large_pages`` begins (``WARM`` unless given). Nothing
    happens where there is another C library; a GPU's own memory PyTorch keeps in any case.
    """
    library = _c_library()
    if library is None:
        yield
        return
    _enter(library, WARM if warm is None else warm)
    try:
        yield
    finally:
        _leave(library)


def _enter(library: ctypes.CDLL, warm: float) -> None:
    global _inside, _from
    with _lock:
        _inside += 1
        if _inside == 1:
            _from = time.monotonic() + warm
            _set(library, _KEEP)


def _leave(library: ctypes.CDLL) -> None:
    global _inside, _moved
    with _lock:
        _inside -= 1
        if not _inside:
            _moved = 0
            _set(library, _USUAL)
            library.malloc_trim(0)


def use_large_pages() -> None:
    """Within ``keep_freed_memory``, move what the process has taken by now to large pages.

    A processor looks up where each page of memory lies, and maps of many megabytes have more small
    pages than it can remember. To be called after each step of the work. Nothing happens before
    the work is warm, nor before the process has grown since the last time, nor where the system
    has no large pages, cannot move to them (Linux before 6.1), or may not.
    """
    global _moved
    library = _c_library()
    if library is None or not _inside or time.monotonic() < _from:
        return
    with contextlib.suppress(OSError, ValueError):  # a system that does not tell
        if _large_page() and _held() > GROWN * _moved:
            for start, size in _own_memory(_large_page()):
                library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), _COLLAPSE)
            _moved = _held()


def _held() -> int:
    """Pages in memory of this process's own, of no file."""
    _, resident, shared, *_ = Path("/proc/self/statm").read_text().split()
    return int(resident) - int(shared)


def _own_memory(page: int) -> Iterator[tuple[int, int]]:
    """Where memory of this process's own begins and its bytes, in whole pages of so many bytes."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, _, _, _, *name = line.split()
        start, end = (int(edge, 16) for edge in span.split("-"))
        start, end = -(-start // page) * page, end // page * page
        if rights == "rw-p" and name in ([], ["[heap]"]) and end - start >= LEAST:
            yield start, end - start


@functools.cache
def _large_page() -> int:
    """Bytes of a large page; 0 where there are none, or none but very large ones."""
    allowed = "[never]" not in (_PAGES / "enabled").read_text()
    size = int((_PAGES / "hpage_pmd_size").read_text())
    return size if allowed and size <= LARGE else 0


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
