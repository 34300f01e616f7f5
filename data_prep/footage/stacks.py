"""TIFF files of several pages: each file is a clip, each page a frame."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from ddllib.errors import DDLError

TIFF = frozenset({".tif", ".tiff"})
MOST_PAGES = 1 << 20  # of one file; more is a mistake or an attack
MOST_FIELDS = 1 << 12  # of one page
SUBFILE_TYPE = 254  # the tag of the field "NewSubfileType"
NO_PICTURE = 1 | 4  # its bits for a smaller copy of another page and for a transparency mask


def page_count(path: Path) -> int:
    """The number of pictures in a TIFF file, by its list of pages; 1 for any other file.

    Nothing is decoded and previews do not count. A damaged file has 1; reading it raises the error.
    """
    if path.suffix.lower() not in TIFF:
        return 1
    try:
        with open(path, "rb") as file:
            return max(_count(path, file), 1)
    except (OSError, struct.error, OverflowError, ValueError):
        return 1


def _count(path: Path, file: BinaryIO) -> int:
    """Follow the list of pages; each holds the offset of the next one."""
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    magic = struct.unpack_from(f"{order}H", head, 2)[0] if order else 0
    if magic not in (42, 43):
        return 0
    # Magic 43 is BigTIFF, for files above 4 GiB: offsets of 8 bytes, fields of 20.
    count_format, field, offset = (("H", 12, "I"), ("Q", 20, "Q"))[magic - 42]
    place = struct.unpack_from(f"{order}{offset}", head, 4 if magic == 42 else 8)[0]
    pictures, visited = 0, set()
    while place and place not in visited:
        visited.add(place)
        if len(visited) > MOST_PAGES:
            raise DDLError(f"{path}: more than {MOST_PAGES} pages; expected fewer, divide the file")
        file.seek(place)
        data = file.read(struct.calcsize(count_format))
        fields = struct.unpack(f"{order}{count_format}", data)[0]
        if fields > MOST_FIELDS:
            return pictures
        data = file.read(fields * field)
        pictures += not _kind(data, order, fields, field) & NO_PICTURE
        place = struct.unpack(f"{order}{offset}", file.read(struct.calcsize(offset)))[0]
    return pictures


def _kind(data: bytes, order: str, fields: int, field: int) -> int:
    """The value of a page's field "NewSubfileType"; 0, a picture, if it is missing."""
    for start in range(0, fields * field, field):
        tag, size = struct.unpack_from(f"{order}HH", data, start)
        if tag == SUBFILE_TYPE:
            number = "H" if size == 3 else "I"
            return struct.unpack_from(f"{order}{number}", data, start + field - (field - 4) // 2)[0]
    return 0


def pages_of(images: Sequence[Path]) -> list[int] | None:
    """The number of pages of each file of a folder if all have several; None if none has.

    Raises DDLError if only some have several: read as frames, they would lose all but the first.
    """
    counts = [page_count(path) for path in images]
    several = [k for k, count in enumerate(counts) if count > 1]
    if not several:
        return None
    if len(several) < len(images):
        path, single = images[several[0]], images[counts.index(1)]
        raise DDLError(
            f"{path}: {counts[several[0]]} pictures in one file, but {single.name} beside it has "
            "one; expected files of one kind in a folder; give each kind a folder of its own"
        )
    return counts
