"""Held-out pseudo-anomalies: what is altered, what is not, and that no test clip is touched."""

import numpy as np
import pandas as pd
import pytest

from ddllib import DDLError, fit, pipeline
from ddllib.experiments.command import summary
from ddllib.experiments.foretelling import mean_held_out
from ddllib.figures.chapter import pseudo_anomaly
from ddllib.pseudo_anomalies import held_out
from ddllib.pseudo_anomalies.held_out import (
    EASIER,
    KINDS,
    NOISE_SIDE,
    PAIRED,
    SINGLE,
    TRACKS,
    UNALTERED,
    alterations,
    altered,
    altered_clips,
    gain,
    judge_held_out,
    sources,
    split,
)
from ddllib.records import read_record, write_record
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
    training, held_out_clips = split(small_data, 4)
    assert list(held_out_clips) == ["03", "07", "11", "15"] and len(training) == 12
    assert not set(training) & set(held_out_clips)
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
    differences = (frames != clip).any(axis=1)
    assert 9 <= labels.sum() <= len(clip) // 2
    assert not differences[labels == 0].any() and differences[labels == 1].any(axis=(1, 2)).all()
    height = slice(0, 32) if kind == "shifted object" else slice(12, 24)
    outside = differences.copy()
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


def at_another_size(first, side):
    """The same clip, tracks and donor with pixels repeated."""
    clip, rows, donor = first
    times = side // clip.shape[-1]
    larger = [c.repeat(times, axis=2).repeat(times, axis=3) for c in (clip, donor)]
    return larger[0], rows, larger[1]


def test_noise_is_the_same_at_every_working_size(first):
    """What is put in at a small size is the mean over areas of what is put in at a large one."""
    side = first[0].shape[-1]
    small, _ = altered("noise 1.0", *first, 0)
    large, _ = altered("noise 1.0", *at_another_size(first, NOISE_SIDE), 0)
    times = NOISE_SIDE // side
    means = large.reshape(*small.shape[:2], side, times, side, times).mean(axis=(3, 5))
    assert np.abs(small - means).max() < 1.5  # but for rounding to whole grey levels
    inside = small != first[0]
    assert large[inside.repeat(times, 2).repeat(times, 3)].std() > 3 * small[inside].std()


def test_several_tracks_are_altered_one_by_one(first):
    clip, rows, donor = first
    lower = rows.assign(track=2, y0=rows["y0"] + 0.25, y1=rows["y1"] + 0.25)
    upper = rows.assign(track=3, y0=0.0, y1=0.2)
    both = pd.concat([rows, lower])
    variants = list(alterations("noise 1.0", clip, both, donor, 0))
    places = {tuple((frames != clip).any(axis=(0, 1, 3))) for frames, _ in variants}
    assert len(variants) == len(places) == 2
    more = pd.concat([both, upper, upper.assign(track=4)])
    assert len(list(alterations("noise 1.0", clip, more, donor, 0))) == TRACKS
    assert len(list(alterations("skipped frames", clip, more, donor, 0))) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_is_paired_with_the_one_that_it_was_made_of(first, kind):
    clip, rows, donor = first
    frames, labels = altered(kind, clip, rows, donor, seed=0)
    numbers = sources(kind, labels, len(clip))
    assert len(numbers) == len(frames)
    same = clip[numbers] == frames
    assert same[labels == 0].all() and same.all() == (kind in PACES)


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


@pytest.fixture
def copies(small_data):
    """The frames and labels of altered clips by name, and the unaltered lengths."""
    clips = altered_clips(small_data, 1, small_data.tracks)
    return {name: (frames, labels) for name, frames, labels in clips}


def scored(clips, strange, level=0.0):
    """Scores: ``level`` where an object is altered in some copy, more where this one is."""
    usual = np.zeros(20)
    usual[np.flatnonzero(clips["noise 0.5/0/02"][1])] = level
    scores = {f"{UNALTERED}/02": usual}
    for name, (_, labels) in clips.items():
        if not name.startswith(UNALTERED):
            kind = name.split("/")[0]
            scores[name] = usual[sources(kind, labels, 20)] + labels * (kind in strange)
    return scores, {name: labels for name, (_, labels) in clips.items()}


