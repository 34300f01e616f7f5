"""Compare the speed of decoding and resizing with that of a plain OpenCV loop.

Run by `python -m data_prep.preparing.benchmark SOURCE ...`.

Both write the same array from the same clips, in turn in one process; the plain loop makes no
checks. It prints medians over the rounds and their ratios.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from data_prep.footage.frames import is_grey, read_frames
from data_prep.footage.layouts import Clip, find_footage
from data_prep.preparing.clips import Workers, write_clip


def plain_loop(clip: Clip, path: Path, size: tuple[int, int], channels: int) -> None:
    """The simplest code for the task: read, resize, store; no checks."""
    resized = []
    for frame in plain_images(clip, channels) if clip.frames else plain_video(clip):
        if channels == 1 and frame.ndim == 3:
            frame = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        frame = cv2.resize(frame, size[::-1])
        resized.append(frame if channels == 1 else cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    frames = np.stack(resized)
    np.save(path, frames[:, None] if channels == 1 else frames.transpose(0, 3, 1, 2).copy())


def plain_images(clip: Clip, channels: int):
    flag = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR
    return (cv2.imread(str(path), flag) for path in clip.frames)


def plain_video(clip: Clip):
    video = cv2.VideoCapture(str(clip.path))
    while True:
        ok, frame = video.read()
        if not ok:
            return
        yield frame


def compare(source: Path, size: int, rounds: int) -> pd.DataFrame:
    """Frames per second of the plain loop, of `data_prep` on one core and on all, and ratios."""
    footage = find_footage(source)
    clips = footage.all_clips()
    channels = 1 if is_grey(next(read_frames(clips[0]))) else 3
    shape = (size, size)
    with tempfile.TemporaryDirectory() as folder:

        def place(method: str, clip: Clip) -> Path:
            return Path(folder, f"{method}-{clip.split}-{clip.name}.npy")

        def plain() -> None:
            for clip in clips:
                plain_loop(clip, place("plain", clip), shape, channels)

        def ours() -> None:
            for clip in clips:
                write_clip(place("ours", clip), clip, read_frames(clip), shape, channels)

        def parallel() -> None:
            def write(clip, watched):
                frames = watched(read_frames(clip))
                write_clip(place("ours", clip), clip, frames, shape, channels)

            Workers(progress=False).over("frames", write, clips, 0)

        seconds = alternate([plain, ours, parallel], rounds)
        frames, difference = 0, 0
        for clip in clips:
            plain_array, our_array = (np.load(place(m, clip)) for m in ("plain", "ours"))
            frames += len(our_array)
            difference = max(difference, int(np.abs(plain_array.astype(int) - our_array).max()))
    names = ["plain OpenCV loop, one core", "data_prep, one core", "data_prep, all cores"]
    rows = [
        {"path": name, "frames a second": frames / s, "ratio": seconds[0] / s}
        for name, s in zip(names, seconds, strict=True)
    ]
    return pd.DataFrame(rows).assign(**{"largest difference": ["", difference, difference]})


def alternate(ways: Sequence[Callable[[], None]], rounds: int) -> list[float]:
    """Median seconds of each function; every round runs each once, the first is a warm-up."""
    seconds: list[list[float]] = []
    for _ in range(rounds + 1):
        seconds.append([])
        for function in ways:
            started = time.perf_counter()
            function()
            seconds[-1].append(time.perf_counter() - started)
    return np.median(seconds[1:], axis=0).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.preparing.benchmark", description=__doc__
    )
    parser.add_argument("sources", type=Path, nargs="+", help="folders of footage")
    parser.add_argument("--size", type=int, default=128, help="working size, pixels")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)  # so that "one core" is true for both
    for source in options.sources:
        table = compare(source, options.size, options.rounds)
        print(source.name, table.to_string(index=False), sep="\n")


if __name__ == "__main__":
    main()
