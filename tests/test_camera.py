"""From footage to alarms: the whole way of one's own camera, and what stops it."""

import json
import shlex
import sys
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest_footage import walk, write_video
from conftest_server import camera as camera_of
from conftest_server import pictures

from data_prep.demo import ordinary
from data_prep.sources import open_source
from ddllib import DDLError, camera, live, road
from ddllib.data import Prepared
from ddllib.evaluation import apply_protocol
from ddllib.event_file import read_events
from ddllib.score_table import read_scores
from ddllib.settings import ROOT, load_profile
from ddllib.watch import GAVE_UP, claimed, main, watch

CUT = 60  # frames of ordinary walkway before a magenta block comes


@pytest.fixture(scope="module")
def walkway(tmp_path_factory):
    """A run of the short generated scene, and a video in which a block appears for two seconds."""
    root = tmp_path_factory.mktemp("walkway")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DDL_RUNS", str(root / "runs"))
        settings = load_profile("tiny", epochs=4)
        data = road.prepare(settings, progress=False)
        run = road.train(settings, data, progress=False)
        path = root / "watched.avi"
        video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12.5, (192, 128))
        for t, frame in enumerate(ordinary(0, 500, 2 * CUT)):
            if CUT <= t < CUT + 25:
                frame[40:100, 60:120] = (255, 0, 255)
            video.write(np.ascontiguousarray(frame[..., ::-1]))
        video.release()
        patch.setattr(camera, "MINUTES", 1)
        yield settings, data, run, path


def test_the_command_leaves_scores_events_and_a_page(walkway, tmp_path, capsys):
    settings, _, _, path = walkway
    given = ["--run", str(settings.run_folder), "--source", str(path), "--to", str(tmp_path)]
    code = "import sys; open(sys.argv[1] + '/ran-' + sys.argv[2], 'w')"
    command = shlex.join([sys.executable, "-c", code])
    assert main([*given, "--alarms", "600", "--video", "--on-event", command]) == 0
    told = capsys.readouterr().out
    assert "threshold" in told and "alarms per hour" in told and "event 1: " in told
    scores, (events, facts) = read_scores(tmp_path), read_events(tmp_path)
    assert len(scores) == 2 * CUT
    block = [e for e in events if e.start <= CUT + 12 <= e.end]
    assert len(block) == 1 and block[0].end_s == pytest.approx((CUT + 25) / 12.5, abs=1)
    x0, y0, x1, y1 = block[0].box
    assert x0 < 90 / 192 < x1 and y0 < 70 / 128 < y1  # the middle of the block
    assert facts["protocol"] == "median" and facts["threshold"]["rate"] == 600
    number = f"{1 + events.index(block[0]):04d}"
    assert {".jpg", ".npz"} <= {p.suffix for p in tmp_path.glob(f"{number}.*")}
    assert number in (tmp_path / "index.html").read_text()
    assert len(list(tmp_path.glob("annotated-*"))) == 1 and "the video" in told
    ran = {path.name for path in tmp_path.glob("ran-*")}
    assert ran == {f"ran-{n}" for n in range(1, len(events) + 1)}


def test_a_second_process_changes_nothing_of_a_running_watch(walkway, tmp_path, capsys):
    settings, _, _, path = walkway
    given = ["--run", str(settings.run_folder), "--source", str(path), "--to", str(tmp_path)]
    (tmp_path / "running.json").write_text("{")
    with claimed(tmp_path):
        assert main([*given, "--alarms", "600"]) == 1
    assert "another process watches into it" in capsys.readouterr().err
    left = {p.name for p in tmp_path.iterdir()} - {".watch.lock"}
    assert left == {"running.json"}
    assert main([*given, "--no-alarms", "--video"]) == 1
    assert "--video marks what is above the threshold" in capsys.readouterr().err
    assert main([*given, "--no-alarms", "--on-event", "true"]) == 1
    assert "--on-event runs when an event has ended" in capsys.readouterr().err


