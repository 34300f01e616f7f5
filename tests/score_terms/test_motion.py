"""The term of motion: errors that stay as they are cancel, and a gap begins anew."""

import numpy as np
import pytest
import torch
from support.scoring import a_clip, a_model, literal_patch_score

from ddllib import DDLError
from ddllib.methods import method_of
from ddllib.score_terms.base import recent
from ddllib.score_terms.motion import Motion
from ddllib.scoring import Scorer
from ddllib.streaming import StreamScorer

PATCH = 8


def stream(scorer, clip):
    answers = [scorer.push(frame) for frame in clip] + scorer.finish()
    return [one.score for answer in answers if answer for one in answer.each()]


def test_it_is_the_distance_of_two_changes():
    model, clip = a_model(), a_clip(frames=9)
    scores = Scorer(model, PATCH, score="motion").clip(clip).scores
    (x, y), *_ = Scorer(model, PATCH).rebuild(clip)
    error = (x - y).numpy()
    changes = [np.sqrt(((b - a) ** 2).mean(axis=0)) for a, b in zip(error, error[1:], strict=False)]
    expected = [0, 0, *(literal_patch_score(m, PATCH) for m in changes)]
    assert np.allclose(scores, [*expected, expected[-1]], rtol=1e-4)


def test_an_error_that_does_not_change_counts_nothing():
    random = torch.Generator().manual_seed(0)
    x, error = torch.rand((6, 3, 32, 32), generator=random), torch.rand((1, 3, 32, 32)) / 2
    pair = recent(x, None), recent(x - error, None)
    assert torch.allclose(Motion().maps(*pair), torch.zeros(6, 32, 32), atol=1e-6)
    assert Motion().maps(recent(x, None), recent(0 * x, None))[1:].mean() > 0.1


@pytest.mark.parametrize("score", ["motion", "distance + 0.5 motion"])
def test_a_stream_has_the_scores_of_the_clip_and_chunks_do_not_show(score):
    scorer, clip = StreamScorer(a_model(), PATCH, score=score), a_clip(frames=40)
    whole = scorer.clip(clip).scores
    assert np.allclose(stream(scorer, clip), whole, rtol=1e-4, atol=1e-6)
    assert len(np.unique(whole)) > 35


def test_the_first_frame_after_a_gap_has_moved_nowhere():
    scorer, clip = StreamScorer(a_model(), PATCH, score="motion"), a_clip(frames=9)
    first = stream(scorer, clip)
    assert first[:2] == [0, 0] and min(first[2:]) > 0
    assert stream(scorer, clip) == first  # finish was a gap
    for frame in clip[:5]:
        scorer.push(frame)
    scorer.reset()
    assert stream(scorer, clip) == first


def test_a_clip_scored_within_a_stream_does_not_disturb_it():
    scorer, clip = StreamScorer(a_model(), PATCH, score="motion"), a_clip(frames=9)
    first = stream(scorer, clip)
    answers = [scorer.push(frame) for frame in clip[:6]]
    scorer.clip(a_clip(frames=9, seed=1))
    answers += [scorer.push(frame) for frame in clip[6:]] + scorer.finish()
    assert [one.score for answer in answers if answer for one in answer.each()] == first


def test_flow_and_windows_of_many_frames_have_no_such_change(small_settings):
    for values in ({"method": "optical-flow", "epochs": 0}, {"method": "stpa", "temporal": 16}):
        with pytest.raises(DDLError, match="'motion' needs recent"):
            method_of(small_settings(score="motion", **values))