def test_every_kind_gets_its_auc_and_the_level_of_the_unaltered_clip(copies):
    assert {name.split("/")[0] for name in copies} == {UNALTERED, *KINDS}
    verdicts = judge_held_out(*scored(copies, KINDS), "raw")
    assert verdicts == dict.fromkeys(KINDS, {"auc": 1.0, "unaltered": 0.5, "above": 1.0})
    verdicts = judge_held_out(*scored(copies, KINDS[:4]), "raw")
    assert mean_held_out({kind: gain(v) for kind, v in verdicts.items()}) == 0.25
    assert verdicts[KINDS[-1]] == {"auc": 0.5, "unaltered": 0.5, "above": 0.5}


def test_a_score_that_is_high_where_objects_are_gains_nothing_by_it(copies):
    verdict = judge_held_out(*scored(copies, (), level=3.0), "raw")["noise 0.5"]
    assert verdict["auc"] == verdict["unaltered"] > 0.9 and gain(verdict) == 0


def test_the_kinds_that_are_easier_to_reconstruct_are_among_those_that_are_judged():
    assert set(EASIER) < set(KINDS)


def test_a_run_that_holds_out_scores_no_test_clip(small_settings, small_data):
    settings = small_settings(held_out=1)
    assert settings.run_folder.name.endswith("held_out-1-precision-float32")
    small_data.testing = {name: None for name in small_data.testing}
    run = fit(settings, small_data, progress=False)
    record = pipeline.score(settings, small_data, run, progress=False)
    assert record.metrics == {} and {n.split("/")[0] for n in record.scores} == {
        UNALTERED,
        *KINDS,
    }
    assert record.judge == PAIRED
    again = judge_held_out(record.scores, record.labels, "median")
    assert record.facts["held_out"]["median"] == again
    panels = pseudo_anomaly({"DDL": record, "another": None}, "noise 0.5")
    assert panels["titles"] == ["DDL, seed 0\nnormal", "DDL, seed 0\nnoise 0.5"]
    normal, pseudo = panels["frames"]
    assert normal.shape == pseudo.shape == (3, 32, 32) and not np.array_equal(normal, pseudo)
    assert pseudo_anomaly({}, "noise 0.5")["frames"] == []
    assert len(run.history["step"]) == 2 * 2  # 18 windows of one clip, 10 a step, two epochs


def test_a_record_of_the_former_judge_is_read_and_judged_anew(small_settings, small_data):
    settings = small_settings(held_out=1)
    run = pipeline.train(settings, small_data, progress=False)
    record = pipeline.score(settings, small_data, run, progress=False)
    former = {k: v for k, v in record.facts.items() if k != "judge"}
    former["held_out"] = {"median": dict.fromkeys(KINDS, 0.75)}
    old_names = {n: s for n, s in record.scores.items() if n.startswith("noise 0.5")}
    old_labels = {n: record.labels[n] for n in old_names}
    write_record(record.folder, former, old_names, old_labels, record.shown)
    again = read_record(record.folder)
    assert again.judge == SINGLE and summary(again).count("75.0") == len(KINDS)
    new_run = pipeline.train(settings, small_data, progress=False)
    anew = pipeline.score(settings, small_data, new_run, progress=False)
    assert new_run.steps_now == 0 and anew.judge == PAIRED
    assert anew.facts["held_out"] == record.facts["held_out"]


@pytest.mark.slow
def test_runs_on_other_boxes_are_judged_by_the_same_frames(small_settings):
    """The profile's detector says where held-out clips are altered, whatever a run trained on."""
    results = []
    for detector in ("motion", "none"):
        settings = small_settings(held_out=1, detector=detector, epochs=1, mode="none")
        data = pipeline.prepare(settings, progress=False)
        run = fit(settings, data, progress=False)
        results.append((data, pipeline.score(settings, data, run, progress=False)))
    (one, first), (other, second) = results
    assert not one.tracks.equals(other.tracks)
    assert pipeline.judged_by(settings).detector == load_profile("tiny").detector == "motion"
    for name, labels in first.labels.items():
        assert np.array_equal(labels, second.labels[name])
    for kind in held_out.SHOWN:
        assert np.array_equal(first.shown[f"{kind}-frame"], second.shown[f"{kind}-frame"])
