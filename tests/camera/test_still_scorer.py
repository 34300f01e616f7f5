"""Scores are reused while nothing moves; no scored frame has another score, no event is missed."""

import json
import re
import time
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from support.alarms import LEVEL
from support.footage import TEXTURE, write_video
from support.scoring import a_model

from data_prep.demo import generate
from data_prep.demo.scene import expose, render, scenery_of
from data_prep.live.sources import Frame, open_source
from ddllib import DDLError, StreamScorer
from ddllib.camera.alarms import AlarmOptions, Alarms
from ddllib.camera.event_file import read_events
from ddllib.camera.running_median import RunningMedian
from ddllib.camera.score_table import HEADER, MARKED, Table, mend, read_scores
from ddllib.camera.still_scorer import (
    LONGEST_S,
    SETTLED_S,
    StillScorer,
    check_skips,
    saves,
)
from ddllib.camera.stillness import SCALES
from ddllib.camera.watch import watch
from ddllib.camera.watch_command import main
from ddllib.evaluation import apply_protocol
from ddllib.experiments import benchmark_tables
from ddllib.experiments.benchmark import main as benchmark
from ddllib.experiments.still_streams import Sensor, Visit, still_stream
from ddllib.methods.baselines import NeighbourMean, PreviousFrame

RATE, PATCH, SIZE = 10, 8, (64, 64)
VISITS = [  # far and near, slow and quick, faint and clear
    Visit(120, 10, 4, 0.4, 40.0),
    Visit(420, 30, 12, 1.5, 60.0),
    Visit(560, 5, 3, 0.2, 70.0),
]


def stream(frames=300, visits=VISITS[:1], sensor=None, seed=0):
    """Frames C x H x W."""
    return [f[None] for f, _ in still_stream(frames, SIZE, visits, sensor, seed)]


def frames_of(clip, gaps=(0,), first_s=0.0):
    return [
        Frame(t, first_s + t / RATE, image, t in gaps, time.monotonic())
        for t, image in enumerate(clip)
    ]


def answers_of(scorer, clip, rate=RATE):
    """All answers of a scorer to a clip, with repeats; by push and at the end."""
    still, answers = isinstance(scorer, StillScorer), []
    for t, frame in enumerate(clip):
        more = (t / rate,) if still else ()
        answer = scorer.push(frame, *more)
        answers += answer.each() if answer else []
    return answers + scorer.finish()


MODELS = {
    "network": (a_model, "distance"),
    "changes": (a_model, "distance + 0.5 motion"),
    "neighbours": (lambda: NeighbourMean(1), "distance"),
    "previous frame": (lambda: PreviousFrame(1), "distance"),
}


@pytest.mark.parametrize("name", MODELS)
def test_each_scored_frame_has_the_score_that_it_has_without(name):
    make, score = MODELS[name]
    model, clip = make(), stream(220)
    plain = answers_of(StreamScorer(model, PATCH, score=score), clip)
    still = answers_of(StillScorer(StreamScorer(model, PATCH, score=score)), clip)
    assert [a.index for a in still] == [a.index for a in plain] == list(range(len(clip)))
    flags = [a.reused for a in still]
    assert 20 < sum(flags) < 200
    for one, other, flag in zip(still, plain, flags, strict=True):
        assert np.array_equal(one.frame, other.frame)  # reused or not, a frame is its own
        if not flag:
            assert one.score == other.score and np.array_equal(one.map, other.map)


def test_a_score_is_reused_for_a_stated_time_at_most_and_each_answer_comes_as_early():
    model, clip = NeighbourMean(1), stream(200, visits=())
    scorer = StillScorer(StreamScorer(model, PATCH))
    answers = [scorer.push(frame, t / RATE) for t, frame in enumerate(clip)]
    assert [a and a.index for a in answers] == [None, None, *range(1, len(clip) - 1)]
    indices = [a.index for a in answers if a and not a.reused]
    steps = [b - a for a, b in pairwise(indices)]
    assert max(steps) == LONGEST_S * RATE + 1  # the frames between two scored ones


