"""A stream gives what offline scoring gives, frame by frame, and keeps no more than a window."""

import weakref

import numpy as np
import pytest
import torch
from support.scoring import a_clip, a_model

from ddllib import Conv3DSkipUNet, DDLError, UNet, score_clip
from ddllib.camera.running_median import RunningMedian
from ddllib.evaluation import apply_protocol
from ddllib.scoring import Scorer
from ddllib.streaming import StreamScorer, push_together

PATCH = 4


def stream(scorer, clip):
    """Every answer to a whole clip, one for each frame."""
    answers = [scorer.push(frame) for frame in clip]
    return [one for answer in [*answers, *scorer.finish()] if answer for one in answer.each()]


def a_long_model(preset="released", latent_dim=8):
    return Conv3DSkipUNet(preset, latent_dim, temporal=5)


def a_model_of_frames_apart(preset="released", latent_dim=8):
    return Conv3DSkipUNet(preset, latent_dim, temporal=2, frame_step=4)


@pytest.mark.parametrize("kind", [Conv3DSkipUNet, UNet, a_long_model, a_model_of_frames_apart])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_pushed_clip_scores_as_offline_edges_included(kind, channels):
    model, clip = a_model(kind), a_clip(frames=12, channels=channels)
    answers = stream(StreamScorer(model, PATCH), clip)
    assert [answer.index for answer in answers] == list(range(len(clip)))
    scores = [answer.score for answer in answers]
    assert np.allclose(scores, score_clip(model, clip, PATCH), atol=1e-5)
    assert np.ptp(scores) > 1e-3  # else any order would pass


@pytest.mark.parametrize(
    "kind, late", [(Conv3DSkipUNet, 1), (UNet, 0), (a_long_model, 2), (a_model_of_frames_apart, 2)]
)
def test_an_answer_comes_half_a_window_late_and_never_later(kind, late):
    scorer, clip = StreamScorer(a_model(kind), PATCH), a_clip(frames=9)
    answers = [scorer.push(frame) for frame in clip]
    assert [a.index if a else None for a in answers] == [
        t - late if t >= 2 * late else None for t in range(9)
    ]
    assert [a.repeats for a in answers if a] == [late] + [0] * (8 - 2 * late)


def test_an_answer_brings_its_frame_map_and_reconstruction():
    model, clip = a_model(), a_clip(frames=6, channels=3)
    (_, y), maps = next(Scorer(model, PATCH).rebuild(clip)), {}
    score_clip(model, clip, PATCH, on_maps=lambda t, m: maps.update(enumerate(m, start=t)))
    for answer in filter(None, map(StreamScorer(model, PATCH).push, clip)):
        assert np.array_equal(answer.frame, clip[answer.index])
        assert answer.map.dtype == np.float32
        assert np.allclose(answer.map, maps[answer.index], atol=1e-5)
        rebuilt = (y[answer.index - 1] * 255).numpy()
        assert answer.reconstruction.dtype == np.uint8
        assert np.abs(answer.reconstruction - rebuilt).max() < 0.51


def test_a_frame_is_copied_so_that_a_source_may_reuse_its_array():
    model, clip = a_model(), a_clip()
    scorer, buffer, answers = StreamScorer(model, PATCH), np.empty_like(a_clip()[0]), []
    for frame in clip:
        buffer[:] = frame
        answers.append(scorer.push(buffer))
    assert np.array_equal(answers[4].frame, clip[3])


def test_no_window_spans_a_reset():
    model, first, second = a_model(), a_clip(seed=1), a_clip(seed=2)
    scorer = StreamScorer(model, PATCH)
    for frame in first:
        scorer.push(frame)
    scorer.reset()
    answers = stream(scorer, second)
    assert [answer.index for answer in answers] == list(range(9, 18))
    expected = score_clip(model, second, PATCH)
    assert np.allclose([answer.score for answer in answers], expected, atol=1e-5)
    spanning = score_clip(model, np.concatenate([first, second]), PATCH)[9:]
    assert not np.allclose(spanning, expected, atol=1e-5)


def test_too_few_frames_for_a_window_have_no_score():
    scorer = StreamScorer(a_model(), PATCH)
    assert stream(scorer, a_clip(frames=2)) == [] == scorer.finish()


def test_ignored_pixels_count_nothing_in_either_way_of_scoring():
    model, clip, ignore = a_model(), a_clip(), np.zeros((32, 32), bool)
    ignore[:, 8:] = True
    other_clip = clip.copy()
    other_clip[:, :, :, 31] = 255 - other_clip[:, :, :, 31]
    answers = stream(StreamScorer(model, PATCH, ignore=ignore), other_clip)
    assert all(not a.map[ignore].any() and a.map[~ignore].all() for a in answers)
    scores, maps = [a.score for a in answers], []
    offline = score_clip(
        model, other_clip, PATCH, on_maps=lambda t, m: maps.append(m), ignore=ignore
    )
    assert np.allclose(scores, offline, atol=1e-5)
    assert not maps[0][:, ignore].any()
    whole = score_clip(model, other_clip, PATCH)
    assert (offline <= whole).all() and (offline < whole).sum() > 3


def test_a_mask_of_another_size_is_reported():
    scorer = StreamScorer(a_model(), PATCH, ignore=np.zeros((16, 16), bool))
    with pytest.raises(DDLError, match="16x16 and 32x32"):
        stream(scorer, a_clip())


