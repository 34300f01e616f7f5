"""Terms averaged over time: the mean of three frames' errors, before the highest patch is taken."""

import numpy as np
import pytest
import torch
from support.scoring import a_clip, a_model, literal_patch_score

from ddllib import DDLError
from ddllib.methods import method_of
from ddllib.score_terms.contrast import Contrast
from ddllib.scoring import Scorer
from ddllib.streaming import StreamScorer

PATCH = 8
TERMS = ["averaged distance", "averaged contrast"]


def scorer_of(score):
    scorer = StreamScorer(a_model(), PATCH, score=score)
    scorer.terms.calibrate({score: {"constant": 0.1}} if "contrast" in score else {})
    return scorer


def errors(clip):
    """Distance maps of the frames that have a window: the colours of a grey clip are equal."""
    (x, y), *_ = Scorer(a_model(), PATCH).rebuild(clip)
    return np.sqrt((x - y).square().mean(1).numpy())


def three(values, t):
    """A frame's values and those of the two before it; the first stands for missing ones."""
    return [values[max(t - back, 0)] for back in (2, 1, 0)]


def test_the_distance_is_averaged_over_three_frames_before_patches_are_compared():
    clip = a_clip(frames=9)
    maps = errors(clip)
    expected = [literal_patch_score(np.mean(three(maps, t), axis=0), PATCH) for t in range(7)]
    scores = scorer_of("averaged distance").clip(clip).scores
    assert np.allclose(scores, [expected[0], *expected, expected[-1]], rtol=1e-4)


def test_the_ratio_to_contrast_is_averaged_patch_by_patch():
    clip = a_clip(frames=9)
    (x, y), *_ = Scorer(a_model(), PATCH).rebuild(clip)
    term = Contrast()
    term.constant = 0.1
    grids, _ = term.ratios(x, y, PATCH, None)
    expected = [
        max(np.mean(three(grid.numpy(), t), axis=0).max() for grid in grids) for t in range(7)
    ]
    scores = scorer_of("averaged contrast").clip(clip).scores
    assert np.allclose(scores, [expected[0], *expected, expected[-1]], rtol=1e-4)


def test_an_error_in_one_frame_counts_a_third_of_one_that_stays():
    scorer = StreamScorer(a_model(), PATCH, score="averaged distance")
    x, flash = torch.zeros((9, 3, 32, 32)), torch.zeros((9, 3, 32, 32))
    flash[4, :, 8:16, 8:16] = 0.6
    stays = flash[4:5].expand(9, -1, -1, -1)
    short, long = (scorer.judge(**scorer._pairs((x, y), None)).scores for y in (flash, stays))
    assert float(short.max()) == pytest.approx(float(long.max()) / 3, rel=1e-5)
    assert short[4:7].min() > 0 and not short[:4].any() and not short[7:].any()


@pytest.mark.parametrize("score", TERMS)
def test_a_stream_has_the_scores_of_the_clip_and_chunks_do_not_show(score):
    scorer, clip = scorer_of(score), a_clip(frames=40)
    whole = scorer.clip(clip).scores
    answers = [scorer.push(frame) for frame in clip] + scorer.finish()
    streamed = [one.score for answer in answers if answer for one in answer.each()]
    assert np.allclose(streamed, whole, rtol=1e-4, atol=1e-6)
    assert len(np.unique(whole)) > 35


@pytest.mark.parametrize("score", TERMS)
def test_flow_and_windows_of_many_frames_cannot_be_averaged(score, small_settings):
    for values in ({"method": "optical-flow", "epochs": 0}, {"method": "stpa", "temporal": 16}):
        with pytest.raises(DDLError, match="needs recent"):
            method_of(small_settings(score=score, **values))
