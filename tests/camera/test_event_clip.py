"""The clip of an event: which frames it has, and when they are encoded."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from ddllib.camera import event_clip
from ddllib.camera.event_clip import AROUND_S, AT_ONCE, ClipRecorder
from ddllib.camera.events import Event

RATE = 10.0
EVENT = Event(5.0, 6.0, 5.5, 50, 60, 55, 1.0)


@pytest.fixture
def written(monkeypatch):
    """How many frames were encoded after each frame that was watched."""
    counts = []
    original = event_clip.VideoWriter

    def counted(*args):
        video = original(*args)
        write = video.write
        counts.append(0)

        def count(image):
            counts[-1] += 1
            write(image)

        video.write = count
        return video

    monkeypatch.setattr(event_clip, "VideoWriter", counted)
    return counts


def watched(recorder, index, started):
    image = np.full((48, 64, 3), index, np.uint8)
    recorder.keep(SimpleNamespace(view=image, frame=None))
    recorder.film(index, started)


def test_the_seconds_before_an_event_are_encoded_a_few_frames_at_a_time(tmp_path, written):
    recorder = ClipRecorder(tmp_path, RATE)
    for index in range(50):
        watched(recorder, index, None)
    before = 0
    for index in range(50, 61):
        watched(recorder, index, EVENT)
        assert written[-1] - before <= AT_ONCE
        before = written[-1]
    recorder.name(1)
    for index in range(61, 61 + int(AROUND_S * RATE)):
        watched(recorder, index, None)
    (path,) = tmp_path.glob("0001.*")
    video = cv2.VideoCapture(str(path))
    frames = 0
    while video.read()[0]:
        frames += 1
    assert frames == written[-1] == 10 + 2 * int(AROUND_S * RATE)  # the first is among those before


def test_a_clip_that_is_discarded_at_once_was_hardly_encoded(tmp_path, written):
    recorder = ClipRecorder(tmp_path, RATE)
    for index in range(50):
        watched(recorder, index, None)
    watched(recorder, 50, EVENT)
    watched(recorder, 51, None)
    assert written[-1] <= 2 * AT_ONCE and not any(tmp_path.iterdir())