def test_an_object_that_arrives_is_scored_from_its_first_frame_on():
    """Also the frames before it whose windows it is in; and all of a second after it has gone."""
    visit = Visit(150, 10, 4, 2.0, 40.0)
    scorer = StillScorer(StreamScorer(NeighbourMean(1), PATCH))
    flags = [a.reused for a in answers_of(scorer, stream(300, [visit]))]
    present = [label for _, label in still_stream(300, SIZE, [visit])]
    last = max(np.flatnonzero(present))
    assert not any(flags[149 : last + 2]) and any(flags[100:149]) and any(flags[-60:])
    assert not any(flags[last + 2 : last + 1 + round(SETTLED_S * RATE)])


def test_slow_drift_adds_up():
    """Each frame is like the one before, and still what slowly becomes visible is scored."""
    clip = np.stack(stream(300, (), Sensor(1.0, 95, 0.0)))
    brighter = 0.4 * np.arange(150)  # grey levels, far less than the noise from frame to frame
    faint = clip[150:, :, 20:40, 20:40] + brighter[:, None, None, None]
    clip[150:, :, 20:40, 20:40] = faint.clip(0, 255).astype(np.uint8)
    last_frame, differences = None, []
    for answer in answers_of(StillScorer(StreamScorer(NeighbourMean(1), PATCH)), clip):
        last_frame = answer.frame if not answer.reused else last_frame
        difference = answer.frame.astype(float) - last_frame
        differences.append(abs(difference[0, 20:40, 20:40].mean()))
    # Light that changes for long counts as noise, too, so the scale's bound holds it.
    assert max(differences) < SCALES[-1].most + 1


def test_high_scores_and_busy_times_are_all_scored():
    clip, model, busy = stream(200, visits=()), NeighbourMean(1), [False]
    assert not any(a.reused for a in answers_of(StillScorer(StreamScorer(model, PATCH), 0.0), clip))
    scorer = StillScorer(StreamScorer(model, PATCH), is_busy=lambda: busy[0])
    flags = []
    for t, frame in enumerate(clip):
        busy[0] = 120 <= t < 150
        answer = scorer.push(frame, t / RATE)
        flags.append(bool(answer and answer.reused))
    assert any(flags[:120]) and not any(flags[120:160]) and any(flags[160:])


def test_after_a_gap_no_frame_before_it_is_used(tmp_path):
    model, clip, gap = a_model(), stream(240, visits=()), 150
    for name, wrap in (("plain", lambda s: s), ("still", StillScorer)):
        scorer = wrap(StreamScorer(model, PATCH))
        watch(frames_of(clip, (0, gap)), scorer, tmp_path / name, tell=str)
    plain, still = read_scores(tmp_path / "plain"), read_scores(tmp_path / "still")
    assert still["segment"].tolist() == plain["segment"].tolist()
    own = ~still["reused"]
    assert (still["score"][own] == plain["score"][own]).all() and still["reused"].any()
    assert own[gap : gap + round(SETTLED_S * RATE)].all()


def test_a_clock_set_back_is_no_reason_to_reuse_for_long():
    clip = stream(300, visits=())
    scorer = StillScorer(StreamScorer(NeighbourMean(1), PATCH))
    times = [t / RATE - 3600 * (t >= 150) for t in range(300)]
    answers = [scorer.push(frame, time_s) for frame, time_s in zip(clip, times, strict=True)]
    flags = [bool(a and a.reused) for a in answers]
    assert any(flags[:150]) and not any(flags[151:160]) and any(flags[200:])
    assert max(map(len, "".join("01"[r] for r in flags).split("0"))) <= LONGEST_S * RATE


# ---- events


def events_of(frames, model, folder, limits, still, smooth=True):
    """The events of a watch by their first and last frames, and how many scores were reused."""
    threshold = replace(LEVEL, value=limits[0], release=limits[1])
    smoother = RunningMedian() if smooth else None
    options = AlarmOptions(RATE, PATCH, tell=str, filter="RunningMedian" if smooth else "none")
    alarms, scorer = Alarms(threshold, folder, options), StreamScorer(model, PATCH)
    if still:
        detector = alarms.detector
        scorer = StillScorer(scorer, threshold.release, lambda: detector.started is not None)
    report = watch(frames, scorer, folder, [alarms], tell=str, smooth=smoother)
    alarms.close()
    events, _ = read_events(folder)
    return [(e.start, e.end, e.peak) for e in events], report.reused or 0


def scores_of(frames, model):
    clip = [f.image for f in frames]
    return np.array([a.score for a in answers_of(StreamScorer(model, PATCH), clip)])


