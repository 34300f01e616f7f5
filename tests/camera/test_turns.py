"""Many cameras, one thread that scores: fair turns, batches by model, faults of one's own."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support.scoring import a_clip, a_model

from ddllib import DDLError, StreamScorer, score_clip
from ddllib.camera import turns as module
from ddllib.camera.turns import Turns

PATCH = 4


def scores_of(scorer, clip):
    answers = [scorer.push(frame) for frame in clip]
    return [one.score for a in [*answers, *scorer.finish()] if a for one in a.each()]


def test_every_camera_has_the_scores_of_its_own_clip():
    models = [a_model(), a_model()]
    clips = [a_clip(frames=15, seed=k) for k in range(4)]
    with Turns() as turns, ThreadPoolExecutor(4) as threads:
        scorers = [turns.share(StreamScorer(models[k % 2], PATCH), k % 2) for k in range(4)]
        assert len({id(s.model) for s in scorers}) == 2
        results = list(threads.map(scores_of, scorers, clips))
    for k in range(4):
        assert np.allclose(results[k], score_clip(models[k % 2], clips[k], PATCH), atol=1e-5)


@pytest.fixture
def batches(monkeypatch):
    """The scorers of each batch in a model, and a gate that lets one batch go at a time."""
    scorers_of_batches, gate = [], threading.Semaphore(0)

    def push_together(scorers, frames):
        scorers_of_batches.append(scorers)
        assert gate.acquire(timeout=60)
        return [None] * len(scorers)

    monkeypatch.setattr(module, "push_together", push_together)
    return scorers_of_batches, gate


def wait_until(holds):
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_waiting_frames_of_one_model_are_one_batch_and_other_models_follow(batches):
    scorers_of_batches, gate = batches
    frame = a_clip(frames=1)[0]
    with Turns() as turns, ThreadPoolExecutor(6) as threads:
        cameras = [turns.share(StreamScorer(a_model(), PATCH), k // 3) for k in range(6)]
        first = threads.submit(cameras[0].push, frame)
        wait_until(lambda: scorers_of_batches)  # it is in its turn, alone
        others = [threads.submit(camera.push, frame) for camera in cameras[1:]]
        wait_until(lambda: turns.waiting == 5)
        gate.release(3)
        for waiting in (first, *others):
            waiting.result(60)
    assert [len(scorers) for scorers in scorers_of_batches[:1]] == [1]
    assert sorted(len(scorers) for scorers in scorers_of_batches[1:]) == [2, 3]


def test_a_camera_that_floods_has_one_frame_a_round(batches):
    scorers_of_batches, gate = batches
    frame, ends = a_clip(frames=1)[0], threading.Event()
    with Turns() as turns, ThreadPoolExecutor(2) as threads:
        flooding, other = (turns.share(StreamScorer(a_model(), PATCH), 0) for _ in range(2))

        def flood():
            while not ends.is_set():
                flooding.push(frame)

        flood_over = threads.submit(flood)
        wait_until(lambda: scorers_of_batches)
        answer = threads.submit(other.push, frame)
        wait_until(
            lambda: turns.waiting == 1
        )  # the other one alone, however much flooding there is
        gate.release(2)
        answer.result(60)
        assert other.scorer in scorers_of_batches[1]
        ends.set()
        gate.release(9)
        flood_over.result(60)


def test_a_frame_that_does_not_fit_is_its_own_camera_s_fault():
    model, clip = a_model(), a_clip(frames=8)
    with Turns() as turns:
        good, bad = (turns.share(StreamScorer(model, PATCH), 0) for _ in range(2))
        good.push(clip[0]), bad.push(clip[0])
        with pytest.raises(DDLError, match="those before it are"):
            bad.push(a_clip(frames=1, side=48)[0])
        rest = scores_of(good, clip[1:])
    assert np.allclose(rest, score_clip(model, clip, PATCH), atol=1e-5)


def test_a_fault_of_scoring_reaches_the_camera_and_the_thread_goes_on(monkeypatch):
    def fails(scorers, frames):
        raise RuntimeError("no memory")

    frame = a_clip(frames=1)[0]
    with Turns() as turns:
        scorer = turns.share(StreamScorer(a_model(), PATCH), 0)
        with monkeypatch.context() as patch:
            patch.setattr(module, "push_together", fails)
            with pytest.raises(RuntimeError, match="no memory"):
                scorer.push(frame)
        assert scorer.push(frame) is None
