"""From footage to alarms: the whole way of one's own camera, and what stops it."""

import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
from support.footage import walk, write_video
from support.server import camera as camera_of
from support.server import pictures

from data_prep.demo import ordinary
from data_prep.live.sources import open_source
from ddllib import DDLError, pipeline
from ddllib.camera import assembly, widgets
from ddllib.camera.event_file import read_events
from ddllib.camera.score_table import read_scores
from ddllib.camera.watch import claimed, watch
from ddllib.camera.watch_command import GAVE_UP, main
from ddllib.data import Prepared, load_prepared
from ddllib.devices import PRECISIONS
from ddllib.evaluation import apply_protocol
from ddllib.paths import ROOT
from ddllib.settings import load_profile
from ddllib.training import load_run

CUT = 60  # frames of ordinary walkway before a magenta block comes


@pytest.fixture(scope="module")
def walkway(tmp_path_factory):
    """A run of the short generated scene, and a video in which a block appears for two seconds."""
    root = tmp_path_factory.mktemp("walkway")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DDL_RUNS", str(root / "runs"))
        # Of one precision: what a small training makes of others differs from machine to machine.
        settings = load_profile("tiny", epochs=4, precision="float32")
        data = pipeline.prepare(settings, progress=False)
        run = pipeline.train(settings, data, progress=False)
        path = root / "watched.avi"
        video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12.5, (192, 128))
        for t, frame in enumerate(ordinary(0, 500, 2 * CUT)):
            if CUT <= t < CUT + 25:
                frame[40:100, 60:120] = (255, 0, 255)
            video.write(np.ascontiguousarray(frame[..., ::-1]))
        video.release()
        patch.setattr(assembly, "MINUTES", 1)
        yield settings, data, run, path


@pytest.mark.slow
def test_the_command_leaves_scores_events_and_a_page(walkway, tmp_path, capsys):
    settings, _, _, path = walkway
    args = ["--run", str(settings.run_folder), "--source", str(path), "--to", str(tmp_path)]
    code = "import sys; open(sys.argv[1] + '/ran-' + sys.argv[2], 'w')"
    command = shlex.join([sys.executable, "-c", code])
    assert main([*args, "--alarms", "600", "--video", "--on-event", command]) == 0
    output = capsys.readouterr().out
    assert "threshold" in output and "alarms per hour" in output and "event 1: " in output
    scores, (events, facts) = read_scores(tmp_path), read_events(tmp_path)
    assert len(scores) == 2 * CUT
    assert [(e.start, e.end) for e in events] == events_by(scores, facts)
    block = [e for e in events if e.start <= CUT + 12 <= e.end]
    x0, y0, x1, y1 = block[0].box
    assert x0 < 90 / 192 < x1 and y0 < 70 / 128 < y1  # the middle of the block
    assert facts["protocol"] == "median" and facts["threshold"]["rate"] == 600
    number = f"{1 + events.index(block[0]):04d}"
    assert {".jpg", ".npz"} <= {p.suffix for p in tmp_path.glob(f"{number}.*")}
    assert number in (tmp_path / "index.html").read_text()
    assert len(list(tmp_path.glob("annotated-*"))) == 1 and "the video" in output
    ran = {path.name for path in tmp_path.glob("ran-*")}
    assert ran == {f"ran-{n}" for n in range(1, len(events) + 1)}


def events_by(scores, facts):
    """First and last frames of the events that the scores of a watch make at its threshold.

    Where they end is the model's affair, and a model trained here differs by the processor.
    """
    threshold = facts["threshold"]
    times = assembly.filtered(scores, facts["protocol"])
    limits = threshold["value"], threshold["release"], facts["frame_rate"], facts["least_s"]
    return [(e.start, e.end) for e in widgets.events_of(*times, *limits)]


KILLED = """
import os, signal, sys
from ddllib.camera import assembly, score_table
from ddllib.camera.watch_command import main

def add(self, index, *rest, add=score_table.Table.add):
    add(self, index, *rest)
    if index == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)

assembly.MINUTES, score_table.Table.add = 1, add
main(sys.argv[2:])
"""