def limits_of(scores, share=0.9):
    """A threshold that a tenth of the filtered scores exceed, and a release as a watch has it."""
    scores = apply_protocol(scores, "median")
    level, usual = float(np.quantile(scores, share)), float(np.median(scores))
    return level, usual + 0.75 * (level - usual)


SENSORS = [Sensor(1.0, 90, 0.01), Sensor(2.0, 75, 0.0), Sensor(3.0, 90, 0.01)]


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("sensor", SENSORS)
def test_nothing_that_is_seen_without_the_option_is_missed(sensor, smooth, tmp_path):
    model, frames = NeighbourMean(1), frames_of(stream(900, VISITS, sensor))
    labels = np.array([label for _, label in still_stream(900, SIZE, VISITS, sensor)])
    level = float(scores_of(frames, model)[~labels].max())  # the lowest without a false alarm
    limits = level, 0.75 * level
    plain, _ = events_of(frames, model, tmp_path / "plain", limits, False, smooth)
    still, count = events_of(frames, model, tmp_path / "still", limits, True, smooth)
    assert still == plain and count > 100 and (plain or smooth)
    for first, last, _ in plain:
        assert labels[first : last + 1].any()


def test_events_of_the_labelled_walkway_are_the_same(tmp_path):
    """The walkway lies empty at first, then a test clip with a cyclist follows."""
    root = generate(tmp_path / "scene", training_clips=1, testing_clips=1)
    random = np.random.default_rng(0)
    empty, _ = render(scenery_of(0), [])
    clip = [expose(empty, 1 + random.normal(0, 0.004), random) for _ in range(150)]
    clip += [cv2.imread(str(p))[..., ::-1] for p in sorted(root.glob("testing/frames/01/*"))]
    clip += [expose(empty, 1 + random.normal(0, 0.004), random) for _ in range(60)]
    grey = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in clip]
    frames = frames_of([cv2.resize(f, (96, 64), interpolation=3)[None] for f in grey])
    model = NeighbourMean(1)
    limits = limits_of(scores_of(frames, model))
    plain, _ = events_of(frames, model, tmp_path / "plain", limits, False)
    still, count = events_of(frames, model, tmp_path / "still", limits, True)
    assert still == plain and plain and count > 20


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda: NeighbourMean(1), a_model])
def test_events_of_real_footage_are_the_same(ped2, make, tmp_path):
    """Ped2 as one stream; of each clip some frames stay for a while, with a sensor's noise."""
    source, frames = open_source(ped2 / "testing", 64, channels=1), []
    random = np.random.default_rng(0)
    for frame in source:
        frames.append(frame.image)
        if frame.index % 180 == 100:
            noise = random.normal(0, 1.5, (150, *frame.image.shape))
            frames += list((frame.image + noise).clip(0, 255).round().astype(np.uint8))
    model, frames = make(), frames_of(frames)
    limits = limits_of(scores_of(frames, model), 0.8)
    plain, _ = events_of(frames, model, tmp_path / "plain", limits, False)
    still, count = events_of(frames, model, tmp_path / "still", limits, True)
    assert still == plain and plain and count > 100


# ---- what is written and told


def test_the_table_and_the_report_tell_which_scores_were_reused(tmp_path):
    clip = stream(150, visits=())
    scorer = StillScorer(StreamScorer(NeighbourMean(1), PATCH))
    report = watch(frames_of(clip), scorer, tmp_path, tell=str)
    table = read_scores(tmp_path)
    assert (tmp_path / "scores.csv").read_text().splitlines()[0] == MARKED
    assert len(table) == 150 and table["reused"].sum() == report.reused > 0
    assert f"{report.reused} of them reused" in report.report()
    before = table["score"].shift()
    assert (table["score"] == before)[table["reused"]].all()


