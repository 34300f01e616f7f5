"""Watching: what was told as scored is on the disk, whatever happens to the process."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from support.alarms import LEVEL
from support.footage import write_video
from support.scoring import a_clip, a_model
from support.server import camera, pictures

from data_prep.live.sources import Frame, open_source
from ddllib import DDLError, StreamScorer, score_clip
from ddllib import settings as settings_module
from ddllib.camera.alarms import AlarmOptions, Alarms
from ddllib.camera.event_file import read_events
from ddllib.camera.event_page import write_page
from ddllib.camera.listener import Listener
from ddllib.camera.score_table import HEADER, mend, read_scores
from ddllib.camera.watch import watch
from ddllib.camera.watch_command import main, parser
from ddllib.camera.watch_setup import _as_its_profile, with_options
from ddllib.checkpoints import identity
from ddllib.paths import ROOT
from ddllib.settings import load_profile
from ddllib.training import fit, load_run

PATCH, SIZE = 4, (32, 32)
threads = torch.get_num_threads


def frames_of(clip, gaps=(0,), first=0):
    return [
        Frame(t, t / 10, image, t - first in gaps, time.monotonic())
        for t, image in enumerate(clip, start=first)
    ]


class Calls(Listener):
    """A listener with nothing but ``on_frame``, which calls what it is given."""

    def __init__(self, listen):
        self.listen = listen

    def on_frame(self, scored, time_s, value):
        self.listen(scored, time_s)


def watched(frames, folder, model=None, **options):
    scorer = StreamScorer(model or a_model(), PATCH)
    return watch(frames, scorer, folder, tell=lambda line: None, **options)


def test_every_frame_is_written_with_its_offline_score(tmp_path):
    model, clip = a_model(), a_clip(frames=12)
    messages = []
    report = watch(frames_of(clip), StreamScorer(model, PATCH), tmp_path, tell=messages.append)
    table = read_scores(tmp_path)
    assert table["frame"].tolist() == list(range(12)) and set(table["segment"]) == {0}
    assert table["time_s"].tolist() == pytest.approx(np.arange(12) / 10)
    assert np.allclose(table["score"], score_clip(model, clip, PATCH), atol=1e-5)
    assert (report.frames, report.scored, report.segments) == (12, 12, 1)
    assert 0 < report.delay() <= report.delay(0.95)
    assert len(messages) == 1 and "12 of 12 frames scored" in messages[0]


def test_a_score_is_written_exactly(tmp_path):
    scores = []
    listener = Calls(lambda scored, _: scores.append(scored.score))
    watched(frames_of(a_clip()), tmp_path, listeners=[listener])
    assert read_scores(tmp_path)["score"].tolist() == scores


def test_listeners_hear_of_each_frame_after_it_is_on_the_disk(tmp_path):
    calls = []

    def listen(scored, time_s):
        last = (tmp_path / "scores.csv").read_text().splitlines()[-1].split(",")
        assert last[1:3] == [str(scored.index), f"{time_s:.3f}"]
        assert scored.frame.shape == (1, 32, 32) and scored.map.shape == (32, 32)
        calls.append((scored.index, time_s))

    watched(frames_of(a_clip(frames=9), first=5), tmp_path, listeners=[Calls(listen)])
    assert calls == [(t, pytest.approx(t / 10)) for t in range(5, 14)]


def test_no_window_spans_a_gap_and_a_piece_without_a_window_has_no_score(tmp_path):
    model, clip = a_model(), a_clip(frames=14)
    report = watched(frames_of(clip, gaps=(0, 6, 8)), tmp_path, model)
    table = read_scores(tmp_path)
    assert table["frame"].tolist() == [*range(6), *range(8, 14)]
    assert table["segment"].tolist() == [0] * 6 + [2] * 6
    expected = np.concatenate([score_clip(model, part, PATCH) for part in (clip[:6], clip[8:])])
    assert np.allclose(table["score"], expected, atol=1e-5)
    assert (report.frames, report.scored, report.segments) == (14, 12, 3)


def test_a_second_watch_goes_on_behind_the_first_in_a_new_segment(tmp_path):
    for _ in range(2):
        watched(frames_of(a_clip(frames=4)), tmp_path)
    table = read_scores(tmp_path)
    assert table["frame"].tolist() == [0, 1, 2, 3] * 2
    assert table["segment"].is_monotonic_increasing and len(set(table["segment"])) == 2


class Again:
    """A recording of a few frames that is known again by its identity."""

    name, dropped, reconnections = "again", 0, 0

    def __init__(self, frames, identity=("a",)):
        self.frames, self.identity = frames, identity and list(identity)

    def __iter__(self):
        return iter(self.frames)


def test_a_recording_is_gone_on_with_behind_its_last_scored_frame(tmp_path):
    model, clip, messages = a_model(), a_clip(frames=12), []

    def seen(count, identity=("a",), patch=PATCH, listeners=()):
        source, scorer = Again(frames_of(clip)[:count], identity), StreamScorer(model, patch)
        return watch(source, scorer, tmp_path, listeners, tell=messages.append).scored

    assert seen(7) == 7 and seen(12) == 5 and seen(12, ("a", "b")) == 0
    assert any(line.startswith("again: frames up to 6 were scored before") for line in messages)
    table = read_scores(tmp_path)
    assert table["frame"].tolist() == list(range(12))
    expected = np.concatenate([score_clip(model, part, PATCH) for part in (clip[:7], clip[7:])])
    assert np.allclose(table["score"], expected, atol=1e-5)
    for other in ({"identity": ("c",)}, {"identity": None}, {"patch": 8}, {}):
        assert seen(12, **other) == 12


@pytest.mark.parametrize("faults, count", [([], 0), (["a.mkv: breaks off"], 12)])
def test_behind_a_clip_that_broke_off_frames_are_not_counted_on(tmp_path, faults, count):
    """The clip may be whole the next time: then all that follows has other numbers."""
    model, messages = a_model(), []
    for expected in (12, count):
        source = Again(frames_of(a_clip(frames=12), gaps=(0, 6)))
        source.faults = faults
        report = watch(source, StreamScorer(model, PATCH), tmp_path, (), tell=messages.append)
        assert report.scored == expected
        assert messages[-1].endswith("1 broken off") == bool(faults)


class Hears(Listener):
    """A listener that has, or has not, what was heard before."""

    def __init__(self, resumes):
        self.resumes = resumes


def test_who_has_not_heard_the_frames_before_hears_them_all(tmp_path):
    model, clip = a_model(), a_clip(frames=12)

    def seen(*listeners):
        scorer = StreamScorer(model, PATCH)
        return watch(Again(frames_of(clip)), scorer, tmp_path, listeners, tell=str).scored

    assert [seen(), seen()] == [12, 0]
    assert [seen(Hears(False)), seen(Hears(True)), seen(Hears(False))] == [12, 0, 12]


def test_who_lags_behind_hears_the_last_frames_again_and_the_table_holds_each_once(tmp_path):
    model, clip, calls = a_model(), a_clip(frames=20), []

    class Late(Hears):
        lag = 4

        def on_frame(self, scored, time_s, value):
            calls.append((scored.index, scored.score))

    for count in (12, 20):
        source = Again(frames_of(clip)[:count])
        watch(source, StreamScorer(model, PATCH), tmp_path, [Late(True)], tell=str)
    assert [index for index, _ in calls] == [*range(12), *range(8, 20)]
    again = [score for _, score in calls[12:]]  # the first one by a whole window, too
    assert np.allclose(again, score_clip(model, clip, PATCH)[8:], atol=1e-5)
    assert read_scores(tmp_path)["frame"].tolist() == list(range(20))


def test_a_recording_begun_anew_lists_no_event_twice_and_keeps_the_earlier_ones(tmp_path):
    model, clip, messages = a_model(), a_clip(frames=12), []

    def seen(*identity):
        always, options = (
            replace(LEVEL, value=0.0, release=0.0),
            AlarmOptions(10.0, PATCH, tell=str),
        )
        alarms = Alarms(always, tmp_path, options)
        source, scorer = Again(frames_of(clip), identity or None), StreamScorer(model, PATCH)
        watch(source, scorer, tmp_path, [alarms], tell=messages.append)
        alarms.close()
        write_page(tmp_path)
        return len(read_events(tmp_path)[0])

    assert [seen("b"), seen("b"), seen("a", "b"), seen("a", "b")] == [1, 1, 1, 1]
    (earlier,) = tmp_path.glob("earlier-*")
    assert len(read_events(earlier)[0]) == 1
    for folder in (tmp_path, earlier):
        assert {"0001.jpg", "0001.npz", "index.html"} <= {path.name for path in folder.iterdir()}
    (line,) = (line for line in messages if "earlier" in line)
    assert line.startswith("again: begins anew") and line.endswith(str(earlier))
    assert seen() == 2  # what has no identity, such as a live source, adds to what is there


def test_a_table_removed_is_begun_anew_and_gone_on_with(tmp_path):
    model = a_model()
    for count in (12, 12, 0):
        assert watched(Again(frames_of(a_clip(frames=12))), tmp_path, model).scored == count
        if count and not (tmp_path / "once").exists():
            (tmp_path / "scores.csv").unlink(), (tmp_path / "once").touch()


def test_a_watch_stopped_before_its_first_row_takes_no_others_rows_for_its_own(tmp_path):
    watched(Again(frames_of(a_clip(frames=12)), ("b",)), tmp_path)
    watched(Again(frames_of(a_clip(frames=2)), ("a",)), tmp_path)  # too short for a window
    model = a_model()
    for frames, count in ((12, 12), (12, 0)):
        source = Again(frames_of(a_clip(frames=frames)), ("a",))
        assert watched(source, tmp_path, model).scored == count


def test_the_same_footage_is_known_again_and_no_other(tmp_path):
    for name in "ab":
        write_video(tmp_path / f"{name}.avi", pictures(4 + ord(name) % 2))
    (a,), (again,), (slower,), (b,) = (
        open_source(tmp_path / f"{name}.avi", 32, rate=rate).identity
        for name, rate in (("a", None), ("a", None), ("a", 5), ("b", None))
    )
    assert a == again and len({a, slower, b}) == 3


@pytest.mark.parametrize(
    "torn, rows",
    [
        ("3,4,0.4", 2),
        ("3,4,0.400,0.12", 2),  # whole but for its line break: its last digits may be missing
        ("\0\0\0\0\n", 2),
        ("3,4\n\0\0", 2),
        ("", 2),
    ],
)
def test_a_torn_end_is_cut_off(tmp_path, torn, rows):
    path, good = tmp_path / "scores.csv", f"{HEADER}\n2,0,0.000,0.5\n2,1,0.100,0.25\n"
    path.write_text(good + torn)
    assert read_scores(tmp_path)["frame"].tolist() == list(range(rows))
    assert mend(path) == 2
    assert path.read_text() == good
    watched(frames_of(a_clip(frames=3)), tmp_path)
    assert read_scores(tmp_path)["segment"].tolist() == [2, 2, 3, 3, 3]


@pytest.mark.parametrize("start", ["", "segm", HEADER, HEADER + "\n"])
def test_a_table_torn_in_its_first_line_begins_anew(tmp_path, start):
    (tmp_path / "scores.csv").write_text(start)
    watched(frames_of(a_clip(frames=3)), tmp_path)
    assert len(read_scores(tmp_path)) == 3


def test_a_long_table_is_mended_by_its_end(tmp_path):
    path = tmp_path / "scores.csv"
    rows = [f"{t // 100},{t},{t / 10:.3f},0.5\n" for t in range(10_000)]
    path.write_text(HEADER + "\n" + "".join(rows) + "99,1")
    assert mend(path) == 99
    assert path.read_text() == HEADER + "\n" + "".join(rows)


def test_a_strangers_file_is_left_alone(tmp_path):
    (tmp_path / "scores.csv").write_text("a,b\n1,2\n")
    for call in (lambda: watched(frames_of(a_clip()), tmp_path), lambda: read_scores(tmp_path)):
        with pytest.raises(DDLError, match="no table of scores"):
            call()
    assert (tmp_path / "scores.csv").read_text() == "a,b\n1,2\n"
    with pytest.raises(DDLError, match="expected the scores of a watched source"):
        read_scores(tmp_path / "other")


def test_two_do_not_watch_into_one_folder(tmp_path):
    def listen(scored, time_s):
        with pytest.raises(DDLError, match="another process watches into it"):
            watched(frames_of(a_clip()), tmp_path)

    assert watched(frames_of(a_clip(frames=3)), tmp_path, listeners=[Calls(listen)]).scored == 3


def test_a_source_that_comes_in_bursts_is_reported_why_nothing_is_scored(tmp_path):
    clip = a_clip(frames=8)
    report = watched(frames_of(clip, gaps=range(0, 8, 2)), tmp_path)
    assert report.scored == 0 and "0 of 8 frames scored" in report.report()
    assert "no piece between gaps is as long as a window" in report.report()
    assert "no piece" not in watched(frames_of(clip), tmp_path / "whole").report()


def test_a_report_comes_now_and_then_in_one_line(tmp_path):
    lines = []
    scorer = StreamScorer(a_model(), PATCH)
    watch(frames_of(a_clip(frames=4)), scorer, tmp_path, every=0.0, tell=lines.append)
    assert len(lines) == 5 and not any("\n" in line for line in lines)
    assert re.search(r"delay [\d.]+ s, 95 % within [\d.]+ s; 0 dropped, 0 reconnections", lines[-1])


def test_what_a_listener_raises_leaves_the_table_whole(tmp_path):
    def listen(scored, time_s):
        if scored.index == 4:
            raise ValueError("the alarm's own fault")

    with pytest.raises(ValueError):
        watched(frames_of(a_clip()), tmp_path, listeners=[Calls(listen)])
    assert read_scores(tmp_path)["frame"].tolist() == [0, 1, 2, 3, 4]


# ---- a camera, a trained model, a process of its own


def test_a_run_is_loaded_as_it_was_trained(prepared_folder, trained, small_data):
    run = load_run(trained)
    again = fit(run.settings, small_data, trained, progress=False)
    assert again.steps_now == 0 and run.epoch == 1 and not run.model.training
    pairs = zip(run.model.state_dict().values(), again.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    who = [identity(r.settings, small_data, r.precision) for r in (run, again)]
    assert who[0] == who[1]
    with pytest.raises(DDLError, match="no checkpoint in it"):
        load_run(trained.parent)


def start(trained, source, folder, *options):
    command = [sys.executable, "-m", "ddllib", "watch", "--run", trained, "--source", source]
    more = ["--to", folder, "--every", "0.2", "--rate", "100", "--no-alarms", *options]
    return subprocess.Popen(
        [*map(str, command), *map(str, more)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
        | {"OMP_NUM_THREADS": "1"},
    )


def told_as_scored(line):
    return int(re.search(r"(\d+) of \d+ frames scored", line)[1])


@pytest.mark.slow
def test_a_killed_process_loses_no_frame_that_it_told_as_scored(trained, tmp_path):
    with camera(pictures(5000), pause=0.01) as playing:
        rows = []
        for kill in range(2):
            process = start(trained, playing.address, tmp_path)
            lines = [process.stdout.readline() for _ in range(2 + kill)]
            os.kill(process.pid, signal.SIGKILL)
            rest = process.communicate()[0].splitlines()
            last_count = max(map(told_as_scored, [*lines, *rest]))
            rows.append(len(read_scores(tmp_path)))
            assert rows[-1] - sum(rows[:-1]) >= last_count > 0
        table = read_scores(tmp_path)
    assert len(set(table["segment"])) == 2 and table["segment"].is_monotonic_increasing
    for _, part in table.groupby("segment"):
        assert part["frame"].is_monotonic_increasing and part["frame"].iloc[0] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.slow
def test_a_process_asked_to_stop_ends_cleanly(trained, tmp_path, number):
    with camera([*pictures(40), 60], pause=0.01) as playing:
        process = start(trained, playing.address, tmp_path, "--patience", 30)
        while told_as_scored(process.stdout.readline()) < 5:
            pass
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 128 + number and "Traceback" not in err
    last = out.splitlines()[-1]
    assert "ended" in last and told_as_scored(last) == len(read_scores(tmp_path))
    again = int(re.search(r"(\d+) reconnections", last)[1])
    frames = int(re.search(r"of (\d+) frames scored", last)[1])
    assert again or told_as_scored(last) == frames  # the last frames' answers, too


def test_a_watch_of_a_source_without_end_ends_after_its_minutes(trained, tmp_path, capsys):
    to = ["--to", str(tmp_path), "--no-alarms", "--minutes", "0.02"]
    with camera([*pictures(40), 60], pause=0.01) as playing:
        began = time.monotonic()
        assert main(["--run", str(trained), "--source", playing.address, *to]) == 0
    assert 1 < time.monotonic() - began < 15 and len(read_scores(tmp_path)) > 0
    assert "ended as its minutes were over" in capsys.readouterr().out


NUMBERS = ("--alarms", "--rate", "--patience", "--give-up", "--minutes", "--every")
NO_NUMBERS = ("0", "-1", "nan", "inf", "-inf", "1e999", "ten", "")


@pytest.mark.parametrize("option", NUMBERS)
@pytest.mark.parametrize("text", NO_NUMBERS)
def test_a_number_that_no_watch_can_have_is_reported_by_its_option(option, text, tmp_path, capsys):
    arguments = ["--run", "no run", "--source", "0", "--to", str(tmp_path / "to")]
    with pytest.raises(SystemExit) as error:
        main([*arguments, f"{option}={text}"])
    (line,) = capsys.readouterr().err.splitlines()
    assert error.value.code == 2 and not (tmp_path / "to").exists()
    assert f"argument {option}: {text!r}; expected" in line and "a finite number" in line


@pytest.mark.parametrize("text", ["0", "-3", "2.5", "nan", "four"])
def test_a_patch_is_a_whole_number(text, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--run", "no run", "--source", "0", "--to", str(tmp_path), f"--patch={text}"])
    (line,) = capsys.readouterr().err.splitlines()
    assert "argument --patch" in line and "a whole number from 1 up" in line


def test_a_source_that_never_answered_has_no_delay(tmp_path):
    messages = []
    report = watch([], StreamScorer(a_model(), PATCH), tmp_path, tell=messages.append)
    assert "0 of 0 frames scored" in messages[-1]
    assert "nan" not in messages[-1] and "delay" not in report.report()


def test_the_command_scores_a_file_as_offline(trained, tmp_path, capsys):
    write_video(tmp_path / "a.avi", pictures(20))
    source, to = str(tmp_path / "a.avi"), str(tmp_path / "to")
    arguments = ["--run", str(trained), "--source", source, "--to", to, "--no-alarms"]
    assert main(arguments) == 0
    clip = np.stack([f.image for f in open_source(tmp_path / "a.avi", SIZE, channels=1)])
    expected = score_clip(load_run(trained).model, clip, patch=2)
    assert np.allclose(read_scores(to)["score"], expected, atol=1e-5)
    assert "20 of 20 frames scored" in capsys.readouterr().out


def test_what_the_profile_ignores_is_ignored_on_watch_too(trained, tmp_path, capsys, monkeypatch):
    (tmp_path / "profiles").mkdir()
    profile = (settings_module.PROFILES / "tiny.yaml").read_text()
    (tmp_path / "profiles" / "tiny.yaml").write_text(profile + "ignore: [[0, 0, 1, 0.5]]\n")
    write_video(tmp_path / "a.avi", pictures(20))
    clip = np.stack([f.image for f in open_source(tmp_path / "a.avi", SIZE, channels=1)])
    model = load_run(trained).model

    def scores(name, *more):
        to = ["--source", str(tmp_path / "a.avi"), "--to", str(tmp_path / name), "--no-alarms"]
        assert main(["--run", str(trained), *to, *more]) == 0
        return read_scores(tmp_path / name)["score"].tolist()

    def expected(rows):
        mask = np.zeros(SIZE, bool)
        mask[:rows] = True
        return pytest.approx(score_clip(model, clip, 2, ignore=mask), abs=1e-5)

    monkeypatch.setattr(settings_module, "PROFILES", tmp_path / "profiles")
    assert scores("mask") == expected(16)
    assert "ignored: 50.0 % of the picture, by [[0, 0, 1, 0.5]]" in capsys.readouterr().out
    assert scores("box", "--ignore", "[[0, 0, 1, 0.25]]") == expected(8)
    assert scores("none", "--ignore", "none") == expected(0)
    assert "by [[0, 0, 1, 0.25]]" in capsys.readouterr().out
    arguments = ["--run", str(trained), "--source", "0", "--to", str(tmp_path), "--ignore", "[[0"]
    assert main(arguments) == 1 and "no boxes; expected [[x0" in capsys.readouterr().err


def test_the_command_tells_a_fault_in_one_line_without_the_password(trained, tmp_path, capsys):
    source = "http://me:secret@127.0.0.1:1/x"
    to = ["--to", str(tmp_path / "to"), "--give-up", "0.01", "--no-alarms"]
    assert main(["--run", str(trained), "--source", source, *to]) == 1
    output = capsys.readouterr()
    assert output.err.startswith("watch: http://127.0.0.1:1/x: cannot be opened")
    assert "secret" not in output.err + output.out and output.err.count("\n") == 1
    assert not any("secret" in str(p) or b"secret" in p.read_bytes() for p in tmp_path.rglob("*.*"))
    assert main(["--run", str(tmp_path), "--source", "0", "--to", str(tmp_path)]) == 1
    assert "no checkpoint in it" in capsys.readouterr().err


def test_live_scores_equal_offline_scores_of_the_same_frames(trained, tmp_path):
    run, messages = load_run(trained), []
    with camera([*pictures(20), 60], pictures(20), pause=0.02) as playing:
        source = open_source(playing.address, SIZE, patience=0.5, give_up=0.8, tell=messages.append)
        images = []

        def taken():
            for frame in source:
                images.append((frame.gap, frame.image))
                yield frame
                if len(images) == 40:
                    source.stop()

        report = watched(taken(), tmp_path, run.model)
    assert report.scored and source.reconnections and any("no frame for" in s for s in messages)
    # On a busy machine frames may be dropped, too, which begins further pieces.
    begins = [t for t, (gap, _) in enumerate(images) if gap]
    parts = [np.stack([i for _, i in images[a:b]]) for a, b in pairwise([*begins, len(images)])]
    whole = [part for part in parts if len(part) >= run.model.temporal]
    expected = np.concatenate([score_clip(run.model, part, PATCH) for part in whole])
    assert np.allclose(read_scores(tmp_path)["score"], expected, atol=1e-5)
    assert begins[0] == 0 and report.segments == len(parts) >= 2


def test_a_source_that_gave_up_ends_the_command_with_a_status_of_its_own(trained, tmp_path):
    with camera(pictures(20), []) as playing:
        arguments = ["--run", str(trained), "--source", playing.address, "--to", str(tmp_path)]
        assert main([*arguments, "--no-alarms", "--give-up", "0.8"]) == 75
    assert len(read_scores(tmp_path)) > 0


def test_alarms_asked_for_are_the_profile_s_unless_given(trained):
    run = load_run(trained)
    arguments = ["--run", str(trained), "--source", "0", "--to", "there"]
    for more, rate in (([], load_profile("tiny").alarms_per_hour), (["--alarms", "7"], 7)):
        own = _as_its_profile(run.settings)
        settings = with_options(own, parser().parse_args([*arguments, *more]))
        assert settings.alarms_per_hour == rate


def test_a_live_source_has_a_core_to_itself(tmp_path):
    before, counts = torch.get_num_threads(), []
    torch.set_num_threads(3)
    try:
        listener = Calls(lambda *_: counts.append(threads()))
        watched(frames_of(a_clip(frames=6)), tmp_path, listeners=[listener])
        assert set(counts) == {2} and threads() == 3
    finally:
        torch.set_num_threads(before)


def test_rows_that_no_table_of_numbers_holds_are_left_out(tmp_path):
    rows = f"{10**30},0,0.0,0.1", "0,-3,0.0,0.1", "0,0,0.0,0.5"
    (tmp_path / "scores.csv").write_text("\n".join((HEADER, *rows, "")))
    assert read_scores(tmp_path)["score"].tolist() == [0.5]
