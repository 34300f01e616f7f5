"""The work on single clips: arrays at the working size, boxes, and several clips at once."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_prep import frames as fr
from data_prep.layouts import Clip
from data_prep.manifest import source_checksum
from ddllib.errors import DDLError
from ddllib.files import writing


class Stopped(Exception):
    """Another clip failed or the user gave up; this one's work is left off."""


class Workers:
    """Works on several clips at once, a thread each: OpenCV leaves Python's lock while it works.

    Memory holds one frame, or a detector's batch of frames, per thread.
    """

    def __init__(self, progress: bool):
        self.progress = progress
        self.stop = threading.Event()

    def over(
        self,
        what: str,
        work: Callable[[Clip, Callable], object],
        clips: Sequence[Clip],
        total: int,
        parallel: bool = True,
    ) -> list:
        """`work(clip, watched)` of each clip, in their order.

        `work` passes what it iterates over, one item per frame, through `watched`, which counts
        the frames (`total` of them in all clips) and ends the work when that of another clip
        failed or the user interrupts.
        """
        count = min(len(clips), os.cpu_count() or 1) if parallel else 1
        with (
            tqdm(
                total=total, desc=what, unit="frame", leave=False, disable=not self.progress
            ) as bar,
            ThreadPoolExecutor(max(count, 1)) as pool,
        ):
            jobs = [
                pool.submit(work, clip, lambda items: self.watched(items, bar)) for clip in clips
            ]
            try:
                for job in as_completed(jobs):
                    job.result()
            except BaseException:
                self.stop.set()
                pool.shutdown(cancel_futures=True)
                raise
            return [job.result() for job in jobs]

    def watched(self, items: Iterable, bar: tqdm) -> Iterator:
        for item in items:
            if self.stop.is_set():
                raise Stopped
            bar.update()
            yield item


def clip_checksum(root: Path, clip: Clip) -> str:
    """What a clip's array and boxes depend on of its files; a copy elsewhere counts as the same."""
    checksum = source_checksum(root, clip.files)
    if clip.rate is None or clip.frames:
        return checksum
    return hashlib.sha256(f"{checksum} {clip.rate:g} per second".encode()).hexdigest()


def write_clip(path: Path, clip: Clip, frames: Iterable[np.ndarray], size, channels: int) -> int:
    """Write a clip's array at the working size, frame by frame; returns the number of frames.

    Colour in a clip that is prepared as grey is an error.
    """
    return write_array(path, shrunk(clip, frames, size, channels), (channels, *size))


def shrunk(clip: Clip, frames: Iterable[np.ndarray], size, channels: int) -> Iterator[np.ndarray]:
    for number, frame in enumerate(frames):
        if channels == 1 and not fr.is_grey(frame):
            raise DDLError(
                f"{clip.path}: frame {number} (counted from 0) has colour, but the "
                "clips seemed grey; prepare with channels: 3"
            )
        yield fr.to_working_size(frame, size, channels)


def write_array(path: Path, items: Iterable[np.ndarray], shape: tuple[int, ...]) -> int:
    """Write uint8 items of one shape as .npy, N x shape, one at a time; returns N.

    A video tells its true length only at its end, so the header is written anew then; numpy pads
    it for a first axis that grows. The file is whole or absent.
    """
    count = 0
    with writing(path) as file:
        write_header(file, (0, *shape))
        for item in items:
            file.write(item.data)
            count += 1
        file.seek(0)
        write_header(file, (count, *shape))
    return count


def write_header(file, shape: tuple[int, ...]) -> None:
    """Write the .npy header of a uint8 array; its length does not depend on shape[0]."""
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