@pytest.mark.slow
def test_a_recording_whose_watch_was_killed_has_the_events_of_a_whole_watch(walkway, tmp_path):
    """Killed twice: within the event, its filtered scores eight frames late, and behind it."""
    settings, _, _, path = walkway
    args = ["--run", str(settings.run_folder), "--source", str(path), "--alarms", "600", "--to"]
    assert main([*args, str(tmp_path / "whole")]) == 0
    for frame in (CUT + 14, CUT + 31):
        command = [sys.executable, "-c", KILLED, str(frame), *args, str(tmp_path / "killed")]
        assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == -9
        assert read_scores(tmp_path / "killed")["frame"].tolist() == list(range(frame + 1))
    assert main([*args, str(tmp_path / "killed")]) == 0
    (whole, facts), (killed, same) = (read_events(tmp_path / n) for n in ("whole", "killed"))
    assert facts == same and any(e.start <= CUT + 12 <= e.end for e in whole)
    assert [(e.start, e.end, e.peak) for e in killed] == [(e.start, e.end, e.peak) for e in whole]
    assert [e.score for e in killed] == pytest.approx([e.score for e in whole], rel=1e-5)
    assert read_scores(tmp_path / "killed")["frame"].tolist() == list(range(2 * CUT))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_run_trained_in_either_precision_is_watched_with(
    small_settings, prepared_folder, tmp_path, monkeypatch, precision
):
    """What ``auto`` is on the one processor or the other, on this one."""
    monkeypatch.setenv("DDL_PRECISION", precision)
    settings = small_settings(threshold_share=0.3, epochs=1, precision="auto")
    shutil.copytree(prepared_folder, settings.prepared_folder)
    run = pipeline.train(settings, load_prepared(settings.prepared_folder), progress=False)
    assert run.precision == precision
    write_video(tmp_path / "a.avi", [*pictures(40), *np.full((30, 48, 64, 3), 255, np.uint8)])
    args = ["--run", str(run.folder), "--source", str(tmp_path / "a.avi"), "--to"]
    assert main([*args, str(tmp_path / "to"), "--alarms", "600"]) == 0
    scores, (events, facts) = read_scores(tmp_path / "to"), read_events(tmp_path / "to")
    assert [(e.start, e.end) for e in events] == events_by(scores, facts) != []
    assert load_run(run.folder).precision == precision


@pytest.mark.slow
def test_a_second_process_changes_nothing_of_a_running_watch(walkway, tmp_path, capsys):
    settings, _, _, path = walkway
    args = ["--run", str(settings.run_folder), "--source", str(path), "--to", str(tmp_path)]
    (tmp_path / "running.json").write_text("{")
    with claimed(tmp_path):
        assert main([*args, "--alarms", "600"]) == 1
    assert "another process watches into it" in capsys.readouterr().err
    names = {p.name for p in tmp_path.iterdir()} - {".watch.lock"}
    assert names == {"running.json"}
    assert main([*args, "--no-alarms", "--video"]) == 1
    assert "--video marks what is above the threshold" in capsys.readouterr().err
    assert main([*args, "--no-alarms", "--on-event", "true"]) == 1
    assert "--on-event runs when an event has ended" in capsys.readouterr().err


@pytest.mark.slow
def test_another_rate_is_that_of_the_alarms_too(walkway, tmp_path, capsys):
    settings, _, _, path = walkway
    args = ["--run", str(settings.run_folder), "--source", str(path), "--to", str(tmp_path)]
    assert main([*args, "--alarms", "600", "--rate", "6.25"]) == 0
    events, facts = read_events(tmp_path)
    assert facts["frame_rate"] == 6.25 and len(read_scores(tmp_path)) == CUT
    assert any(e.start_s <= (CUT + 12) / 12.5 <= e.end_s for e in events)
    assert "note: chosen at 12.5 frames per second, watched at 6.25" in capsys.readouterr().out