def test_bfloat16_stays_near():
    model, clip = a_model(), a_clip()
    exact, near = (StreamScorer(model, PATCH, p) for p in ("float32", "bfloat16"))
    pairs = zip(stream(exact, clip), stream(near, clip), strict=True)
    assert all(a.score == pytest.approx(b.score, rel=0.05) for a, b in pairs)


def test_the_model_that_is_given_is_left_as_it_was():
    model = a_model().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    stream(StreamScorer(model, PATCH), a_clip())
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_each_frame_is_encoded_once():
    scorer, counts = StreamScorer(a_model(), PATCH), []
    scorer.model.encoder.register_forward_hook(lambda _, x, y: counts.append(len(x[0])))
    stream(scorer, a_clip(frames=9))
    assert counts == [1] * 9


def test_a_long_stream_keeps_no_more_than_a_window():
    scorer, rng, references = StreamScorer(a_model(), PATCH), np.random.default_rng(0), []
    scorer.model.encoder.register_forward_hook(
        lambda _, x, features: references.extend(map(weakref.ref, features))
    )
    for _ in range(40):
        answer = scorer.push(rng.integers(0, 256, (1, 32, 32), dtype=np.uint8))
        if answer:
            references += [weakref.ref(answer.frame), weakref.ref(answer.map)]
    del answer
    alive = sum(reference() is not None for reference in references)
    assert len(references) > 200 and alive <= 3 * 4 + 2 + 2  # features, frames, the last map


@pytest.mark.parametrize(
    "frame, word",
    [
        (np.zeros((1, 32, 32), np.float32), "float32"),
        (np.zeros((32, 32), np.uint8), r"uint8 \(32, 32\)"),
        (None, "expected uint8"),
        (np.zeros((2, 32, 32), np.uint8), "2 channels; expected 1 or 3"),
        (np.zeros((1, 30, 32), np.uint8), "multiples of 16"),
        (np.zeros((1, 48, 32), np.uint8), "those before it are 1x32x32"),
        (np.zeros((3, 32, 32), np.uint8), "those before it are 1x32x32"),
    ],
)
def test_a_frame_that_does_not_fit_is_reported_and_leaves_the_stream_as_it_was(frame, word):
    model, clip = a_model(), a_clip()
    scorer, answers = StreamScorer(model, PATCH), []
    for t, good in enumerate(clip):
        answers.append(scorer.push(good))
        if t == 4:
            with pytest.raises(DDLError, match=word):
                scorer.push(frame)
    scores = [answer.score for answer in answers if answer]
    assert np.allclose(scores, score_clip(model, clip, PATCH)[1:-1], atol=1e-5)


def test_after_a_reset_another_size_is_welcome():
    scorer = StreamScorer(a_model(), PATCH)
    stream(scorer, a_clip())
    assert len(stream(scorer, a_clip(side=48))) == 9


@pytest.mark.parametrize("count", [1, 2, 8, 9, 16, 17, 18, 60])
def test_the_running_median_is_the_offline_one_exactly(count):
    values = np.random.default_rng(count).normal(size=count).astype(np.float32)
    median = RunningMedian()
    results = [median.push(value) for value in values]
    assert results[: median.delay] == [None] * min(count, 8)
    answers = [answer for answer in results if answer is not None] + median.finish()
    assert answers == apply_protocol(values, "median").tolist()
    assert median.finish() == []
    assert median.push(2.0) is None  # nothing of before is left


def test_a_median_needs_a_middle():
    with pytest.raises(DDLError, match="width is 4; expected an odd number"):
        RunningMedian(4)


def sharing(model, count):
    """Scorers with one model, each with a mask and a patch of its own."""
    scorers = []
    for k in range(count):
        mask = np.zeros((32, 32), bool)
        mask[: 4 * k] = True
        scorers.append(StreamScorer(model, 2 + 2 * k, ignore=mask if k else None))
        scorers[k].model = scorers[0].model
    return scorers


def a_model_of_frames_apart(preset="released", latent_dim=8):
    return Conv3DSkipUNet(preset, latent_dim, temporal=2, frame_step=4)


@pytest.mark.parametrize("kind", [Conv3DSkipUNet, UNet, a_long_model, a_model_of_frames_apart])
def test_frames_pushed_together_have_the_scores_of_frames_pushed_alone(kind):
    model, clips = a_model(kind), [a_clip(frames=12, seed=k) for k in range(3)]
    together, alone = sharing(model, 3), sharing(model, 3)
    for t in range(12):
        here = [k for k in range(3) if not (k == 1 and t < 5)]  # one camera begins later
        if t == 8:
            together[2].reset(), alone[2].reset()
        answers = push_together([together[k] for k in here], [clips[k][t] for k in here])
        for k, answer in zip(here, answers, strict=True):
            expected = alone[k].push(clips[k][t])
            assert (answer is None) == (expected is None)
            if answer:
                assert (answer.index, answer.repeats) == (expected.index, expected.repeats)
                assert answer.score == pytest.approx(expected.score, abs=1e-6)
                assert np.allclose(answer.map, expected.map, atol=1e-5)
                assert np.array_equal(answer.frame, expected.frame)


def test_a_scorer_that_waits_holds_no_features_of_other_cameras():
    scorers = sharing(a_model(), 3)
    push_together(scorers, [a_clip(frames=1, seed=k)[0] for k in range(3)])
    for scorer in scorers:
        for level in scorer._window[0][2]:
            assert level.untyped_storage().nbytes() == level.nbytes
