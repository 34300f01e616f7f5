"""How long the pictures of an MP4 or QuickTime file are shown (ISO/IEC 14496-12, box `tkhd`).

A piece cut out without encoding anew begins at a key frame and hides what comes before the cut by
an edit list: then fewer frames are shown than the file holds, and nothing is missing.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

SUFFIXES = frozenset({".mp4", ".m4v", ".mov"})
Span = tuple[int, int]  # where the content of a box begins and ends in the file


def shown_seconds(path: Path) -> float | None:
    """Seconds for which the first track of pictures is shown; None where the file does not tell."""
    try:
        with open(path, "rb") as file:
            return _shown_seconds(file, (0, path.stat().st_size))
    except (OSError, struct.error, LookupError, ValueError, ZeroDivisionError):
        return None


def _shown_seconds(file: BinaryIO, whole: Span) -> float | None:
    movie = _first(file, whole, b"moov")
    ticks_per_second = _number(file, _first(file, movie, b"mvhd"), (12, 20), "II")
    for kind, track in _boxes(file, movie):
        if kind == b"trak" and _is_of_pictures(file, track):
            ticks = _number(file, _first(file, track, b"tkhd"), (20, 28), "IQ")
            return ticks / ticks_per_second or None
    return None


def _is_of_pictures(file: BinaryIO, track: Span) -> bool:
    start, _ = _first(file, _first(file, track, b"mdia"), b"hdlr")
    file.seek(start + 8)
    return file.read(4) == b"vide"


def _number(file: BinaryIO, box: Span, offsets: tuple[int, int], forms: str) -> int:
    """A number of a box: where it lies and how it is written in its versions 0 and 1."""
    file.seek(box[0])
    version = file.read(1)[0]
    file.seek(box[0] + offsets[version])
    form = f">{forms[version]}"
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def _first(file: BinaryIO, within: Span, wanted: bytes) -> Span:
    """The first box of a kind; raises ``LookupError`` where there is none."""
    for kind, span in _boxes(file, within):
        if kind == wanted:
            return span
    raise LookupError(wanted)


def _boxes(file: BinaryIO, within: Span) -> Iterator[tuple[bytes, Span]]:
    """The boxes side by side in a span, each as its kind and the span of its content."""
    start, end = within
    while start + 8 <= end:
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8))
        head = 8
        if size == 1:  # the size follows, in 64 bits
            size, head = struct.unpack(">Q", file.read(8))[0], 16
        stop = end if size == 0 else start + size
        if stop < start + head:
            raise ValueError("a box smaller than its head")
        yield kind, (start + head, min(stop, end))
        start = stop
