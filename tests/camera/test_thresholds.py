"""Thresholds: the rate asked for is met, the interval is honest, too little footage is told."""

import time
import warnings
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from scipy import stats
from studies import little_footage_study, ped2_study, threshold_study

from ddllib.camera.normal_counts import Counts, Unit, stretches
from ddllib.camera.rate_intervals import _ends, interval, tail_interval
from ddllib.camera.thresholds import choose_threshold, given_threshold
from ddllib.errors import DDLError
from ddllib.figures.chapter import read_report
from ddllib.paths import RESULTS
from ddllib.records import find_records

RATE = 10.0  # frames per second of the made-up footage


def footage(seed, clips=40, frames=600, memory=15, unlike=0.4):
    """Scores that remember, of clips that are unlike one another."""
    rng, keep = np.random.default_rng(seed), np.exp(-1 / memory)
    scores = np.empty((clips, frames))
    scores[:, 0] = rng.normal(size=clips)
    for t in range(1, frames):
        scores[:, t] = keep * scores[:, t - 1] + np.sqrt(1 - keep**2) * rng.normal(size=clips)
    scores += unlike * rng.normal(size=(clips, 1))
    return {f"{k:02d}": row for k, row in enumerate(scores)}


@pytest.mark.parametrize("rate", [0.01, 0.05])
def test_the_share_of_frames_asked_for_is_that_of_the_footage(rate):
    clips = footage(0)
    threshold = choose_threshold(clips, rate, "share of frames", RATE)
    share = (np.concatenate(list(clips.values())) > threshold.value).mean()
    assert 0.85 * rate <= share <= rate
    assert threshold.low < rate < threshold.high and threshold.warning is None


def test_the_alarms_per_hour_asked_for_are_those_of_the_footage():
    clips = footage(1)
    least = threshold_study.LEAST_S
    threshold = choose_threshold(clips, 60.0, "alarms per hour", RATE, least_s=least)
    assert threshold.method == "counted"
    assert threshold.quiet < threshold.release < threshold.value
    assert 45 <= threshold_study.measured(threshold, clips, RATE) <= 60


def test_the_interval_holds_on_other_footage_of_the_same_kind():
    hits, naive = [], []
    for seed in range(120):
        one, other = footage(2 * seed), footage(2 * seed + 1)
        threshold = choose_threshold(one, 0.05, "share of frames", RATE)
        rate = threshold_study.measured(threshold, other, RATE)
        hits.append(threshold.low <= rate <= threshold.high)
        low, high = threshold_study.independent(0.05, 40 * 600)
        naive.append(low <= rate <= high)
    assert 0.82 <= np.mean(hits) <= 0.97
    assert np.mean(naive) < 0.5


def test_an_interval_for_more_footage_is_narrower_and_never_a_point():
    clips = footage(3)
    widths = [
        threshold.high - threshold.low
        for hours in (0.1, 1, 1000)
        for threshold in [choose_threshold(clips, 0.05, "share of frames", RATE, over=hours)]
    ]
    assert widths[0] > widths[1] > widths[2] > 0


def test_clips_that_differ_widen_the_interval():
    def width(unlike):
        threshold = choose_threshold(footage(4, unlike=unlike), 0.05, "share of frames", RATE)
        return threshold.high - threshold.low

    assert width(1.5) > 1.5 * width(0.0)


def test_too_little_footage_is_reported_in_one_line_and_extrapolated():
    clips = footage(5, clips=10)
    threshold = choose_threshold(clips, 0.5, "alarms per hour", RATE)
    assert threshold.method == "extreme value"
    assert "10 min of normal footage" in threshold.warning and "\n" not in threshold.warning
    often = choose_threshold(clips, 60.0, "alarms per hour", RATE)
    assert threshold.value > often.value and threshold.low == 0.0


def test_how_much_to_record_counts_what_is_trained_on():
    """Ten minutes hold a twelfth of an alarm at one in two hours; five alarms need ten hours."""
    clips = footage(5, clips=10)
    warnings = [
        choose_threshold(clips, 0.5, "alarms per hour", RATE, held_out_share=share).warning
        for share in (1.0, 0.2)
    ]
    assert "Record 600 min or ask" in warnings[0]
    assert "Record 3,000 min, of which 600 are kept for it, or ask" in warnings[1]


