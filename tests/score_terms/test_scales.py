"""Terms of a score can be brought to one scale by their scores of normal footage."""

import json
from dataclasses import replace

import numpy as np
import pytest
from support.scoring import a_clip, a_model

from ddllib import DDLError, pipeline
from ddllib.calibration import MEASURED, NAME, QUARTILES, level_and_spread, measure
from ddllib.camera import assembly, handover
from ddllib.methods import method_of
from ddllib.scoring import CHUNK, Scorer

PATCH = 8
SUM = {"score": "distance + 0.5 motion", "patch": PATCH}
SCALED = {**SUM, "scaled_terms": True}


def test_a_term_is_scaled_by_median_and_quartiles():
    values = np.array([1, 2, 3, 4, 1000], np.float32)
    assert level_and_spread(values) == (3, pytest.approx(2 / QUARTILES))
    normal = np.random.default_rng(0).normal(5, 2, 100_000)
    assert level_and_spread(normal) == pytest.approx((5, 2), rel=0.02)


def test_equal_scores_are_scaled_by_one():
    assert level_and_spread(np.full(9, 2.5)) == (2.5, 1)


def test_a_sum_is_that_of_scaled_terms():
    scorer = Scorer(a_model(), **SUM, scaled=True)
    measure(scorer, {"normal": a_clip(frames=60, seed=1)})
    result = scorer.clip(a_clip(frames=9))
    scaled_terms = {
        name: (values - scorer.terms.scales[name][0]) / scorer.terms.scales[name][1]
        for name, values in result.terms.items()
    }
    assert np.allclose(
        result.scores, scaled_terms["distance"] + 0.5 * scaled_terms["motion"], atol=1e-4
    )


def test_the_scale_is_that_of_normal_scores():
    clip = a_clip(frames=60)
    scorer = Scorer(a_model(), **SUM, scaled=True)
    measure(scorer, {"normal": clip})
    level, spread = level_and_spread(Scorer(a_model(), PATCH).clip(clip).scores[1:-1])
    assert scorer.terms.scales["distance"] == (
        pytest.approx(level, rel=0.02),
        pytest.approx(spread, 0.3),
    )
    assert level > 0.1


def test_terms_are_added_as_they_are_unless_it_is_asked_for():
    scorer = Scorer(a_model(), **SUM)
    assert not scorer.terms.needs_calibration
    measure(scorer, {"normal": a_clip(frames=60, seed=1)})
    result = scorer.clip(a_clip())
    expected = result.terms["distance"] + 0.5 * result.terms["motion"]
    assert not scorer.terms.scales and np.allclose(result.scores, expected)


def test_long_footage_is_measured_by_a_part_of_it(monkeypatch):
    lengths, scorer = [], Scorer(a_model(), **SUM, scaled=True)
    judge = scorer.judge
    monkeypatch.setattr(
        scorer, "judge", lambda **p: lengths.append(len(p["frames"][0])) or judge(**p)
    )
    frame = a_clip(frames=1)[0]
    measure(scorer, {f"{k}": np.broadcast_to(frame, (700, *frame.shape)) for k in range(3)})
    assert 0.9 * MEASURED < sum(lengths) < 1.3 * MEASURED and max(lengths) <= CHUNK


def test_clips_without_a_window_are_reported():
    with pytest.raises(DDLError, match="no training clip is as long as a window"):
        measure(Scorer(a_model(), **SUM, scaled=True), {"short": a_clip(frames=2)})


def test_the_record_and_the_folder_keep_the_scales(small_settings, small_data):
    settings = small_settings(**SCALED)
    run = pipeline.train(settings, small_data, progress=False)
    record = pipeline.score(settings, small_data, run, progress=False)
    in_record = record.facts["calibration"]
    assert in_record["distance"]["scale"][1] > 0 and set(record.terms) > {"motion/01"}
    (in_folder,) = json.loads((run.folder / NAME).read_text()).values()
    assert in_folder == in_record
    scorer = assembly.scorer(settings, handover.known_of(settings, small_data), run)
    assert np.array_equal(scorer.clip(small_data.testing["01"]).scores, record.scores["01"])
    weighted = replace(settings, score="2 distance + 0.5 motion")
    again = pipeline.scorer_of(weighted, small_data, run)
    assert again.terms.calibration == in_record  # weights come after the scale


def test_a_sum_that_is_not_scaled_does_not_pass_for_one_that_is(small_settings, small_data):
    plain = small_settings(score="contrast + motion", patch=PATCH)
    run = pipeline.train(plain, small_data, progress=False)
    assert "scale" not in pipeline.scorer_of(plain, small_data, run).terms.calibration["contrast"]
    scorer = pipeline.scorer_of(replace(plain, scaled_terms=True), small_data, run)
    assert (
        scorer.terms.calibration.keys() == {"contrast", "motion"} and len(scorer.terms.scales) == 2
    )


def test_stpa_scales_by_itself(small_settings):
    with pytest.raises(DDLError, match="stpa always scales its terms"):
        method_of(small_settings(method="stpa", temporal=16, score="psnr", scaled_terms=True))


@pytest.mark.parametrize(
    "content",
    [
        {"distance": {"scale": [0.1, 0.0]}},
        {"distance": {"scale": [0.1]}},
        {"distance": {"scale": [0.1, float("inf")]}},
        {"distance": {"scale": "ab"}},
        {"distance": {"scale": 0.1}},
        {"distance": [0.1, 0.2]},
        {"distance": {"constant": -0.5}},
        {"distance": {"other": 1.0}},
        [0.1],
    ],
)
def test_what_is_damaged_is_measured_anew(content, small_settings, small_data):
    settings = small_settings(**SCALED)
    run = pipeline.train(settings, small_data, progress=False)
    first = pipeline.scorer_of(settings, small_data, run).terms.calibration
    path = run.folder / NAME
    (key,) = json.loads(path.read_text())
    path.write_text(json.dumps({key: content}))
    assert pipeline.scorer_of(settings, small_data, run).terms.calibration == first