def test_a_folder_with_files_of_somebody_else_is_left_alone(walkway, tmp_path, capsys):
    settings, _, _, path = walkway
    (tmp_path / "0001.jpg").write_text("mine")
    args = ["--run", str(settings.run_folder), "--source", str(path), "--to", str(tmp_path)]
    assert main([*args, "--alarms", "600"]) == 1
    assert "holds 0001.jpg, of no watch; give a folder of its own" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir() if p.name[0] != "."] == ["0001.jpg"]


@pytest.mark.slow
def test_scores_of_ordinary_minutes_are_of_their_patch_and_mask(walkway, tmp_path):
    settings, data, run, _ = walkway
    mask = np.zeros(data.size, np.uint8)
    mask[: data.size[0] // 2] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    others = [replace(settings, patch=4), replace(settings, ignore=str(tmp_path / "mask.png"))]
    first, *rest = (assembly.generated_scores(s, data, run, 1)["000"] for s in (settings, *others))
    assert all(len(first) == len(one) and not np.array_equal(first, one) for one in rest)
    assert np.array_equal(assembly.generated_scores(settings, data, run, 1)["000"], first)
    (later,) = assembly.generated_scores(settings, data, run, 1, first=7).items()
    assert later[0] == "007" and not np.array_equal(later[1], first)


def test_footage_shorter_than_a_window_has_no_scores(tmp_path):
    table = pd.DataFrame({name: [] for name in ("segment", "frame", "time_s", "score")})
    for protocol in assembly.PROTOCOLS:
        assert [len(part) for part in assembly.filtered(table, protocol)] == [0, 0, 0]


def test_the_threshold_is_chosen_by_footage_that_was_not_trained_on(walkway):
    settings, data, run, _ = walkway
    scores = assembly.normal_scores(settings, data, run)
    assert sum(map(len, scores.values())) == assembly.MINUTE
    threshold = assembly.threshold(replace(settings, alarms_per_hour=60.0), data, run)
    assert threshold.rate == 60 and threshold.low <= 60 <= threshold.high
    smooth_scores = np.concatenate([apply_protocol(s, "median") for s in scores.values()])
    assert np.median(smooth_scores) < threshold.release < threshold.value
    share_settings = replace(settings, threshold_share=0.25)
    ends = assembly.normal_scores(share_settings, data, run)
    assert ends.keys() == data.training.keys()
    assert all(len(v) == round(0.25 * len(data.training[n])) for n, v in ends.items())


def test_scores_of_normal_footage_are_kept_for_the_next_watch(walkway, monkeypatch):
    settings, data, run, _ = walkway
    half = replace(settings, threshold_share=0.5)
    before = set((run.folder / "normal").glob("*.npz"))
    first = assembly.normal_scores(half, data, run)
    (path,) = set((run.folder / "normal").glob("*.npz")) - before
    with monkeypatch.context() as patch:
        patch.setattr(assembly.pipeline, "score_normal", None)  # would fail if it were called
        again = assembly.normal_scores(half, data, run)
        assert list(again) == list(first)
        assert all(np.array_equal(again[name], scores) for name, scores in first.items())
    for other in (replace(half, threshold_share=0.4), replace(half, patch=4)):
        scores = assembly.normal_scores(other, data, run)
        assert not all(np.array_equal(scores[name], first[name]) for name in first)
    for content in (b"", b"PK no archive"):
        path.write_bytes(content)
        anew = assembly.normal_scores(half, data, run)
        assert all(np.array_equal(anew[name], scores) for name, scores in first.items())


def test_footage_without_any_kept_apart_gives_no_threshold(small_settings, small_data):
    settings = small_settings(epochs=1, data="yard")
    run = pipeline.train(settings, small_data, progress=False)
    with pytest.raises(DDLError, match="threshold_share is 0; expected a share"):
        assembly.threshold(settings, small_data, run)


def test_a_filter_that_needs_the_whole_clip_is_refused(walkway):
    settings, data, run, _ = walkway
    with pytest.raises(DDLError, match="'median\\+min-max', which needs the whole clip"):
        assembly.threshold(replace(settings, protocol="median+min-max"), data, run)


def test_what_is_watched_is_named_or_the_test_clips(walkway, tmp_path, monkeypatch):
    settings, *_ = walkway
    for address in ("rtsp://camera/1", "http://camera/live.m3u8", "0"):
        assert assembly.to_watch(replace(settings, watch=address)) == address
    monkeypatch.setenv("DDL_DATA", str(tmp_path))
    monkeypatch.chdir(ROOT / "book")  # where JupyterLab runs a chapter
    (tmp_path / "today.mp4").touch()
    (tmp_path / "2024").mkdir()  # a folder there counts more than a webcam's number
    assert assembly.to_watch(replace(settings, watch="2024")) == str(tmp_path / "2024")
    assert assembly.to_watch(replace(settings, watch="./2024")) == str(tmp_path / "2024")
    sources = [
        assembly.to_watch(replace(settings, watch=name)) for name in ("today.mp4", "README.md")
    ]
    assert sources == [str(tmp_path / "today.mp4"), str(ROOT / "README.md")]
    with pytest.raises(DDLError, match="monday.mp4: not found; looked at monday.mp4, .*set DDL"):
        assembly.to_watch(replace(settings, watch="monday.mp4"))
    assert assembly.to_watch(settings).endswith("testing")
    (tmp_path / "yard").mkdir()
    with pytest.raises(DDLError, match="no test clips to watch; name a video or an address"):
        assembly.to_watch(replace(settings, data=str(tmp_path / "yard")))
    write_video(tmp_path / "yard" / "monday.avi", pictures(5))
    yard = replace(settings, data=str(tmp_path / "yard"))
    assert assembly.to_watch(yard) == str(tmp_path / "yard")  # itself, as there is nothing else
    (tmp_path / "yard" / "monday.avi").unlink()
    for part in ("training", "testing"):
        write_video(tmp_path / "yard" / part / "monday.avi", pictures(5))
        assert assembly.to_watch(yard) == str(tmp_path / "yard" / part)
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
        source = assembly.to_watch(replace(settings, data=str(tmp_path / layout)))
        assert source == str(tmp_path / layout / part)


def test_a_chapter_ends_its_watch_of_what_may_have_no_end(walkway):
    settings, _, _, path = walkway
    live, file = open_source("rtsp://camera/1", 32), open_source(path, 32)
    minutes = [assembly.minutes_to_watch(settings, source) for source in (live, file)]
    assert minutes == [assembly.LIVE_MINUTES, None]
    two_minutes = replace(settings, watch_minutes=2)
    assert [assembly.minutes_to_watch(two_minutes, source) for source in (live, file)] == [2, 2]


@pytest.mark.slow
def test_events_of_one_folder_are_of_one_threshold(walkway, tmp_path, capsys):
    settings, _, _, path = walkway
    args = ["--run", str(settings.run_folder), "--source", str(path), "--to", str(tmp_path)]
    assert main([*args, "--alarms", "600", "--video"]) == 0
    before = pd.read_csv(tmp_path / "events.csv")
    assert main([*args, "--alarms", "60"]) == 1
    assert "events of another source, threshold or filter" in capsys.readouterr().err
    args[3] = str(path.parent)  # other footage
    assert main([*args, "--alarms", "600"]) == 1
    assert pd.read_csv(tmp_path / "events.csv").equals(before)
    assert json.loads((tmp_path / "events.json").read_text())["threshold"]["rate"] == 600


@pytest.mark.slow
def test_normal_footage_that_changed_since_training_is_reported(
    walkway, tmp_path, capsys, monkeypatch
):
    settings, _, _, path = walkway
    args = ["--run", str(settings.run_folder), "--source", str(path), "--alarms", "600", "--to"]
    assert main([*args, str(tmp_path / "a")]) == 0
    assert "has changed since" not in capsys.readouterr().out
    monkeypatch.setattr(Prepared, "digest", "another")  # test clips came
    assert main([*args, str(tmp_path / "b")]) == 0
    assert "has changed since" not in capsys.readouterr().out
    monkeypatch.setattr(Prepared, "training_digest", "another")
    assert main([*args, str(tmp_path / "c")]) == 0
    assert "note: the prepared footage has changed since this run was" in capsys.readouterr().out


@pytest.mark.slow
def test_a_live_source_is_watched_on_by_another_threshold(walkway, tmp_path, capsys):
    """Normal footage was added meanwhile: a watch that was killed must not stay ended."""
    settings, data, _, _ = walkway
    clip = next(iter(data.testing.values()))[:30]
    frames = [np.ascontiguousarray(np.moveaxis(f, 0, -1)[..., ::-1]) for f in clip]
    with camera_of(frames, frames, frames, pause=0.02) as playing:
        args = ["--run", str(settings.run_folder), "--to", str(tmp_path), "--rate", "50"]
        args += ["--source", playing.address, "--patience", "0.5", "--give-up", "0.2"]
        assert main([*args, "--alarms", "600"]) == GAVE_UP
        (tmp_path / "events.csv").open("a").write("1,0,9,4,0,90,40,0.9,,,,,0,,,\n")
        assert main([*args, "--alarms", "60"]) == GAVE_UP
        output = capsys.readouterr().out
        (place,) = tmp_path.glob("earlier-*")
        assert f"another threshold than before; events by that one are kept in {place}" in output
        assert [e.end for e in read_events(place)[0]][-1] == 90
        assert read_events(place)[1]["threshold"]["rate"] == 600
        assert read_events(tmp_path)[1]["threshold"]["rate"] == 60
        assert 90 not in [e.end for e in read_events(tmp_path)[0]]
        assert main([*args, "--alarms", "60", "--patch", "12"]) == 1
        assert "events of another source, threshold or filter" in capsys.readouterr().err


def test_no_event_spans_two_clips_of_a_watched_folder(walkway, tmp_path):
    settings, data, run, _ = walkway
    threshold = replace(
        assembly.threshold(settings, data, run), value=0.0, release=0.0
    )  # always above
    source = open_source(assembly.to_watch(settings), data.size)
    alarms = assembly.alarms(settings, data, threshold, tmp_path, tell=lambda line: None)
    scorer, smooth = assembly.scorer(settings, data, run), assembly.smoother(settings)
    watch(source, scorer, tmp_path, [alarms], tell=lambda line: None, smooth=smooth)
    alarms.close()
    lengths = np.cumsum([0, *(len(clip) for clip in data.testing.values())])
    events = read_events(tmp_path)[0]
    assert [(e.start, e.end + 1) for e in events] == list(zip(lengths, lengths[1:], strict=False))
    assert [e.open for e in events] == [False] * (len(events) - 1) + [True]
    seconds, scores, segments = assembly.filtered(read_scores(tmp_path), "median")
    rate = assembly.frame_rate(settings)
    view_events = widgets.events_of(seconds, scores, segments, 0.0, 0.0, rate, assembly.LEAST_S)
    assert [(e.start, e.end, e.open) for e in view_events] == [
        (e.start, e.end, e.open) for e in events
    ]
    raw = [scores[a:b].max() for a, b in zip(lengths, lengths[1:], strict=False)]
    assert [e.score for e in events] == pytest.approx(raw, rel=1e-5)


def test_labels_are_of_what_was_watched(tmp_path, small_data):
    names = list(small_data.labels)
    frames = sum(map(len, small_data.labels.values()))
    for name in names:
        write_video(tmp_path / "testing" / f"{name}.avi", walk())
    labels = assembly.labels_watched(str(tmp_path / "testing"), small_data, frames)
    assert np.array_equal(labels, np.concatenate([small_data.labels[name] for name in names]))
    assert assembly.labels_watched(str(tmp_path / "testing"), small_data, frames - 1) is None
    write_video(tmp_path / "testing" / "another.avi", walk())
    assert assembly.labels_watched(str(tmp_path / "testing"), small_data, frames) is None
    assert assembly.labels_watched("rtsp://yard/1", small_data, frames) is None
