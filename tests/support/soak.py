"""Cameras with scripted faults, the process that watches them, and what has to hold afterwards."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil

from ddllib.camera import assembly, widgets
from ddllib.camera.event_file import read_events
from ddllib.camera.score_table import read_scores
from ddllib.paths import ROOT
from support.server import Camera, pictures

PAUSE_S = 0.05  # seconds between two frames
PATIENCE_S = 2.0  # seconds without a frame after which a camera is connected to again
CLEAR_S = 3.0  # seconds before the end of a segment, as of a killed process: events may differ

# The watch with a clock that goes back by an hour now and then, as when it is set.
WATCH = """
import sys, time
from data_prep.live import streams
from ddllib.camera.watch_command import main

class Clock:
    def __getattr__(self, name):
        return getattr(time, name)

    def time(self, began=time.monotonic()):
        return time.time() - 3600 * (int((time.monotonic() - began) / float(sys.argv[1])) % 2)

if float(sys.argv[1]):
    streams.time = Clock()
sys.exit(main(sys.argv[2:]))
"""


def flash(count=20, height=48, width=64):
    return list(np.full((count, height, width, 3), 255, np.uint8))


def calm(count=40, **size):
    return pictures(count, **size)


def scripts():
    """By the camera's name what it plays to each connection, again and again."""
    usual = [*calm(), *flash(), *calm()]
    larger = [*calm(height=96, width=128), *flash(height=96, width=128)]
    return {
        "steady": [*usual * 200],
        "stalls": [*usual, PATIENCE_S + 2, *usual],
        "hangs up": usual,
        "changes size": [*usual, *larger, *usual],
        "sends garbage": [*usual, b"\xff\xd8 no picture \0" * 999, *usual],
        "floods": [*usual * 200],
    }


class Soak:
    """The cameras, played to a watch in a process of its own; a context."""

    def __init__(self, run, folder, clock_s=0.0, only=(), to=None):
        self.folder, self.clock_s, self.to = folder, clock_s, to or folder / "to"
        self.cameras = {
            name: Camera(script, pause=PAUSE_S / (10 if name == "floods" else 1))
            for name, script in scripts().items()
            if name in (only or scripts())
        }
        cameras = {name: {"source": one.address} for name, one in self.cameras.items()}
        if "floods" in cameras:
            cameras["floods"]["rate"] = 1000
        defaults = {"run": str(run), "alarms": 600, "rate": 20, "patience": PATIENCE_S}
        self.config = folder / "cameras.yaml"
        config = {"cameras": cameras, "defaults": defaults, "to": str(self.to)}
        self.config.write_text(json.dumps(config))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.end(signal.SIGKILL)
        for one in self.cameras.values():
            one.close()

    def start(self):
        command = [sys.executable, "-c", WATCH, self.clock_s, "--config", self.config]
        self.log, self.began = open(self.folder / "log", "a"), time.time()
        self.process = subprocess.Popen(
            [*map(str, command)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=self.log,
            stderr=self.log,
        )

    def end(self, number):
        """Ask the watch to end by a signal; returns its exit status."""
        self.process.send_signal(number)
        status = self.process.wait(300)
        self.log.close()
        return status

    def said(self):
        return (self.folder / "log").read_text()

    def wait_until(self, holds, seconds=600):
        deadline = time.monotonic() + seconds
        while not holds():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()[-2000:]
            time.sleep(0.2)

    def statuses(self):
        paths = [self.to / name / "status.json" for name in self.cameras]
        return [json.loads(path.read_text()) for path in paths if path.is_file()]

    def all_have(self, scored):
        """Whether this process has scored so many frames of every camera."""
        here = [s for s in self.statuses() if s["time_s"] > self.began]
        return len(here) == len(self.cameras) and min(s["scored"] for s in here) >= scored

    def wait_for_hours(self, hours, began, scored):
        """Wait until so many hours have passed and every camera has so many frames."""
        ends = began + 3600 * hours
        limit = 600 + 3600 * hours
        self.wait_until(lambda: time.monotonic() > ends and self.all_have(scored), limit)

    def takes(self):
        """Memory in bytes, open files and threads of the watch."""
        process = psutil.Process(self.process.pid)
        return process.memory_info().rss, process.num_fds(), process.num_threads()


def check_folder(folder):
    """No row is lost or doubled, and the events are those of the scores; returns how many.

    A killed process may leave less of the last seconds of its segment. There an event may be
    missing, or one may stand without its scores.
    """
    table, (events, facts) = read_scores(folder), read_events(folder)
    assert table["segment"].is_monotonic_increasing
    for _, part in table.groupby("segment"):
        assert part["frame"].is_monotonic_increasing and part["frame"].is_unique
    threshold = facts["threshold"]
    times = assembly.filtered(table, facts["protocol"])
    limits = threshold["value"], threshold["release"], facts["frame_rate"], facts["least_s"]
    of_scores = widgets.events_of(*times, *limits)
    frames, segments = table["frame"].to_numpy(), table["segment"].to_numpy()

    def same(event, entry):
        """Frames count anew in each segment, and times come twice if a clock is set back."""
        in_frames = entry.start <= frames[event.end] and frames[event.start] <= entry.end
        return in_frames and entry.start_s <= event.end_s and event.start_s <= entry.end_s

    clear = CLEAR_S * facts["frame_rate"]  # in rows, as a clock may be set back at any moment
    for event in of_scores:
        rows_after = np.count_nonzero(segments[event.end + 1 :] == segments[event.end])
        hits = [entry for entry in events if same(event, entry)]
        assert len(hits) == 1 or rows_after <= clear, (event, hits)
    alone = [entry for entry in events if not any(same(event, entry) for event in of_scores)]
    assert len(alone) <= segments.max(), alone  # one for each process before the last
    for number in range(1, len(events) + 1):
        assert (folder / f"{number:04d}.jpg").is_file()
    return len(events)
