"""What a watch tells its listeners: frames with filtered scores, gaps, and how it begins."""

import time

import numpy as np
import pytest
from support.alarms import alarms_in
from support.scoring import a_clip, a_model

from data_prep.live.sources import Frame
from ddllib import DDLError, RunningMedian, StreamScorer
from ddllib.camera.listener import Listener, filter_name
from ddllib.camera.score_table import read_scores
from ddllib.camera.watch import watch

PATCH = 4


class Frames:
    """Frames at 10 per second, ten seconds later behind ``pause``; ``marked`` ones begin anew."""

    name, identity, longest_step = "frames", None, 1.0

    def __init__(self, count, marked=(), pause=None, identity=None, breaks=False):
        self.count, self.marked, self.pause, self.breaks = count, marked, pause, breaks
        self.identity = identity

    def __iter__(self):
        for k, image in enumerate(a_clip(frames=self.count)):
            time_s = k / 10 + 10 * (self.pause is not None and k >= self.pause)
            yield Frame(k, time_s, image, k in (0, *self.marked), time.monotonic())
        if self.breaks:
            raise DDLError("the source breaks")


class Notes(Listener):
    """Notes each call of a hook, in order; of frames also what came with them."""

    def __init__(self, **options):
        self.calls, self.values = [], {}
        for name, value in options.items():
            setattr(self, name, value)

    def on_frame(self, scored, time_s, value):
        self.calls.append(scored.index)
        self.values[scored.index] = (time_s, scored.score, value)

    def on_gap(self):
        self.calls.append("gap")

    def on_resume(self):
        self.calls.append("resume")

    def on_begin_anew(self):
        self.calls.append("begin anew")

    def on_live(self):
        self.calls.append("live")

    def close(self):
        self.calls.append("close")


def watched(source, folder, *listeners, model=None, smooth=None):
    scorer = StreamScorer(model or a_model(), PATCH)
    return watch(source, scorer, folder, listeners, tell=lambda line: None, smooth=smooth)


def medians(scores, width):
    wide = np.pad(scores, width // 2, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(wide, width), axis=1)


def test_a_listener_with_only_on_frame_hears_all_frames(tmp_path):
    class OnlyFrames(Listener):
        indices = ()

        def on_frame(self, scored, time_s, value):
            self.indices += (scored.index,)

    recording = {"identity": ["a"]}
    for folder, options in (("live", {}), ("recorded", recording)):
        listener = OnlyFrames()
        watched(Frames(14, marked=(7,), **options), tmp_path / folder, listener)
        assert listener.indices == tuple(range(14))
    listener = OnlyFrames()
    watched(Frames(14, marked=(7,), **recording), tmp_path / "recorded", listener)
    assert listener.indices == ()
    listener.close()


def test_a_watch_says_how_it_begins_before_the_first_frame_and_leaves_closing_to_others(tmp_path):
    model, frames = a_model(), list(range(6))
    for folder, identity, begins, indices in (
        ("live", None, "live", frames),
        ("live", None, "live", frames),
        ("recorded", ["a"], "begin anew", frames),
        ("recorded", ["a"], "resume", []),
        ("recorded", ["b"], "begin anew", frames),
    ):
        first, second = Notes(), Notes()
        watched(Frames(6, identity=identity), tmp_path / folder, first, second, model=model)
        assert first.calls == second.calls == [begins, *indices]


def test_what_was_put_aside_is_reported_with_its_place(tmp_path):
    class Aside(Listener):
        def on_begin_anew(self):
            return tmp_path / "elsewhere"

    lines = []
    scorer = StreamScorer(a_model(), PATCH)
    watch(Frames(6, identity=["a"]), scorer, tmp_path, [Aside(), Notes()], tell=lines.append)
    assert [str(tmp_path / "elsewhere") in line for line in lines] == [True, False]


@pytest.mark.parametrize("pause", [None, 8], ids=["marked", "marked, and so long a pause"])
def test_a_gap_is_reported_once_to_every_listener_and_the_filter_begins_anew(tmp_path, pause):
    first, second, smooth = Notes(), Notes(), RunningMedian(5)
    watched(Frames(20, marked=(8,), pause=pause), tmp_path, first, second, smooth=smooth)
    assert first.calls == second.calls == ["live", *range(8), "gap", *range(8, 20)]
    scores = read_scores(tmp_path)["score"].to_numpy()
    expected = np.concatenate([medians(scores[:8], 5), medians(scores[8:], 5)])
    times, raw, values = zip(*(first.values[k] for k in range(20)), strict=True)
    assert np.allclose(values, expected) and np.allclose(raw, scores)
    assert not np.allclose(values, medians(scores, 5))
    assert np.allclose(times, np.arange(20) / 10 + 10 * (np.arange(20) >= (pause or 20)))


def test_a_pause_that_only_the_times_show_is_a_gap_for_the_filter_and_the_listeners(tmp_path):
    notes = Notes()
    watched(Frames(20, pause=9), tmp_path, notes, smooth=RunningMedian(5))
    assert notes.calls == ["live", *range(9), "gap", *range(9, 20)]
    table = read_scores(tmp_path)
    scores = table["score"].to_numpy()
    expected = np.concatenate([medians(scores[:9], 5), medians(scores[9:], 5)])
    assert np.allclose([notes.values[k][2] for k in range(20)], expected)
    assert set(table["segment"]) == {0}  # windows go on across it, as their source has it


def test_frames_heard_again_come_with_the_values_of_a_whole_watch(tmp_path):
    model, whole, again = a_model(), Notes(lag=3), Notes(lag=3)
    watched(Frames(30), tmp_path / "whole", whole, model=model, smooth=RunningMedian(5))
    recording = {"identity": ["a"]}
    watched(Frames(18, **recording), tmp_path, Notes(lag=3), model=model, smooth=RunningMedian(5))
    watched(Frames(30, **recording), tmp_path, again, model=model, smooth=RunningMedian(5))
    assert again.calls[0] == "resume"
    # The lag and the filter's delay reach behind the last scored frame, 17.
    assert again.calls[1:] == list(range(18 - 3 - 2, 30))
    for k in range(20, 30):  # scores of before were those of the end of the footage
        assert again.values[k][2] == pytest.approx(whole.values[k][2], abs=1e-5)


def test_frames_that_wait_for_their_filtered_score_are_heard_though_the_source_breaks(tmp_path):
    notes = Notes()
    with pytest.raises(DDLError, match="the source breaks"):
        watched(Frames(20, breaks=True), tmp_path, notes, smooth=RunningMedian(5))
    assert notes.calls == ["live", *read_scores(tmp_path)["frame"]]


def test_alarms_are_watched_with_the_filter_of_their_threshold_only(tmp_path):
    alarms = alarms_in(tmp_path, filter=filter_name(RunningMedian()))
    with pytest.raises(DDLError, match="expects scores filtered by RunningMedian"):
        watched(Frames(6), tmp_path, alarms)
    assert not (tmp_path / "scores.csv").exists()
    watched(Frames(6), tmp_path, alarms, Notes(), smooth=RunningMedian())
    alarms.close()


def test_who_is_not_asked_about_resuming_may_come_and_go(tmp_path):
    model = a_model()
    for listeners, count in (([], 6), ([Notes()], 0), ([Notes(resumes=True)], 6)):
        source = Frames(6, identity=["a"])
        assert watched(source, tmp_path, *listeners, model=model).scored == count
