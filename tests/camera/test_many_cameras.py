"""Many cameras in one process: each as if it were alone, whatever happens to the others."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from support.footage import write_video
from support.server import camera, pictures

from data_prep.live.sources import open_source
from ddllib import score_clip
from ddllib.camera import post
from ddllib.camera.cameras_file import read_cameras
from ddllib.camera.event_file import read_events
from ddllib.camera.many_cameras import ManyCameras
from ddllib.camera.post import Post
from ddllib.camera.score_table import read_scores
from ddllib.camera.watch_command import main
from ddllib.paths import ROOT
from ddllib.training import load_run

SIZE = (32, 32)


def file_of(folder, cameras, **more):
    """A file of cameras, each with alarms at a rate that little footage has."""
    path = folder / "cameras.yaml"
    path.write_text(json.dumps({"to": "to", "cameras": cameras, **more}))
    return path


def with_event(shift):
    """Frames with a white flash for a second."""
    frames = pictures(40, start=shift)
    return [*frames[:20], *np.full((10, 48, 64, 3), 255, np.uint8), *frames[20:]]


def test_each_camera_has_the_scores_and_events_of_a_watch_of_its_own(watchable, tmp_path):
    cameras = {}
    for k, name in enumerate(("yard", "door", "gate")):
        write_video(tmp_path / f"{name}.avi", with_event(3 * k))
        cameras[name] = {"source": f"{name}.avi"}
    defaults = {"run": str(watchable), "alarms": 600}
    lines = []
    with ManyCameras(
        read_cameras(file_of(tmp_path, cameras, defaults=defaults), every=30.0), lines.append
    ) as many:
        models = {id(post.camera.scorer.model) for post in many.posts}
        assert len(many.run()) == 3 and len(models) == 1 and not many.failed
    assert all(line.partition(": ")[0] in cameras for line in lines)
    model = load_run(watchable).model
    for name in cameras:
        source = str(tmp_path / f"{name}.avi")
        clip = np.stack([f.image for f in open_source(source, SIZE, channels=1)])
        table = read_scores(tmp_path / "to" / name)
        assert np.allclose(table["score"], score_clip(model, clip, patch=2), atol=1e-5)
        alone = str(tmp_path / "alone" / name)
        arguments = ["--run", str(watchable), "--source", source, "--to", alone, "--alarms", "600"]
        assert main(arguments) == 0
        (events, facts), (expected, same) = read_events(tmp_path / "to" / name), read_events(alone)
        assert facts == same and events and len(events) == len(expected)
        assert [(e.start, e.end) for e in events] == [(e.start, e.end) for e in expected]


def test_a_camera_fails_alone(watchable, tmp_path, capsys):
    write_video(tmp_path / "good.avi", pictures(30))
    (tmp_path / "torn.avi").write_bytes((tmp_path / "good.avi").read_bytes()[:300])
    cameras = {
        "dead": {"source": "http://127.0.0.1:1/x", "give_up": 0.01},
        "torn": {"source": "torn.avi"},
        "good": {"source": "good.avi"},
    }
    path = file_of(tmp_path, cameras, defaults={"run": str(watchable), "threshold": 1e3})
    many = ManyCameras(read_cameras(path, every=30.0))
    with many:
        dead = many.posts[0]
        for one in many.posts:
            one.start()
        while many.posts[1].running or many.posts[2].running or not dead.fault:
            many.posts[2].join(0.05)
        assert dead.running and "cannot be opened" in dead.fault  # it begins again
    assert len(read_scores(tmp_path / "to" / "good")) == 30
    out = capsys.readouterr()
    assert "good: good.avi: ended" in out.out and "dead: " in out.out and "torn: " in out.out
    assert not out.err and many.posts[2].result and not many.posts[2].fault


class Failing:
    """A camera that fails so many times, then ends."""

    def __init__(self, faults, live=True):
        self.faults, self.live, self.runs, self.renewed = faults, live, 0, 0
        self.stopped = threading.Event()

    def run(self):
        self.runs += 1
        if self.runs <= self.faults:
            raise ValueError("a fault of the camera")
        return SimpleNamespace()

    def renew(self):
        self.renewed += 1

    def stop(self):
        self.stopped.set()


@pytest.mark.parametrize("live", [True, False])
def test_a_live_camera_that_failed_begins_again_and_a_recording_does_not(live, monkeypatch):
    monkeypatch.setattr(post, "FIRST_WAIT", 0.01)
    failing, lines = Failing(2, live), []
    one = Post("yard", failing, lines.append)
    one.start()
    one.join(60)
    assert (failing.runs, failing.renewed) == ((3, 2) if live else (1, 0))
    assert bool(one.result) == live and bool(one.fault) == (not live)
    assert len(lines) == (2 if live else 1) and all("a fault of the camera" in s for s in lines)


def test_a_camera_whose_source_cannot_be_opened_again_tries_later(monkeypatch):
    monkeypatch.setattr(post, "FIRST_WAIT", 0.01)
    failing = Failing(1)

    def renew():
        failing.renewed += 1
        if failing.renewed == 1:
            raise OSError("no such webcam")

    failing.renew, lines = renew, []
    one = Post("yard", failing, lines.append)
    one.start()
    one.join(60)
    assert one.result and not one.fault and (failing.runs, failing.renewed) == (2, 2)
    assert "no such webcam" in lines[1]


def test_a_camera_that_waits_to_begin_again_stops_when_asked():
    failing = Failing(1)
    one = Post("yard", failing, lambda line: None)
    one.start()
    while not one.fault:
        one.join(0.01)
    one.stop()
    one.join(60)
    assert not one.running and failing.runs == 1


def started(path):
    command = [sys.executable, "-m", "ddllib", "watch", "--config", path, "--every", "0.2"]
    quiet = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*map(str, command)], cwd=ROOT, env=quiet, **pipes)


def counted(lines):
    """How many frames each camera told as scored, at last."""
    counts = {}
    for line in lines:
        match = re.search(r"^(\w+): .*?(\d+) of \d+ frames scored", line)
        if match:
            counts[match[1]] = int(match[2])
    return counts


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_ended_keeps_what_each_camera_told(watchable, tmp_path, number):
    with camera(pictures(5000), pause=0.05) as one, camera([*pictures(5), 900], pause=0.05) as two:
        cameras = {"flowing": {"source": one.address}, "stalled": {"source": two.address}}
        defaults = {"run": str(watchable), "rate": 100, "threshold": 1e3, "patience": 3}
        path = file_of(tmp_path, cameras, defaults=defaults)
        process, lines = started(path), []
        while counted(lines).get("flowing", 0) < 10:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            lines.append(line)
        process.send_signal(number)
        out, err = process.communicate(timeout=300)
    assert "Traceback" not in err
    assert process.returncode == (-9 if number == signal.SIGKILL else 143)
    for name, count in counted([*lines, *out.splitlines()]).items():
        table = read_scores(tmp_path / "to" / name)
        assert len(table) >= count and table["frame"].is_monotonic_increasing
