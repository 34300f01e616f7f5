"""WebM and Matroska files whose frames come when a test says."""

import struct

import cv2
import numpy as np

SEGMENT, CLUSTER, BLOCK, TIMESTAMP, DURATION = 0x18538067, 0x1F43B675, 0xA3, 0xE7, 0x4489
SEEK_HEAD, DEFAULT_DURATION, VOID = 0x114D9B74, 0x23E383, 0xEC
NESTING = {SEGMENT, CLUSTER, 0x1549A966, 0x1654AE6B, 0xAE}  # with the tracks and what they hold


def write_matroska(path, frames, times=None, rate=20, ends=None, begins=0.0):
    """Frames, H x W x 3, as VP8 in WebM or Motion JPEG in Matroska, by the path's suffix.

    They are shown at `times`, in seconds; None: `rate` a second. The file says that it ends
    at `ends`, a usual step after the last frame where that is None. It begins at `begins`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    code = cv2.VideoWriter.fourcc(*("VP80" if path.suffix == ".webm" else "MJPG"))
    video = cv2.VideoWriter(str(path), code, rate, frames[0].shape[1::-1])
    for frame in frames:
        video.write(frame)
    video.release()
    if times is None and not begins:
        return
    times = np.arange(len(frames)) / rate if times is None else np.asarray(times, float)
    ends = times[-1] + 1 / rate if ends is None else ends
    path.write_bytes(_retimed(path.read_bytes(), begins + times, begins + ends))


def cut(path, share):
    """Leave only the first `share` of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])


def _number(data, at, marked=False):
    """A variable-length number and how many bytes it takes; `marked` keeps the mark, as of ids."""
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big")
    return (value if marked else value & ((1 << 7 * length) - 1)), length


def _elements(data, at, end):
    """Each element as its id, and where it, its length, its content and the next one begin."""
    while at < end:
        name, wide = _number(data, at, marked=True)
        size, wider = _number(data, at + wide)
        inside = at + wide + wider
        yield name, at, at + wide, inside, inside + size
        if name in NESTING:
            yield from _elements(data, inside, inside + size)
        at = inside + size


def _element(name, content):
    head = name.to_bytes((name.bit_length() + 7) // 8, "big")
    return head + (len(content) | 1 << 56).to_bytes(8, "big") + content


def _retimed(data, times, ends):
    """The same frames, each in a cluster of its own time; nothing states a rate any more."""
    elements = list(_elements(data, 0, len(data)))
    head = bytearray(data[: next(at for name, at, *_ in elements if name == CLUSTER)])
    for name, at, sized, inside, end in elements:
        if name == DURATION:
            head[inside:end] = struct.pack(">d", 1000 * ends)  # milliseconds
        elif name in (SEEK_HEAD, DEFAULT_DURATION):
            # As many bytes that say nothing.
            head[at : at + 2] = bytes([VOID, 0x80 | (end - at - 2)])
        elif name == SEGMENT:
            wide = inside - sized  # of unknown length: all that follows
            head[sized:inside] = ((1 << 7 * wide + 1) - 1).to_bytes(wide, "big")
    blocks = [data[inside:end] for name, _, _, inside, end in elements if name == BLOCK]
    assert len(blocks) == len(times)
    for block, time_s in zip(blocks, times, strict=True):
        stamp = _element(TIMESTAMP, round(1000 * time_s).to_bytes(8, "big"))
        head += _element(CLUSTER, stamp + _element(BLOCK, block[:1] + b"\0\0" + block[3:]))
    return bytes(head)
