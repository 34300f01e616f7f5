"""Frames of a clip in batches; the next batch is read while a network processes this one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np

from data_prep.footage.frames import read_frames
from data_prep.footage.layouts import Clip


def batches(clip: Clip, size: int) -> Iterator[list[np.ndarray]]:
    """Lists of `size` frames in order, the last one shorter, each H x W x 3 uint8 BGR.

    Two batches are in memory at a time. A fault of the footage raises as `read_frames` does.
    """
    frames = read_frames(clip, colour=True)
    with ThreadPoolExecutor(max_workers=1) as reader:
        next_batch = reader.submit(lambda: list(islice(frames, size)))
        while batch := next_batch.result():
            next_batch = reader.submit(lambda: list(islice(frames, size)))
            yield batch
