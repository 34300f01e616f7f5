"""Held-out pseudo-anomalies: what is altered, what is not, and that no test clip is touched."""

import numpy as np
import pytest

from ddllib import DDLError, fit, pipeline
from ddllib.experiments.foretelling import mean_held_out
from ddllib.figures.chapter import pseudo_anomaly
from ddllib.pseudo_anomalies import held_out
from ddllib.pseudo_anomalies.held_out import KINDS, altered, altered_clips, judge_held_out, split
from ddllib.settings import load_profile

OBJECTS, PACES = held_out.OBJECTS, KINDS[6:]


@pytest.fixture
def first(small_data):
    """Clip, its tracks and a donor."""
    tracks = small_data.tracks
    rows = tracks[(tracks["split"] == "training") & (tracks["clip"] == "01")]
    return small_data.training["01"], rows, small_data.training["02"]


def test_held_out_clips_are_spread_and_not_trained_on(small_data):
    names = [f"{k:02d}" for k in range(1, 17)]
    small_data.training = dict.fromkeys(names, small_data.training["01"])
    kept, held = split(small_data, 4)
    assert list(held) == ["03", "07", "11", "15"] and len(kept) == 12
    assert not set(kept) & set(held)
    assert split(small_data, 0) == (small_data.training, {})


@pytest.mark.parametrize("count", [2, 5])
def test_some_clips_must_stay(small_data, count):
    with pytest.raises(DDLError, match="held_out is"):
        split(small_data, count)


@pytest.mark.parametrize("kind", OBJECTS)
def test_an_object_is_altered_in_its_box_and_nowhere_else(first, kind):
    clip, rows, donor = first
    before = np.array(clip)
    frames, labels = altered(kind, clip, rows, donor, seed=0)
    assert np.array_equal(clip, before)
    changed = (frames != clip).any(axis=1)
    assert 9 <= labels.sum() <= len(clip) // 2
    assert not changed[labels == 0].any() and changed[labels == 1].any(axis=(1, 2)).all()
    height = slice(0, 32) if kind == "shifted object" else slice(12, 24)
    outside = changed.copy()
    outside[:, height, :] = False
    assert not outside.any()
    again, _ = altered(kind, clip, rows, donor, seed=0)
    assert np.array_equal(frames, again)


def test_noise_is_blended_at_its_weight(first):
    clip, rows, donor = first
    far = {
        weight: np.abs(
            altered(f"noise {weight}", clip, rows, donor, 0)[0].astype(int) - clip
        ).mean()
        for weight in (0.2, 0.5)
    }
    assert 0 < far[0.2] < far[0.5]


@pytest.mark.parametrize("kind", PACES)
def test_paced_frames_are_the_clips_own(first, kind):
    clip, rows, donor = first
    frames, labels = altered(kind, clip, rows, donor, seed=0)
    assert len(clip) == 20  # frames 6 to 12, seven of them, change their pace
    assert labels.sum() == (3 if kind == "skipped frames" else 21)
    assert len(frames) == len(labels) == 13 + labels.sum()
    assert np.array_equal(frames[labels == 0], np.delete(clip, np.s_[6:13], axis=0))
    assert all(any(np.array_equal(f, g) for g in clip) for f in frames[labels == 1])


def test_a_clip_without_a_track_that_lasts_is_left_out(first):
    clip, rows, donor = first
    assert altered("foreign patch", clip, rows[rows["frame"] % 5 > 0], donor, 0) is None


def test_no_track_at_all_is_an_error(small_data):
    small_data.tracks = small_data.tracks.iloc[:0]
    with pytest.raises(DDLError, match="no held-out clip has a track"):
        list(altered_clips(small_data, 1, small_data.tracks))


def test_every_kind_gets_its_auc(small_data):
    made = {
        name: (frames, labels)
        for name, frames, labels in altered_clips(small_data, 1, small_data.tracks)
    }
    labels = {name: truth for name, (_, truth) in made.items()}
    aucs = judge_held_out({n: t.astype(float) for n, t in labels.items()}, labels, "raw")
    assert aucs == dict.fromkeys(KINDS, 1.0)
    halves = {n: t * (n.split("/")[0] in list(KINDS)[:4]) for n, t in labels.items()}
    assert mean_held_out(judge_held_out(halves, labels, "raw")) == 0.75


def test_a_run_that_holds_out_scores_no_test_clip(small_settings, small_data):
    settings = small_settings(held_out=1)
    assert settings.run_folder.name.endswith("held_out-1-precision-float32")
    small_data.testing = {name: None for name in small_data.testing}
    run = fit(settings, small_data, progress=False)
    record = pipeline.score(settings, small_data, run, progress=False)
    assert record.metrics == {} and {n.split("/")[0] for n in record.scores} == set(KINDS)
    again = judge_held_out(record.scores, record.labels, "median")
    assert record.facts["held_out"]["median"] == again
    drawn = pseudo_anomaly({"DDL": record, "another": None}, "noise 0.5")
    assert drawn["titles"] == ["DDL, seed 0\nnormal", "DDL, seed 0\nnoise 0.5"]
    normal, pseudo = drawn["frames"]
    assert normal.shape == pseudo.shape == (3, 32, 32) and not np.array_equal(normal, pseudo)
    assert pseudo_anomaly({}, "noise 0.5")["frames"] == []
    assert len(run.history["step"]) == 2 * 2  # 18 windows of one clip, 10 a step, two epochs


@pytest.mark.slow
def test_runs_on_other_boxes_are_judged_by_the_same_frames(small_settings):
    """The profile's detector says where held-out clips are altered, whatever a run trained on."""
    made = []
    for detector in ("motion", "none"):
        settings = small_settings(held_out=1, detector=detector, epochs=1, mode="none")
        data = pipeline.prepare(settings, progress=False)
        run = fit(settings, data, progress=False)
        made.append((data, pipeline.score(settings, data, run, progress=False)))
    (one, first), (other, second) = made
    assert not one.tracks.equals(other.tracks)
    assert pipeline.judged_by(settings).detector == load_profile("tiny").detector == "motion"
    for name, labels in first.labels.items():
        assert np.array_equal(labels, second.labels[name])
    for kind in held_out.SHOWN:
        assert np.array_equal(first.shown[f"{kind}-frame"], second.shown[f"{kind}-frame"])