@pytest.mark.slow
def test_an_extrapolated_threshold_is_near_the_one_that_much_footage_gives():
    much = choose_threshold(footage(6, clips=600), 2.0, "alarms per hour", RATE)
    few = [choose_threshold(footage(s, clips=60), 2.0, "alarms per hour", RATE) for s in range(8)]
    assert much.method == "counted" and {c.method for c in few} == {"extreme value"}
    spread = float(np.std(np.concatenate(list(footage(6).values()))))
    assert abs(np.median([c.value for c in few]) - much.value) < 0.5 * spread


def test_one_long_clip_is_cut_where_it_has_forgotten():
    (long,) = footage(7, clips=1, frames=20_000, unlike=0).values()
    parts = stretches([long])
    assert 8 <= len(parts) <= 17 and sum(map(len, parts)) == len(long)
    (slow,) = footage(7, clips=1, frames=2_000, memory=200, unlike=0).values()
    assert len(stretches([slow])) < 4
    threshold = choose_threshold({"only": slow}, 0.2, "share of frames", RATE)
    assert threshold.warning


def test_the_spread_of_a_level_that_few_clips_reach_is_not_zero():
    sizes, rare = np.full(10, 100.0), np.zeros((10, 3))
    rare[:, 0], rare[0, 1] = [40, 0, 0, 30, 0, 20, 0, 10, 0, 0], 1
    counts = Counts(np.array([1.0, 2.0, 3.0]), rare, sizes, "share of frames")
    low, high = interval(counts, 0.001, 1000)
    assert counts.lowest(0.001) == 1 and counts.dispersion(1) < 2
    assert low == 0 and high > 0.02


@pytest.mark.parametrize(
    ("scores", "rate", "unit", "message"),
    [
        ({}, 1.0, "alarms per hour", "no normal footage"),
        ({"a": np.array([1.0, np.nan])}, 1.0, "alarms per hour", "clip 'a': a score is not finite"),
        ({"a": np.zeros(0)}, 1.0, "alarms per hour", "clip 'a': no scores"),
        ({"a": np.zeros(9)}, 1.5, "share of frames", "rate is 1.5 share of frames"),
        ({"a": np.zeros(9)}, 0.0, "alarms per hour", "rate is 0.0"),
        ({"a": np.zeros(9)}, 1.0, "alarms a day", "unit is 'alarms a day'"),
    ],
)
def test_what_cannot_be_meant_is_refused(scores, rate, unit, message):
    with pytest.raises(DDLError, match=message):
        choose_threshold(scores, rate, unit, RATE)


def test_few_frames_are_counted_few_alarms_extrapolated():
    clips = footage(9, clips=6, frames=100)
    assert choose_threshold(clips, 0.02, "share of frames", RATE).method == "counted"
    assert choose_threshold(clips, 2.0, "alarms per hour", RATE).method == "extreme value"


def test_the_interval_is_that_of_exceedances():
    """Two alarms in as many hours as will come: the third highest is passed n times."""
    alarms = np.eye(200)[:, :2].sum(1, keepdims=True)
    counts = Counts(np.array([1.0]), alarms, np.full(200, 0.01), "alarms per hour")
    assert counts.spread(1.0) == 1
    low, high = interval(counts, 1.0, 2.0)
    rng = np.random.default_rng(0)
    alarms = rng.permuted(np.tile(np.arange(200) % 2, (20_000, 1)), axis=1)  # whose, from above
    third = (alarms == 0).cumsum(1) == 3
    others = third.argmax(1) - 2  # alarms of the other footage above the third of this
    assert low == 0 and np.quantile(others, 0.9) <= 2 * high <= np.quantile(others, 0.93)
    assert interval(counts, 1.0, 2e4)[0] > 0


def held(expected):
    """How often the ends for a Poisson distribution of so many hold."""
    low, high = _ends(stats.poisson(expected).cdf, 1.0, 1.0)
    return stats.poisson.cdf(high, expected) - stats.poisson.cdf(low - 1, expected)


