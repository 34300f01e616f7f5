"""The work on single clips: arrays at the working size, and several clips at once."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_prep.footage import frames as fr
from data_prep.footage.layouts import Clip
from data_prep.preparing.manifest import source_checksum
from ddllib.errors import DDLError
from ddllib.io.files import writing


class Stopped(Exception):
    """Another clip failed or the user interrupted; the work on this one ends."""


class Workers:
    """Works on several clips at once, a thread each: OpenCV releases Python's lock (GIL).

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
        """The results of `work(clip, watched)` for each clip, in the order of the clips.

        `work` iterates over `watched(items)`, one item per frame. `watched` counts the frames for
        the progress bar (`total` in all clips) and ends the work when another clip has failed or
        the user interrupts.
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
    """Checksum of a clip's files and of how they are read; a copied file counts as the same."""
    checksum = source_checksum(root, clip.files)
    options = [] if clip.rate is None or clip.frames else [f"{clip.rate:g} per second"]
    options += [f"levels {clip.levels[0]} to {clip.levels[1]}"] if clip.levels else []
    if not options:
        return checksum
    return hashlib.sha256(f"{checksum} {', '.join(options)}".encode()).hexdigest()


class ColourFound(DDLError):
    """A frame in colour in a clip that is being prepared as grey."""

    def __init__(self, clip: Clip, number: int):
        super().__init__(
            f"{clip.path}: frame {number} (counted from 0) has colour; prepare with 3 channels, or "
            "leave the number of channels open"
        )
        self.place = {"split": clip.split, "clip": clip.name, "frame": number}


def write_clip(path: Path, clip: Clip, frames: Iterable[np.ndarray], size, channels: int) -> int:
    """Write a clip's array at the working size, frame by frame; returns the number of frames.

    Raises ColourFound for colour in a clip that is prepared as grey.
    """
    return write_array(path, shrunk(clip, frames, size, channels), (channels, *size))


def shrunk(clip: Clip, frames: Iterable[np.ndarray], size, channels: int) -> Iterator[np.ndarray]:
    for number, frame in enumerate(frames):
        if channels == 1 and not fr.is_grey(frame):
            raise ColourFound(clip, number)
        yield fr.to_working_size(frame, size, channels)


def write_array(
    path: Path, items: Iterable[np.ndarray], shape: tuple[int, ...], kind: str = "|u1"
) -> int:
    """Write items of one shape and type as .npy, N x shape, one at a time; returns N.

    ``kind`` is numpy's name of the type: ``|u1`` is uint8, ``<f2`` float16.

    The true length of a video is known only at its end, so the header is written again then; numpy
    pads it, so that a longer first axis fits. The file is whole or absent.
    """
    count = 0
    with writing(path) as file:
        write_header(file, (0, *shape), kind)
        for item in items:
            file.write(item.data)
            count += 1
        file.seek(0)
        write_header(file, (count, *shape), kind)
    return count


def write_header(file, shape: tuple[int, ...], kind: str = "|u1") -> None:
    """Write the .npy header of an array; its length does not depend on shape[0]."""
    np.lib.format.write_array_header_1_0(
        file, {"descr": kind, "fortran_order": False, "shape": shape}
    )
