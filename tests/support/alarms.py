"""A watch whose scores are given."""

from dataclasses import dataclass
from types import SimpleNamespace

import cv2
import numpy as np

from data_prep.footage.gaps import longest_gap
from ddllib.camera.alarms import AlarmOptions, Alarms
from ddllib.camera.listener import filter_name
from ddllib.camera.thresholds import Threshold
from ddllib.camera.watch_loop import AnySource, WatchLoop
from ddllib.camera.watch_result import WatchResult

RATE, SIDE, PATCH = 10.0, 32, 8


LEVEL = Threshold(0.5, 0.3, 1.0, "alarms per hour", 0, 2, "counted", None, 0.1, 1.0, 1.0, 20)


@dataclass(frozen=True)
class FrameScore:
    index: int
    score: float
    map: np.ndarray
    frame: np.ndarray
    reconstruction: np.ndarray
    view: np.ndarray | None = None
    reused: bool = False

    def each(self):
        return [self]


def scored(index: int, score: float) -> FrameScore:
    """A frame whose patch at rows 8 to 16 and columns 16 to 24 has the score as its error."""
    frame = np.full((1, SIDE, SIDE), index % 200, np.uint8)
    error = np.full((SIDE, SIDE), 0.01, np.float32)
    error[8:16, 16:24] = score
    return FrameScore(index, score, error, frame, frame)


def alarms_in(folder, tell=lambda line: None, **options):
    return Alarms(LEVEL, folder, AlarmOptions(RATE, PATCH, tell=tell, **options))


class Given:
    """A scorer of frames that have their scores already."""

    before = delay = 0

    def push(self, scored):
        return scored

    def finish(self):
        return []

    def reset(self):
        pass


class NoTable:
    """A table of scores that nobody reads."""

    segment = 0

    def add(self, *row):
        pass


class Moments:
    """A source that says how long a step between two frames may be."""

    longest_step = longest_gap(RATE)


def a_loop(listeners, last_scored=-1, smooth=None):
    """The loop of a watch of frames that ``scored`` gives, to be heard by ``hears``."""
    source, scorer = AnySource(Moments()), Given()
    return WatchLoop(
        source, scorer, NoTable(), tuple(listeners), last_scored, smooth, WatchResult()
    )


def hears(loop, moment, time_s):
    """The next frame of a watch, at a time in seconds."""
    frame = {"index": moment.index, "time_s": time_s, "image": moment, "view": moment.view}
    loop.push(SimpleNamespace(gap=False, read_s=0.0, **frame))


def watched(folder, scores, start=0, ends=True, smooth=None, **options):
    """The lines told of scores from frame ``start`` on; unless it ``ends`` the watch was killed."""
    lines = []
    listener = alarms_in(folder, lines.append, filter=filter_name(smooth), **options)
    loop = a_loop([listener], smooth=smooth)
    for k, score in enumerate(scores, start):
        hears(loop, scored(k, score), k / RATE)
    _end(loop, listener, ends)
    return lines


def _end(loop, listener, ends):
    if ends:
        loop.end()
        listener.close()


def frames_of(path):
    video, frames = cv2.VideoCapture(str(path)), []
    while (answer := video.read())[0]:
        frames.append(answer[1])
    return frames


def lag_of(folder, smooth=None):
    """Frames that a watch hears again."""
    return _lag([alarms_in(folder)], smooth)


def _lag(listeners, smooth):
    return -a_loop(listeners, smooth=smooth).first_heard


def heard_again(folder, scores, start, ends=True, smooth=None, **options):
    """The watch of a recording goes on: frames from ``start`` on are heard, some once more."""
    lines = []
    listener = alarms_in(folder, lines.append, filter=filter_name(smooth), **options)
    assert listener.resumes
    listener.on_resume()
    loop = a_loop([listener], start - 1 + _lag([listener], smooth), smooth)
    for k, score in enumerate(scores[start:], start):
        hears(loop, scored(k, score), k / RATE)
    _end(loop, listener, ends)
    return lines


QUIET, LOUD = [0.1] * 60, [0.7, 0.8, 0.9, 0.8, 0.7, 0.7, 0.6]