def test_the_ends_hold_in_ninety_of_a_hundred_cases_on_average():
    few = [held(expected) for expected in np.arange(0.3, 20, 0.05)]
    assert 0.89 < np.mean(few) < 0.91 and 0.8 < min(few) and max(few) < 0.98
    assert held(400.0) == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("expected, ends", [(2.2, (0, 4)), (2.4, (1, 5)), (0.05, (0, 0))])
def test_a_count_is_within_the_ends_if_half_of_it_is(expected, ends):
    """Below 2.3 expected, none at all is no rarity, and the upper end parts off ten in 100."""
    assert _ends(stats.poisson(expected).cdf, 1.0, 1.0) == ends
    assert _ends(stats.poisson(expected).cdf, 30.0, 1.0) == (30.0 * ends[0], 30.0 * ends[1])


@pytest.mark.parametrize("power", [1.0, 1.6])  # exponential peaks, and a heavier tail
@pytest.mark.parametrize("minutes", [2, 15, 60])
def test_the_interval_of_an_extrapolated_threshold_holds(minutes, power):
    """Independent alarms: some minutes to choose by, and an hour to measure on."""
    rng, hits = np.random.default_rng(0), []

    def alarms(frames):
        return rng.exponential(size=frames) ** power * (rng.random(frames) < 0.02)

    for _ in range(60):
        clips = {f"{k:02d}": part for k, part in enumerate(np.split(alarms(60 * minutes), 20))}
        threshold = choose_threshold(clips, 1.0, frame_rate=1.0, over=1.0)
        hits.append(threshold.low <= (alarms(3600) > threshold.value).sum() <= threshold.high)
    assert threshold.method == "extreme value" and 0.8 <= np.mean(hits) <= 0.99


def test_the_less_is_known_the_wider_is_the_interval():
    def upper(hours, peaks):
        one = Counts(np.array([1.0]), np.ones((4, 1)), np.full(4, hours / 4), "alarms per hour")
        return tail_interval(one, 1.0, 1.0, peaks)[1]

    assert upper(2, 20) < upper(0.5, 20) < upper(0.05, 20) and upper(0.5, 20) < upper(0.5, 2)


def test_of_alarms_the_mean_spread_counts_of_frames_the_largest():
    table = np.zeros((4, 3))
    table[:, 0], table[:, 1], table[0, 2] = [9, 1, 1, 1], [1, 1, 1, 0], 1
    of = {u: Counts(np.arange(3.0), table, np.ones(4), u).spread(0.25) for u in get_args(Unit)}
    assert 1 < of["alarms per hour"] < of["share of frames"]


def test_constant_scores_raise_no_alarm():
    threshold = choose_threshold({"a": np.full(500, 0.1)}, 0.05, "share of frames", RATE)
    assert threshold.value >= 0.1 and np.isfinite([threshold.low, threshold.high]).all()


def test_a_method_can_be_asked_for():
    clips = footage(8, clips=4, frames=200)
    by = {m: choose_threshold(clips, 1.0, frame_rate=RATE, method=m) for m in METHODS}
    assert [by[m].method for m in METHODS] == [*METHODS]
    assert "(counted from too few alarms)" in by["counted"].warning
    assert "a guess (extrapolated)" in by["extreme value"].warning
    with pytest.raises(DDLError, match="method is 'counting'; expected one of counted, extreme"):
        choose_threshold(clips, 1.0, frame_rate=RATE, method="counting")


METHODS = ("counted", "extreme value")


def test_seconds_of_footage_promise_neither_more_than_asked_for_nor_more_than_can_be():
    seconds = footage(0, clips=2, frames=30)
    options = {"frame_rate": RATE, "least_s": 0.5, "over": 1.0}
    threshold = choose_threshold(seconds, 1.0, **options)
    assert threshold.method == "extreme value"
    assert threshold.low <= 1 <= threshold.high <= 3600 / (0.5 + 1 / RATE)
    assert "between 1 and 5,140" in str(replace(threshold, low=1.0, high=5142.9))
    impossible = choose_threshold(seconds, 1e4, **options, method="extreme value")
    assert impossible.low <= 1e4 <= impossible.high


