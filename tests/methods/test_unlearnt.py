"""Baselines: nothing is learnt, and the score is that of a model that gives the same frames."""

import numpy as np
import pytest
from support.scoring import a_clip, literal_patch_score

from ddllib import DDLError, pipeline
from ddllib.flow import optical_flow
from ddllib.methods.base import method_of
from ddllib.scoring import score_clip
from ddllib.training import fit, new_run

METHODS = {
    "frame-difference": {},
    "neighbour-mean": {},
    "optical-flow": {"score": "flow magnitude", "flow": "dis"},
}


def scorer_of(settings):
    return method_of(settings).scorer(new_run(settings))


def settings_of(small_settings, name, **changes):
    return small_settings(method=name, epochs=0, patch=8, **METHODS[name], **changes)


def test_frame_difference_is_the_distance_from_the_frame_before(small_settings):
    clip = a_clip(frames=23)
    scores = scorer_of(settings_of(small_settings, "frame-difference")).clip(clip).scores
    x = clip[:, 0] / 255
    expected = [literal_patch_score(abs(x[t] - x[t - 1]), 8) for t in range(1, 23)]
    assert np.allclose(scores, [expected[0], *expected], rtol=1e-5)


def test_the_neighbour_mean_is_the_distance_from_the_mean_of_the_frames_beside(small_settings):
    clip = a_clip(frames=23)
    scores = scorer_of(settings_of(small_settings, "neighbour-mean")).clip(clip).scores
    x = clip[:, 0] / 255
    means = [(x[t - 1] + x[t + 1]) / 2 for t in range(1, 22)]
    expected = [literal_patch_score(abs(x[t] - means[t - 1]), 8) for t in range(1, 22)]
    assert np.allclose(scores, [expected[0], *expected, expected[-1]], rtol=1e-5)


def test_flow_magnitude_is_how_far_pixels_moved_since_the_frame_before(small_settings):
    clip = a_clip(frames=19)
    scores = scorer_of(settings_of(small_settings, "optical-flow")).clip(clip).scores
    lengths = [np.hypot(*optical_flow(clip[t - 1], clip[t], "dis")) for t in range(1, 19)]
    expected = [literal_patch_score(length, 8) for length in lengths]
    assert np.allclose(scores, [expected[0], *expected], rtol=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_nothing_scores_where_nothing_moves(name, small_settings):
    clip = np.repeat(a_clip(frames=1), 6, axis=0)
    assert not scorer_of(settings_of(small_settings, name)).clip(clip).scores.any()


@pytest.mark.parametrize("name", METHODS)
def test_ignored_pixels_count_nothing(name, small_settings):
    settings = settings_of(small_settings, name)
    scorer = method_of(settings).scorer(new_run(settings), np.ones((32, 32), bool))
    scores = scorer.clip(a_clip(frames=20)).scores
    assert len(scores) == 20 and not scores.any()


@pytest.mark.parametrize("name", METHODS)
def test_a_stream_has_the_scores_of_the_clip(name, small_settings):
    scorer, clip = scorer_of(settings_of(small_settings, name)), a_clip(frames=20)
    answers = [scorer.push(frame) for frame in clip] + scorer.finish()
    scores = [one.score for answer in answers if answer for one in answer.each()]
    assert np.allclose(scores, scorer.clip(clip).scores, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_a_baseline_is_recorded_as_any_run_and_has_learnt_nothing(name, small_settings, small_data):
    settings = settings_of(small_settings, name)
    run = pipeline.train(settings, small_data, progress=False)
    record = pipeline.score(settings, small_data, run, progress=False)
    assert record.facts["parameters"] == 0 and not record.is_trained
    assert 0 <= record.auc("median") <= 1 and settings.method in record.name
    assert not list(settings.run_folder.glob("checkpoint*"))
    again = pipeline.score(settings, small_data, fit(settings, small_data, progress=False))
    assert all(np.array_equal(again.scores[n], s) for n, s in record.scores.items())


def test_with_no_epoch_a_network_stays_as_it_was_drawn(small_settings, small_data):
    settings = small_settings(epochs=0)
    run = pipeline.train(settings, small_data, progress=False)
    record = pipeline.score(settings, small_data, run, progress=False)
    model, clip = new_run(settings).model, small_data.testing["01"]
    assert np.array_equal(score_clip(model, clip, settings.patch_size), record.scores["01"])
    assert run.history["total"] == [] and not record.is_trained


def test_what_a_baseline_cannot_be_is_reported(small_settings):
    with pytest.raises(DDLError, match="neighbour-mean learns nothing.*set epochs to 0"):
        method_of(small_settings(method="neighbour-mean"))
    with pytest.raises(DDLError, match="'distance' needs frames, which method optical-flow"):
        method_of(small_settings(method="optical-flow", epochs=0))
    for name, least in (("frame-difference", 2), ("neighbour-mean", 3), ("optical-flow", 2)):
        scorer = scorer_of(settings_of(small_settings, name))
        with pytest.raises(DDLError, match=f"expected at least {least}, a window"):
            scorer.clip(a_clip(frames=least - 1))
