"""Memory for maps that come and go many times a second."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
from collections.abc import Iterator

# mallopt's names for: what to keep when the heap's end is free, how much to ask for at a time
# beyond what is needed, and how many allocations may be mappings of their own (man 3 mallopt).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_KEEP = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**28}
_USUAL = {_MMAP_MAX: 65536, _TRIM_THRESHOLD: 2**17, _TOP_PAD: 2**17}


@contextlib.contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Reuse freed memory for as long as it lasts, and give it back at the end.

    The C library of Linux takes every allocation of more than 32 MB from the system and gives it
    back when it is freed, so that each step of training would touch all pages of its maps for a
    first time. Nothing happens where there is another C library, or on a GPU, whose memory
    PyTorch keeps itself.
    """
    library = _c_library()
    if library is None:
        yield
        return
    for name, value in _KEEP.items():
        library.mallopt(name, value)
    try:
        yield
    finally:
        for name, value in _USUAL.items():
            library.mallopt(name, value)
        library.malloc_trim(0)


@functools.cache
def _c_library() -> ctypes.CDLL | None:
    """The GNU C library that this process runs on; None where it is another."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