def test_the_study_splits_whole_clips_and_counts_what_held():
    clips = footage(8, clips=20, frames=200)
    for one, other in threshold_study.halves(clips, 3):
        assert not set(one) & set(other) and len(one) + len(other) == 20
    row = threshold_study.study(clips, "share of frames", 0.05, RATE, splits=10)
    assert 0 <= row["independent"]["covered"] < row["stated"]["covered"] <= 1
    assert row["independent"]["width"] < row["stated"]["width"]
    assert row["ways"]["counted"][1] == pytest.approx(0.05, abs=0.03)
    assert set(row["ways"]) == {"counted", "extreme value"}


def test_normal_stretches_leave_out_every_abnormal_frame():
    scores = {"01": np.arange(10.0), "02": np.full(4, 99.0)}
    labels = {"01": np.array([0, 0, 1, 1, 0, 0, 0, 0, 1, 0]), "02": np.ones(4, int)}
    by_clip = threshold_study.normal_stretches(scores, labels)
    assert {name: len(values) for name, values in by_clip.items()} == {
        "01-0": 2,
        "01-4": 4,
        "01-9": 1,
    }


def test_other_minutes_are_other_footage_and_what_no_case_names_is_not_looked_at(monkeypatch):
    calls = []

    def minutes(settings, minutes, progress, first):
        calls.append((settings.profile, first, minutes))
        return footage(8, clips=20, frames=200)

    monkeypatch.setattr(threshold_study, "generated_minutes", minutes)
    monkeypatch.setattr(threshold_study, "ped2_clips", None)  # would fail if it were called
    cases = [("generated", "share of frames", 0.05)]
    report = threshold_study.measure(cases, 20, splits=3, first=120)
    assert calls == [("demo", 120, 20)] and list(report["footage"]) == ["generated"]
    assert report["first_minute"] == 120


def test_how_often_the_interval_held_is_said():
    rows = [{"splits": 200, "stated": {"covered": share}} for share in (0.8, 0.85, 0.95, 0.96)]
    sentence = threshold_study.verdict({"rows": rows})
    assert "in 2 of 4 cases" in sentence and "85 to 95 % of the splits" in sentence
    assert "in 1 it held more often, in 1 less often" in sentence and "to 2 points" in sentence


def test_sets_are_as_little_as_other_footage_is():
    ped2 = {"clips": 12, "frames": 960, "frame_rate": 10.0, "autocorrelation_s": 16.0}
    generated = {"clips": 90, "frames": 9000, "frame_rate": 12.5, "autocorrelation_s": 20.0}
    assert little_footage_study.as_little(ped2, generated) == (
        12,
        125,
    )  # each clip half a memory long
    clips = footage(8, clips=20, frames=200)
    sets = list(little_footage_study.draw_sets(clips, 6, 150, 50))
    assert all(len(own) == 6 for own in sets)
    assert {len(part) for own in sets for part in own.values()} == {150}
    assert all(clips[name].tobytes().find(part.tobytes()) >= 0 for name, part in sets[0].items())
    assert len({tuple(sorted(own)) for own in sets}) > 40
    for count, frames in ((21, 150), (6, 201)):
        with pytest.raises(DDLError, match="give more minutes"):
            next(little_footage_study.draw_sets(clips, count, frames, 1))


def test_the_page_tells_of_every_recorded_run_of_ped2():
    records = {r.name: r for r in ped2_study.judged_by_labels(find_records(RESULTS))}
    report = read_report(RESULTS / "thresholds" / ped2_study.NAME)
    assert {row["run"] for row in report["rows"]} == set(records)
    first = report["rows"][0]
    again = ped2_study.measure(
        [records[first["run"]]], report["rates"], report["splits"], progress=False
    )
    assert again["rows"] == [first]