def test_another_rate_is_that_of_the_alarms_too(walkway, tmp_path, capsys):
    settings, _, _, path = walkway
    given = ["--run", str(settings.run_folder), "--source", str(path), "--to", str(tmp_path)]
    assert main([*given, "--alarms", "600", "--rate", "6.25"]) == 0
    events, facts = read_events(tmp_path)
    assert facts["frame_rate"] == 6.25 and len(read_scores(tmp_path)) == CUT
    assert any(e.start_s <= (CUT + 12) / 12.5 <= e.end_s for e in events)
    assert "note: chosen at 12.5 frames per second, watched at 6.25" in capsys.readouterr().out


def test_a_folder_with_files_of_somebody_else_is_left_alone(walkway, tmp_path, capsys):
    settings, _, _, path = walkway
    (tmp_path / "0001.jpg").write_text("mine")
    given = ["--run", str(settings.run_folder), "--source", str(path), "--to", str(tmp_path)]
    assert main([*given, "--alarms", "600"]) == 1
    assert "holds 0001.jpg, of no watch; give a folder of its own" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir() if p.name[0] != "."] == ["0001.jpg"]


def test_scores_of_ordinary_minutes_are_of_their_patch_and_mask(walkway, tmp_path):
    settings, data, run, _ = walkway
    mask = np.zeros(data.size, np.uint8)
    mask[: data.size[0] // 2] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    others = [replace(settings, patch=4), replace(settings, ignore=str(tmp_path / "mask.png"))]
    first, *rest = (camera.generated_scores(s, data, run, 1)["000"] for s in (settings, *others))
    assert all(len(first) == len(one) and not np.array_equal(first, one) for one in rest)
    assert np.array_equal(camera.generated_scores(settings, data, run, 1)["000"], first)
    (later,) = camera.generated_scores(settings, data, run, 1, first=7).items()
    assert later[0] == "007" and not np.array_equal(later[1], first)


def test_footage_shorter_than_a_window_has_no_scores(tmp_path):
    table = pd.DataFrame({name: [] for name in ("segment", "frame", "time_s", "score")})
    for protocol in camera.PROTOCOLS:
        assert [len(part) for part in camera.filtered(table, protocol)] == [0, 0, 0]


def test_the_threshold_is_chosen_by_footage_that_was_not_trained_on(walkway):
    settings, data, run, _ = walkway
    scores = camera.normal_scores(settings, data, run)
    assert sum(map(len, scores.values())) == camera.MINUTE
    chosen = camera.threshold(replace(settings, alarms_per_hour=60.0), data, run)
    assert chosen.rate == 60 and chosen.low <= 60 <= chosen.high
    filtered = np.concatenate([apply_protocol(s, "median") for s in scores.values()])
    assert np.median(filtered) < chosen.release < chosen.value
    kept = replace(settings, threshold_share=0.25)
    ends = camera.normal_scores(kept, data, run)
    assert ends.keys() == data.training.keys()
    assert all(len(v) == round(0.25 * len(data.training[n])) for n, v in ends.items())


def test_scores_of_normal_footage_are_kept_for_the_next_watch(walkway, monkeypatch):
    settings, data, run, _ = walkway
    half = replace(settings, threshold_share=0.5)
    before = set((run.folder / "normal").glob("*.npz"))
    first = camera.normal_scores(half, data, run)
    (path,) = set((run.folder / "normal").glob("*.npz")) - before
    with monkeypatch.context() as patch:
        patch.setattr(camera.road, "score_normal", None)  # would fail if it were called
        again = camera.normal_scores(half, data, run)
        assert list(again) == list(first)
        assert all(np.array_equal(again[name], scores) for name, scores in first.items())
    for other in (replace(half, threshold_share=0.4), replace(half, patch=4)):
        scores = camera.normal_scores(other, data, run)
        assert not all(np.array_equal(scores[name], first[name]) for name in first)
    for content in (b"", b"PK no archive"):
        path.write_bytes(content)
        anew = camera.normal_scores(half, data, run)
        assert all(np.array_equal(anew[name], scores) for name, scores in first.items())


def test_footage_without_any_kept_apart_gives_no_threshold(small_settings, small_data):
    settings = small_settings(epochs=1, data="yard")
    run = road.train(settings, small_data, progress=False)
    with pytest.raises(DDLError, match="threshold_share is 0; expected a share"):
        camera.threshold(settings, small_data, run)


def test_a_filter_that_needs_the_whole_clip_is_refused(walkway):
    settings, data, run, _ = walkway
    with pytest.raises(DDLError, match="'median\\+min-max', which needs the whole clip"):
        camera.threshold(replace(settings, protocol="median+min-max"), data, run)


def test_what_is_watched_is_named_or_the_test_clips(walkway, tmp_path, monkeypatch):
    settings, *_ = walkway
    for address in ("rtsp://camera/1", "http://camera/live.m3u8", "0"):
        assert camera.to_watch(replace(settings, watch=address)) == address
    monkeypatch.setenv("DDL_DATA", str(tmp_path))
    monkeypatch.chdir(ROOT / "book")  # where JupyterLab runs a chapter
    (tmp_path / "today.mp4").touch()
    named = [camera.to_watch(replace(settings, watch=name)) for name in ("today.mp4", "README.md")]
    assert named == [str(tmp_path / "today.mp4"), str(ROOT / "README.md")]
    with pytest.raises(DDLError, match="monday.mp4: not found; looked at monday.mp4, .*set DDL"):
        camera.to_watch(replace(settings, watch="monday.mp4"))
    assert camera.to_watch(settings).endswith("testing")
    (tmp_path / "yard").mkdir()
    with pytest.raises(DDLError, match="no test clips to watch; name a video or an address"):
        camera.to_watch(replace(settings, data=str(tmp_path / "yard")))
    write_video(tmp_path / "yard" / "monday.avi", pictures(5))
    yard = replace(settings, data=str(tmp_path / "yard"))
    assert camera.to_watch(yard) == str(tmp_path / "yard")  # itself, as there is nothing else
    (tmp_path / "yard" / "monday.avi").unlink()
    for part in ("training", "testing"):
        write_video(tmp_path / "yard" / part / "monday.avi", pictures(5))
        assert camera.to_watch(yard) == str(tmp_path / "yard" / part)
    for layout, (part, clip) in {
        "ucsd": ("Test", "Test001/001.tif"),
        "avenue": ("testing_videos", "01.avi"),
    }.items():
        path = tmp_path / layout / part / clip
        path.parent.mkdir(parents=True)
        if path.suffix == ".avi":
            write_video(path, pictures(5))
        else:
            cv2.imwrite(str(path), pictures(1)[0])
        found = camera.to_watch(replace(settings, data=str(tmp_path / layout)))
        assert found == str(tmp_path / layout / part)


def test_a_chapter_ends_its_watch_of_what_may_have_no_end(walkway):
    settings, _, _, path = walkway
    live, file = open_source("rtsp://camera/1", 32), open_source(path, 32)
    minutes = [camera.minutes_to_watch(settings, source) for source in (live, file)]
    assert minutes == [camera.LIVE_MINUTES, None]
    asked = replace(settings, watch_minutes=2)
    assert [camera.minutes_to_watch(asked, source) for source in (live, file)] == [2, 2]


def test_events_of_one_folder_are_of_one_threshold(walkway, tmp_path, capsys):
    settings, _, _, path = walkway
    given = ["--run", str(settings.run_folder), "--source", str(path), "--to", str(tmp_path)]
    assert main([*given, "--alarms", "600", "--video"]) == 0
    before = pd.read_csv(tmp_path / "events.csv")
    assert main([*given, "--alarms", "60"]) == 1
    assert "events of another source, threshold or filter" in capsys.readouterr().err
    given[3] = str(path.parent)  # other footage
    assert main([*given, "--alarms", "600"]) == 1
    assert pd.read_csv(tmp_path / "events.csv").equals(before)
    assert json.loads((tmp_path / "events.json").read_text())["threshold"]["rate"] == 600


def test_normal_footage_that_changed_since_training_is_told(walkway, tmp_path, capsys, monkeypatch):
    settings, _, _, path = walkway
    given = ["--run", str(settings.run_folder), "--source", str(path), "--alarms", "600", "--to"]
    assert main([*given, str(tmp_path / "a")]) == 0
    assert "has changed since" not in capsys.readouterr().out
    monkeypatch.setattr(Prepared, "digest", "another")  # test clips came
    assert main([*given, str(tmp_path / "b")]) == 0
    assert "has changed since" not in capsys.readouterr().out
    monkeypatch.setattr(Prepared, "training_digest", "another")
    assert main([*given, str(tmp_path / "c")]) == 0
    assert "note: the prepared footage has changed since this run was" in capsys.readouterr().out


def test_a_live_source_is_watched_on_by_another_threshold(walkway, tmp_path, capsys):
    """Normal footage was added meanwhile: a watch that was killed must not stay ended."""
    settings, data, _, _ = walkway
    clip = next(iter(data.testing.values()))[:30]
    frames = [np.ascontiguousarray(np.moveaxis(f, 0, -1)[..., ::-1]) for f in clip]
    with camera_of(frames, frames, frames, pause=0.02) as playing:
        given = ["--run", str(settings.run_folder), "--to", str(tmp_path), "--rate", "50"]
        given += ["--source", playing.address, "--patience", "0.5", "--give-up", "0.2"]
        assert main([*given, "--alarms", "600"]) == GAVE_UP
        (tmp_path / "events.csv").open("a").write("1,0,9,4,0,90,40,0.9,,,,,0,,,\n")
        assert main([*given, "--alarms", "60"]) == GAVE_UP
        told = capsys.readouterr().out
        (place,) = tmp_path.glob("earlier-*")
        assert f"another threshold than before; events by that one are kept in {place}" in told
        assert [e.end for e in read_events(place)[0]][-1] == 90
        assert read_events(place)[1]["threshold"]["rate"] == 600
        assert read_events(tmp_path)[1]["threshold"]["rate"] == 60
        assert 90 not in [e.end for e in read_events(tmp_path)[0]]
        assert main([*given, "--alarms", "60", "--patch", "12"]) == 1
        assert "events of another source, threshold or filter" in capsys.readouterr().err


def test_no_event_spans_two_clips_of_a_watched_folder(walkway, tmp_path):
    settings, data, run, _ = walkway
    chosen = replace(camera.threshold(settings, data, run), value=0.0, release=0.0)  # always above
    source = open_source(camera.to_watch(settings), data.size)
    alarms = camera.alarms(settings, data, chosen, tmp_path, tell=lambda line: None)
    watch(source, camera.scorer(settings, data, run), tmp_path, [alarms], tell=lambda line: None)
    alarms.close()
    lengths = np.cumsum([0, *(len(clip) for clip in data.testing.values())])
    events = read_events(tmp_path)[0]
    assert [(e.start, e.end + 1) for e in events] == list(zip(lengths, lengths[1:], strict=False))
    assert [e.open for e in events] == [False] * (len(events) - 1) + [True]
    seconds, scores, segments = camera.filtered(read_scores(tmp_path), "median")
    rate = camera.frame_rate(settings)
    found = live.events_of(seconds, scores, segments, 0.0, 0.0, rate, camera.LEAST_S)
    assert [(e.start, e.end, e.open) for e in found] == [(e.start, e.end, e.open) for e in events]
    raw = [scores[a:b].max() for a, b in zip(lengths, lengths[1:], strict=False)]
    assert [e.score for e in events] == pytest.approx(raw, rel=1e-5)


def test_labels_are_of_what_was_watched(tmp_path, small_data):
    names = list(small_data.labels)
    frames = sum(map(len, small_data.labels.values()))
    for name in names:
        write_video(tmp_path / "testing" / f"{name}.avi", walk())
    found = camera.labels_watched(str(tmp_path / "testing"), small_data, frames)
    assert np.array_equal(found, np.concatenate([small_data.labels[name] for name in names]))
    assert camera.labels_watched(str(tmp_path / "testing"), small_data, frames - 1) is None
    write_video(tmp_path / "testing" / "another.avi", walk())
    assert camera.labels_watched(str(tmp_path / "testing"), small_data, frames) is None
    assert camera.labels_watched("rtsp://yard/1", small_data, frames) is None
