"""Which frames of a live stream are kept when they arrive unevenly."""

import numpy as np
import pytest

from data_prep.footage.frames import Pace
from data_prep.live.clock import StreamClock


def kept(stamps, arrivals, rate=10):
    """The numbers of the frames that are kept at so many per second."""
    clock, pace = StreamClock(), Pace(rate)
    times = [clock.time(*pair) for pair in zip(stamps, arrivals, strict=True)]
    return [number for number, time_s in enumerate(times) if pace.keeps(time_s)]


def in_bursts(taken, burst_s):
    """When frames arrive that the network hands over only every so many seconds."""
    return np.ceil(np.round(taken / burst_s, 6)) * burst_s + 1000.0


def test_frames_that_arrive_in_bursts_are_all_kept_at_the_rate_of_the_camera():
    taken = np.arange(600) / 10
    arrivals = in_bursts(taken, 0.35)
    assert len(kept([None] * 600, arrivals)) < 400  # what the arrivals alone leave
    assert kept(taken, arrivals) == list(range(600))


def test_frames_of_a_quicker_camera_are_kept_as_evenly_as_they_were_taken():
    taken = np.arange(1500) / 25
    steps = np.diff(taken[kept(taken, in_bursts(taken, 0.16))])
    assert steps.mean() == pytest.approx(0.1, abs=0.001)
    assert steps.max() <= 0.12 + 1e-9


@pytest.mark.parametrize("speed", [0.999, 1.001])
def test_a_camera_whose_clock_runs_fast_or_slow_loses_no_frame_in_hours(speed):
    taken = np.arange(100_000) / 10
    late = np.random.default_rng(0).uniform(0, 0.2, len(taken))
    # A clock that runs slow makes a camera of ten frames per second send a few more than ten.
    lost = len(taken) - len(kept(taken * speed, taken + late))
    assert lost <= max(0.0, (1 / speed - 1) * len(taken)) + 1


def test_stamps_of_a_wrong_rate_are_used_only_for_seconds():
    arrivals = np.arange(600) / 10
    numbers = kept(np.arange(600) / 25, arrivals)
    assert numbers[-500:] == list(range(100, 600))


def test_stamps_that_begin_anew_once_cost_a_second_at_most():
    taken = np.arange(600) / 10
    stamps = np.where(taken < 30, taken, taken - 30)
    assert len(kept(stamps, in_bursts(taken, 0.35))) >= 590


def test_without_stamps_the_arrivals_count():
    arrivals = np.arange(100) / 20
    assert kept([None] * 100, arrivals) == list(range(0, 100, 2))