def test_every_recorded_run_of_ped2_is_asked():
    records = ped2_study.judged_by_labels(find_records(RESULTS))
    assert len(records) > 20 and {r.folder.parent.name for r in records} > {"ped2-table2"}
    assert all(set(r.scores) == {f"{k:02d}" for k in range(1, 13)} for r in records)
    some = records[:2]
    report = ped2_study.measure(some, [0.01, 0.05], splits=10, progress=False)
    assert [row["frames"] for row in report["rows"]] == [362, 362]
    assert report["rows"][0]["run"] == f"ped2/{some[0].folder.name}"
    for row, covered in zip(report["rows"], ([0.9, 0.8], [1.0, 0.6]), strict=True):
        assert all(0 < share <= 1 for share in row["covered"])
        row["covered"] = covered
    first, second = ped2_study.lines(report)
    assert "2 runs; the 362 normal frames" in first and "held in 95 % of all" in first
    assert "5 % of frames asked for" in second and "in 60 to 80 % of those of a single" in second
    with pytest.raises(DDLError, match="no record of Ped2's test clips"):
        ped2_study.measure([], [0.01], 10)


def test_how_often_intervals_hold_over_sets_and_of_one_is_reported():
    clips, few = footage(8, clips=40, frames=300), footage(9, clips=12, frames=40)
    report = little_footage_study.measure(few, clips, [0.05], RATE, sets=12, splits=10)
    (row,) = report["rows"]
    low, high = row["single sets"]
    assert low <= row["covered"] <= high and row["covered"] > 0.6 and report["clips"] == 12
    again = little_footage_study.measure(few, clips, [0.05], RATE, sets=12, splits=10)
    assert report == again
    row["covered"], row["single sets"] = 0.9, [0.7, 1.0]
    (line,) = little_footage_study.lines(report)
    assert "5 % of frames asked for: the interval held in 90 % of all splits" in line
    assert "in 70 to 100 % of their splits" in line


@pytest.mark.parametrize("copies", [1, 2, 3, 5, 8, 20])
@pytest.mark.parametrize("rate", [1, 60, 600])
def test_copies_of_a_clip_give_a_threshold_that_rounding_does_not_move(copies, rate):
    """Their peaks are alike but for rounding, which must not choose the shape of their tail."""
    base = np.random.default_rng(0).normal(1, 0.1, 60)

    def chosen(change):
        scores = {f"{k}": base * (1 + change * k) for k in range(copies)}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return choose_threshold(scores, rate, frame_rate=10, least_s=0.5, over=1.0)

    values = [chosen(change) for change in (0, 1e-12, -1e-12, 1e-8)]
    assert all(v.value == pytest.approx(values[0].value, rel=1e-6) for v in values)
    promised = [(v.low, v.high, v.method) for v in values]
    assert promised.count(promised[0]) == len(promised)
    assert type(values[0].value) is float


def test_a_still_picture_has_the_threshold_of_its_one_score():
    still = {name: np.full(20_000, 0.1) for name in ("a", "b")}
    start = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_threshold(still, 1, frame_rate=10, least_s=0.5).value == 0.1
    assert time.monotonic() - start < 5


def test_a_warning_says_first_what_to_do():
    few = choose_threshold({"a": np.random.default_rng(0).normal(1, 0.1, 900)}, 1, over=1.0)
    first, second, *_ = few.warning.split(". ")
    assert first == "this threshold is little more than a guess (extrapolated)"
    assert second.startswith("Record ") and second.endswith("or ask for a higher rate")


def test_a_given_threshold_has_the_rate_that_the_footage_has_at_it():
    options = {"frame_rate": 10.0, "least_s": 0.5, "over": 1.0}
    threshold = choose_threshold(footage(0), 20.0, **options, method="counted")
    same = given_threshold(footage(0), threshold.value, **options)
    assert (same.value, same.release, same.quiet) == (
        threshold.value,
        threshold.release,
        threshold.quiet,
    )
    assert same.rate <= 20 and same.low <= same.rate <= same.high
    rarer = given_threshold(footage(0), 2 * threshold.value, **options)
    assert rarer.rate < same.rate and "threshold" in str(rarer)
    never = given_threshold(footage(0), 1e6, **options)
    assert never.rate == 0 and never.low == 0 < never.high


@pytest.mark.parametrize("value", [-1.0, 0.0, float("inf"), float("nan")])
def test_a_given_threshold_lies_above_usual_scores(value):
    scores = {name: np.abs(clip) + 0.1 for name, clip in footage(0).items()}
    with pytest.raises(DDLError, match="expected a number above"):
        given_threshold(scores, value, frame_rate=10.0, least_s=0.5, over=1.0)