def test_a_table_without_marks_stays_as_it_is_and_gets_them_when_they_are_needed(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text(f"{HEADER}\n0,0,0.000,0.5\n0,1,0.100,0.25\n")
    first = path.read_text()
    Table(path).close()
    assert path.read_text() == first and not read_scores(tmp_path)["reused"].any()
    table = Table(path, marks=True)
    table.add(2, 0.2, 0.25, True)
    table.close()
    assert path.read_text() == f"{MARKED}\n0,0,0.000,0.5,0\n0,1,0.100,0.25,0\n1,2,0.200,0.25,1\n"
    table = Table(path)  # a watch without the option goes on in the same table
    table.add(3, 0.3, 0.125)
    table.close()
    assert read_scores(tmp_path)["reused"].tolist() == [False, False, True, False]
    assert mend(path) == 2


@pytest.mark.parametrize("torn", ["2,4,0.4", "2,4,0.400,0.12", "2,4,0.400,0.12\n", "\0\n"])
def test_a_torn_end_of_a_marked_table_is_cut_off(tmp_path, torn):
    path, good = tmp_path / "scores.csv", f"{MARKED}\n2,0,0.000,0.5,0\n2,1,0.100,0.25,1\n"
    path.write_text(good + torn)
    assert read_scores(tmp_path)["frame"].tolist() == [0, 1]
    assert mend(path) == 2 and path.read_text() == good


def test_what_looks_at_motion_or_long_windows_is_refused():
    class Motion:
        of = "flow"

    plain = StreamScorer(NeighbourMean(1), PATCH)
    check_skips(plain, "neighbour-mean")
    plain.terms = {"flow error": (1.0, Motion())}
    with pytest.raises(DDLError, match="the term 'flow error'"):
        check_skips(plain, "optical-flow")
    alone = StreamScorer(NeighbourMean(1), PATCH)
    alone.batched = False
    with pytest.raises(DDLError, match="method stpa"):
        check_skips(alone, "stpa")


def test_a_low_rate_saves_nothing():
    scorer = StreamScorer(NeighbourMean(1), PATCH)
    assert saves(scorer, 10.0) and not saves(scorer, 1.0)


# ---- the command


def quiet_video(path):
    """Nothing moves but a sensor's noise; then a white flash of a second."""
    random = np.random.default_rng(0)
    frames = np.repeat(TEXTURE[None].astype(float), 180, axis=0)
    frames[120:130] = 250
    noisy = frames + random.normal(0, 1.0, frames.shape)
    write_video(path, list(np.repeat(noisy.clip(0, 255).astype(np.uint8), 3, axis=3)))


def test_the_command_skips_what_is_still_for_one_camera_and_for_many(watchable, tmp_path, capsys):
    quiet_video(tmp_path / "yard.avi")
    arguments = ["--run", str(watchable), "--source", str(tmp_path / "yard.avi"), "--alarms", "600"]
    for name, more in (("plain", []), ("still", ["--still", "skip"])):
        assert main([*arguments, "--rate", "10", "--to", str(tmp_path / name), *more]) == 0
    (count,) = re.findall(r"(\d+) of them reused", capsys.readouterr().out)
    camera = {"source": "yard.avi", "run": str(watchable), "alarms": 600, "rate": 10}
    cameras = {"one": {**camera, "still": "skip"}, "two": camera}
    (tmp_path / "cameras.yaml").write_text(json.dumps({"cameras": cameras, "to": "to"}))
    assert main(["--config", str(tmp_path / "cameras.yaml")]) == 0
    spans = {}
    for folder in ("plain", "still", "to/one", "to/two"):
        events, _ = read_events(tmp_path / folder)
        spans[folder] = [(e.start, e.end) for e in events]
    assert spans["plain"] and set(map(str, spans.values())) == {str(spans["plain"])}
    counts = {folder: int(read_scores(tmp_path / folder)["reused"].sum()) for folder in spans}
    assert counts["plain"] == counts["to/two"] == 0
    assert counts["still"] == counts["to/one"] == int(count) > 50
    status = json.loads((tmp_path / "to" / "one" / "status.json").read_text())
    assert status["reused"] == int(count)


def test_the_benchmark_tells_what_was_saved(watchable, tmp_path, capsys):
    record = tmp_path / "record.json"
    arguments = ["--run", str(watchable), "--frames", "120", "--to", str(record)]
    assert benchmark(["still", *arguments]) == 0
    still, walkway = json.loads(record.read_text())["rows"]
    assert 0 < still["reused_share"] < 1 and walkway["reused_share"] < still["reused_share"]
    assert still["scored_ms"] > 0 and "reused_share" in capsys.readouterr().out
    table = benchmark_tables.still_table(json.loads(record.read_text()))
    assert list(table["stream"]) == ["still", "walkway"]
    assert table["frames not scored, %"][0] == f"{100 * still['reused_share']:.0f}"
