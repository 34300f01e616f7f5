"""From a watched stream to what a person gets: a row, a picture and a short clip of each event.

``Alarms`` listens to the watch. Its memory does not grow: a few seconds of frames for the clip,
patch means of the last half minute to show how the score of the strange place came about.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from ddllib.drift import DriftMonitor
from ddllib.errors import DDLError
from ddllib.events import (
    Event,
    EventDetector,
    EventFile,
    best_patch,
    clock,
    is_gap,
    longest_gap,
    patch_means,
)
from ddllib.files import write_whole
from ddllib.thresholds import Threshold

AROUND_S = 2.0  # seconds of the clip before and after the event
LONGEST_S = 60.0  # a clip is no longer, whatever the event
TRACE_S = 30.0  # seconds of which patch means are kept
SIDE = 288  # pixels: small frames are enlarged to about this side
BOX_COLOUR = (60, 60, 230)  # blue, green, red


class Alarms:
    """A listener ``(scored, seconds)`` that finds events and leaves each one's evidence.

    ``folder`` gets ``events.csv`` and ``events.json`` (``EventFile``) and for each event, named by
    its number, ``<n>.jpg`` (the peak's frame with the box), ``<n>.webm`` (``<n>.avi`` where OpenCV
    writes no WebM; see ``open_video``) and ``<n>.npz`` (what ``event_figures.explain`` shows).
    ``smooth`` is the filter over time that the threshold was chosen with, such as
    ``ddllib.streaming.RunningMedian()``; ``drift`` may watch the scene, and marks events while it
    has changed. ``tell`` is called with one line for each event and each drift.
    """

    def __init__(
        self,
        threshold: Threshold,
        folder: Path | str,
        frame_rate: float,
        patch: int,
        least_s: float = 0.5,
        smooth=None,
        drift: DriftMonitor | None = None,
        facts: Mapping | None = None,
        tell: Callable[[str], None] = print,
    ):
        self.folder, self.frame_rate, self.patch = Path(folder), frame_rate, patch
        self.smooth, self.drift, self.tell = smooth, drift, tell
        self.gap_s = longest_gap(frame_rate)
        self.detector = EventDetector(
            threshold.value, threshold.release, least_s, patch, self.gap_s
        )
        described = {"threshold": threshold.asdict(), "least_s": least_s, "patch": patch}
        described["frame_rate"] = frame_rate
        described["filter"] = type(smooth).__name__ if smooth else "none"
        self.file = EventFile(self.folder, {**(facts or {}), **described})
        self._waiting: deque = deque()  # scored frames whose filtered score is not known yet
        self._frames: deque[np.ndarray] = deque(maxlen=max(int(AROUND_S * frame_rate), 1))
        self._trace: deque = deque(maxlen=max(int(TRACE_S * frame_rate), 1))
        self._last: tuple[int, float] | None = None
        self._peak = None
        self._told: int | None = None  # where the event began of which is told that it runs
        self._clip: _Clip | None = None

    def __call__(self, scored, seconds: float) -> None:
        """Take the next scored frame (``streaming.Scored``) and its time in seconds."""
        now = (scored.index, seconds)
        if is_gap(self._last, now, self.gap_s):
            self.interrupt()
        self._last = now
        mark = self._watch_scene(scored)
        self._waiting.append((scored, seconds, mark))
        value = self.smooth.push(scored.score) if self.smooth else scored.score
        if value is not None:
            self._judge(*self._waiting.popleft(), value)

    def interrupt(self) -> None:
        """The footage has a gap here: what runs ends, what waits is judged first."""
        self._flush()
        self._record(self.detector.reset())
        self._forget()

    def close(self) -> None:
        """The footage is over; an event that runs is written and marked open."""
        self._flush()
        self._record(self.detector.close())
        self._forget()

    def _flush(self) -> None:
        for value in self.smooth.finish() if self.smooth else ():
            self._judge(*self._waiting.popleft(), value)

    def _forget(self) -> None:
        if self._clip:
            self._clip.finish()
        self._clip, self._peak, self._last = None, None, None
        self._waiting.clear()
        self._frames.clear()
        self._trace.clear()
        if self.drift:
            self.drift.reset()

    def _watch_scene(self, scored) -> str:
        if not self.drift:
            return ""
        begun = self.drift.push(scored.frame, scored.score)
        if begun:
            self.tell(f"the scene has changed at frame {scored.index}: {begun.sentence}")
        return self.drift.drift.kind if self.drift.drift else ""

    def _judge(self, scored, seconds: float, mark: str, value: float) -> None:
        grids = [grid.astype(np.float16) for grid in patch_means(scored.map, self.patch)]
        self._trace.append((seconds, value, grids))
        self._frames.append(scored.frame)
        ended = self.detector.push(scored.index, seconds, value, scored.map, mark)
        if ended:
            self._record(ended)
        self._film(scored)
        self._tell_at_once()
        started = self.detector.started
        if started and started.peak == scored.index:
            self._peak = scored

    def _tell_at_once(self) -> None:
        """An alarm that is told when it is over comes too late; its row and pictures can wait."""
        running = self.detector.running
        if running and running.start != self._told:
            self._told = running.start
            self.tell(f"event {self.file.count + 1} runs since {clock(running.start_s)}")

    def _film(self, scored) -> None:
        started = self.detector.started
        if started and started.start == scored.index:
            if self._clip:
                self._clip.finish()
            self._clip = _Clip(self.folder, self.frame_rate, scored.frame.shape[1:])
            for frame in self._frames:
                self._clip.add(frame)
        elif self._clip:
            self._clip.add(scored.frame)
            if not started and not self._clip.number:
                self._clip.discard()  # too short to be an event
                self._clip = None
            elif self._clip.done:
                self._clip.finish()
                self._clip = None

    def _record(self, event: Event | None) -> None:
        if event is None:
            return
        number = self.file.append(event)
        if self._clip:
            self._clip.number = number
        if self._peak is not None:
            save_picture(self.folder / f"{number:04d}.jpg", boxed(self._peak.frame, event.box))
            self._save_numbers(self.folder / f"{number:04d}.npz", event)
        suffix = f" (the scene has changed: {event.drift})" if event.drift else ""
        self.tell(
            f"event {number}: {clock(event.start_s)} to {clock(event.end_s)}, "
            f"score {event.score:.4g}{suffix}"
        )

    def _save_numbers(self, path: Path, event: Event) -> None:
        """What explains the event; the file is whole or absent."""
        peak, place = self._peak, best_patch(self._peak.map, self.patch)
        grid, row, column = place
        numbers = dict(
            frame=peak.frame,
            reconstruction=peak.reconstruction,
            map=np.asarray(peak.map, np.float32),
            place=np.array(place),
            patch=np.array(self.patch),
            seconds=np.array([seconds for seconds, _, _ in self._trace]),
            scores=np.array([value for _, value, _ in self._trace]),
            region=np.array([float(g[grid][row, column]) for _, _, g in self._trace]),
        )
        write_whole(path, lambda file: np.savez_compressed(file, **numbers))


class _Clip:
    """The clip of one event while it is filmed; the file has its name once it is whole."""

    def __init__(self, folder: Path, frame_rate: float, shape: tuple[int, int]):
        self.path, self._video = open_video(folder / ".running", frame_rate, enlarged(shape))
        self.number: int | None = None  # of the event, once it has ended
        self._left = int(LONGEST_S * frame_rate)
        self._after = int(AROUND_S * frame_rate)

    def add(self, frame: np.ndarray) -> None:
        self._after -= bool(self.number)
        if self._left:
            self._left -= 1
            self._video.write(picture(frame))

    @property
    def done(self) -> bool:
        return bool(self.number) and self._after <= 0

    def finish(self) -> None:
        if not self.number:
            self.discard()
            return
        self._video.release()
        os.replace(self.path, self.path.with_name(f"{self.number:04d}{self.path.suffix}"))

    def discard(self) -> None:
        self._video.release()
        self.path.unlink(missing_ok=True)


def enlarged(shape: tuple[int, int]) -> tuple[int, int]:
    """Height and width at which small frames are shown: a whole number of times their own."""
    times = max(round(SIDE / max(shape)), 1)
    return shape[0] * times, shape[1] * times


def picture(frame: np.ndarray) -> np.ndarray:
    """uint8 C x H x W (RGB or grey) to H' x W' x 3 BGR at the size it is shown."""
    image = np.moveaxis(np.broadcast_to(frame, (3, *frame.shape[1:])), 0, -1)[..., ::-1]
    height, width = enlarged(frame.shape[1:])
    return cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=cv2.INTER_CUBIC)


def boxed(frame: np.ndarray, box: tuple[float, float, float, float] | None) -> np.ndarray:
    """The picture of a frame with a relative box drawn into it, H' x W' x 3 BGR."""
    image = picture(frame)
    if box is not None:
        height, width = image.shape[:2]
        x0, y0, x1, y1 = np.multiply(box, [width, height, width, height]).round().astype(int)
        cv2.rectangle(image, (x0, y0), (x1 - 1, y1 - 1), BOX_COLOUR, 2)
    return image


def save_picture(path: Path, image: np.ndarray) -> None:
    """Write a BGR picture in the form that the name ends in, whole or not at all."""
    encoded = cv2.imencode(path.suffix, image)[1].tobytes()
    write_whole(path, lambda file: file.write(encoded))


def open_video(
    stem: Path, frame_rate: float, shape: tuple[int, int]
) -> tuple[Path, cv2.VideoWriter]:
    """A video to write BGR frames of ``shape`` to, and its path: WebM, which browsers play.

    Where this OpenCV cannot write VP8, Motion JPEG in AVI, which browsers do not play. Raises
    ``DDLError`` where it can write neither.
    """
    for code, suffix in (("VP80", ".webm"), ("MJPG", ".avi")):
        path = stem.with_name(stem.name + suffix)
        with _silent():
            video = cv2.VideoWriter(
                str(path), cv2.VideoWriter.fourcc(*code), frame_rate, shape[::-1]
            )
        if video.isOpened():
            return path, video
    raise DDLError(f"{stem}: OpenCV writes neither WebM nor AVI there; expected a writable folder")


@contextmanager
def _silent() -> Iterator[None]:
    """OpenCV writes past Python that WebM has no tag for VP8, which does no harm."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
