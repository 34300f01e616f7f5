"""The score relative to contrast: its definition, its limits, and where its constant comes from."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.scoring import a_clip, a_model

from ddllib import DDLError, fit, pipeline
from ddllib.calibration import NAME, calibrate
from ddllib.camera import assembly, handover
from ddllib.methods import method_of
from ddllib.score_terms.contrast import LEAST, Contrast
from ddllib.score_terms.distance import Distance
from ddllib.scoring import Scorer
from ddllib.streaming import StreamScorer

PATCH, SIDE = 8, 32
UNLEARNT = {"epochs": 0, "patch": PATCH, "score": "contrast"}


def a_pair(seed=0, frames=3, channels=3):
    random = torch.Generator().manual_seed(seed)
    pair = torch.rand((2, frames, channels, SIDE, SIDE), generator=random)
    return pair[0], (0.9 * pair[0] + 0.1 * pair[1])


def contrast(constant):
    term = Contrast()
    term.constant = constant
    return term


def places():
    """The corners of the whole patches of both grids."""
    for shift in (0, PATCH // 2):
        for i in range(shift, SIDE - PATCH + 1, PATCH):
            for j in range(shift, SIDE - PATCH + 1, PATCH):
                yield slice(i, i + PATCH), slice(j, j + PATCH)


def deviation(frame, place):
    patch = np.asarray(frame, np.float64)[(slice(None), *place)]
    return np.sqrt(np.mean([channel.var() for channel in patch]))


def test_a_score_is_the_highest_error_of_a_patch_beside_its_own_contrast():
    x, y = a_pair()
    scores, maps = contrast(0.05).judge(x, y, PATCH)
    errors = Distance().maps(x, y).double().numpy()
    for k, frame in enumerate(x.numpy()):
        ratios = [errors[(k, *p)].mean() / (deviation(frame, p) + 0.05) for p in places()]
        assert float(scores[k]) == pytest.approx(max(ratios), rel=1e-5)
        assert float(maps[k, :PATCH, :PATCH].mean()) == pytest.approx(ratios[0], rel=1e-4)


def test_without_a_constant_contrast_does_not_matter():
    x, y = a_pair()
    dim = 0.4 + 0.2 * (x - 0.5), 0.4 + 0.2 * (y - 0.5)
    plain, _ = contrast(1e-7).judge(x, y, PATCH)
    scores, _ = contrast(1e-7).judge(*dim, PATCH)
    assert torch.allclose(scores, plain, rtol=1e-3)
    lower, _ = contrast(0.1).judge(*dim, PATCH)
    higher, _ = contrast(0.1).judge(x, y, PATCH)
    assert (lower < 0.8 * higher).all()


def test_with_a_large_constant_it_is_the_distance():
    x, y = a_pair()
    scores, maps = contrast(1e4).judge(x, y, PATCH)
    plain, plain_maps = Distance().judge(x, y, PATCH)
    assert torch.allclose(1e4 * scores, plain, rtol=1e-4)
    assert torch.allclose(1e4 * maps, plain_maps, rtol=1e-4)


def test_the_constant_is_the_mean_deviation_over_patches_of_frames():
    x, _ = a_pair(frames=5)
    x[:, :, :20] *= 0.3
    literal = np.mean([deviation(frame, place) for frame in x.numpy() for place in places()])
    assert Contrast().measure([x[:2], x[2:]], PATCH, None) == pytest.approx(literal, rel=1e-5)
    assert Contrast().measure([torch.zeros_like(x)], PATCH, None) == LEAST


def test_channels_that_repeat_a_grey_frame_change_nothing():
    grey, y = a_pair(channels=1)
    views = grey.expand(-1, 3, -1, -1), y.expand(-1, 3, -1, -1)
    copies = tuple(view.contiguous() for view in views)
    one, other = (contrast(0.1).judge(*pair, PATCH)[0] for pair in (views, copies))
    assert torch.allclose(one, other, rtol=1e-5)


def test_what_is_ignored_changes_neither_constant_nor_score():
    x, y = a_pair()
    ignore = np.zeros((SIDE, SIDE), bool)
    ignore[4:20, 4:20] = True
    other = x.clone()
    other[..., 4:20, 4:20] = 0
    first, second = (Contrast().measure([frames], PATCH, ignore) for frames in (x, other))
    assert first == pytest.approx(second, rel=1e-5)
    scores = [contrast(0.1).judge(frames, y, PATCH, ignore)[0] for frames in (x, other)]
    assert torch.allclose(*scores, rtol=1e-5)


@pytest.mark.parametrize("method", ["frame-difference", "neighbour-mean"])
def test_a_stream_has_the_scores_of_the_clip(method, small_settings, small_data):
    settings = small_settings(method=method, **UNLEARNT)
    run = fit(settings, small_data, progress=False)
    scorer, clip = pipeline.scorer_of(settings, small_data, run), small_data.testing["01"]
    answers = [scorer.push(frame) for frame in clip] + scorer.finish()
    scores = [one.score for answer in answers if answer for one in answer.each()]
    assert np.allclose(scores, scorer.clip(clip).scores, atol=1e-6) and len(set(scores)) > 9


def test_a_stream_of_a_model_has_the_scores_of_the_clip():
    scorer, clip = StreamScorer(a_model(), PATCH, score="contrast"), a_clip(frames=12)
    scorer.terms.calibrate({"contrast": {"constant": 0.1}})
    answers = [scorer.push(frame) for frame in clip] + scorer.finish()
    scores = [one.score for answer in answers if answer for one in answer.each()]
    assert np.allclose(scores, scorer.clip(clip).scores, rtol=1e-5)


@pytest.mark.parametrize("method", ["frame-difference", "neighbour-mean", "ddl"])
def test_training_footage_alone_decides_the_constant(method, small_settings, small_data):
    settings = small_settings(method=method, **UNLEARNT)
    run = pipeline.train(settings, small_data, progress=False)
    record = pipeline.score(settings, small_data, run, progress=False)
    frames = np.concatenate(list(small_data.training.values())) / 255
    literal = np.mean([deviation(frame, place) for frame in frames for place in places()])
    assert record.facts["calibration"]["contrast"]["constant"] == pytest.approx(literal, rel=1e-4)
    held_out = replace(settings, held_out=1)
    part = pipeline.scorer_of(held_out, small_data, replace(run, folder=None)).terms.calibration
    assert part != record.facts["calibration"]


def test_a_copied_run_scores_by_the_constant_that_it_keeps(small_settings, small_data, tmp_path):
    settings = small_settings(score="contrast", patch=PATCH)
    run = pipeline.train(settings, small_data, progress=False)
    scores = pipeline.score(settings, small_data, run, progress=False).scores
    shutil.copytree(run.folder, tmp_path / "copy")
    run_copy = replace(run, folder=tmp_path / "copy")
    facts = handover.known_of(settings, small_data)
    scorer = assembly.scorer(settings, facts, run_copy)
    assert np.array_equal(scorer.clip(small_data.testing["01"]).scores, scores["01"])
    (run_copy.folder / NAME).write_text("{}")
    with pytest.raises(DDLError, match="keeps no constants for the score 'contrast'.*chapter 5"):
        assembly.scorer(settings, facts, run_copy)
    (run_copy.folder / NAME).write_text("not JSON")
    again = pipeline.scorer_of(settings, small_data, run_copy)
    assert again.terms.calibration == scorer.terms.calibration


def test_constants_kept_as_plain_numbers_are_read(small_settings, small_data):
    settings = small_settings(score="contrast", patch=PATCH)
    run = pipeline.train(settings, small_data, progress=False)
    calibration = pipeline.scorer_of(settings, small_data, run).terms.calibration
    path = run.folder / NAME
    (key,) = json.loads(path.read_text())
    path.write_text(json.dumps({key: {"contrast": calibration["contrast"]["constant"]}}))
    scorer = assembly.scorer(settings, handover.known_of(settings, small_data), run)
    assert scorer.terms.calibration == calibration


def test_another_patch_is_measured_anew(small_settings, small_data):
    settings = small_settings(method="neighbour-mean", **UNLEARNT)
    run = pipeline.train(settings, small_data, progress=False)
    first, second = (
        pipeline.scorer_of(replace(settings, patch=patch), small_data, run).terms.calibration
        for patch in (PATCH, 4)
    )
    assert first != second
    scorer = pipeline.scorer_of(settings, small_data, run)
    nothing = SimpleNamespace(training_digest=small_data.training_digest)
    calibrate(scorer, settings, nothing, run)  # kept: no footage is needed
    assert scorer.terms.calibration == first


def test_a_scorer_without_its_constant_says_so(small_settings):
    scorer = Scorer(a_model(), PATCH, score="contrast")
    with pytest.raises(DDLError, match="contrast has no constant yet"):
        scorer.clip(a_clip())
    one, other = Scorer(a_model(), PATCH, score="contrast"), scorer
    one.terms.calibrate({"contrast": {"constant": 0.5}})
    assert one.identity != other.identity


def test_flow_has_no_contrast(small_settings):
    with pytest.raises(DDLError, match="'contrast' needs frames"):
        method_of(small_settings(method="optical-flow", **UNLEARNT))
