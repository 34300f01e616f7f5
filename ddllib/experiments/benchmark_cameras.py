"""Benchmark: how many cameras one process watches here, measured from end to end.

    python -m ddllib benchmark cameras [--run RUN] [--cameras 1 2 4 8] [--to record.json]

Local cameras send H.264 over HTTP in real time (``camera_streams``), each other minutes of one clip
at a time, so that they are not in alarm at the same moment. ``watch --config`` decodes,
resizes, scores and raises alarms. A number of cameras is held if no frame is dropped, every camera
is scored at its rate, and 95 % of the answers come within 0.5 s of their frame, for every camera at
every look. The delay counts from when a frame was decoded, and includes the half window that a
score waits for. CPU and memory are those of the watch alone, without the cameras that send. Beside
them stand the cores that a plain loop takes which only decodes and resizes the same streams
(``decoding``).

Without ``--run`` a run is trained first, on ordinary minutes from the camera that is then played
(``walkway_run``). That takes minutes once, and the run is kept.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from ddllib.camera.choices import BACKENDS
from ddllib.camera.status import NAME as STATUS
from ddllib.camera.watch_setup import run_folder
from ddllib.devices import describe_device, resolve_device
from ddllib.errors import DDLError
from ddllib.experiments.camera_streams import encode_walkway, served
from ddllib.experiments.decoding import decoding_cores
from ddllib.experiments.walkway_run import MODELS, SIZES, named, walkway_run, walkway_settings
from ddllib.io.commands import Parser, frames_per_second, run_command, seconds, whole
from ddllib.io.files import write_json
from ddllib.records import environment
from ddllib.training import load_run

LONGEST_DELAY_S = 0.5  # within which 95 % of the answers have to come
LOWEST_SHARE = 0.97  # of the frames of some seconds; the last look may miss a few just arriving
CLIP_S = 60.0  # seconds of the clip that all cameras play again and again
READY_S = 300.0  # seconds within which all cameras have to be live
FLOOR_S = 20.0  # seconds at most for which the plain loop decodes
STATUS_INTERVAL_S = 5.0  # seconds between two readings of the status files


@dataclass(frozen=True)
class Held:
    """What so many cameras took: shares of a core, bytes, frames, seconds.

    ``delay_95_s`` is the worst 95 % quantile of any camera at any look, ``slowest_rate`` the lowest
    rate of scored frames. ``disk_a_day`` is what all folders together grow by in a day;
    ``decoding_cores`` what a plain loop takes that decodes as many streams.
    """

    cameras: int
    dropped: int
    delay_95_s: float
    slowest_rate: float
    cores: float
    memory: int
    disk_a_day: float
    decoding_cores: float

    def passes(self, rate: float) -> bool:
        """Whether every frame of ``rate`` per second was scored, and the answers came in time."""
        all_scored = not self.dropped and self.slowest_rate >= LOWEST_SHARE * rate
        return all_scored and self.delay_95_s <= LONGEST_DELAY_S


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m ddllib benchmark cameras``; returns the exit status."""
    parser = Parser(prog="python -m ddllib benchmark cameras", description=__doc__)
    parser.add_argument("--run", type=Path, help="folder of a trained run; without it one is made")
    model = "what is trained without --run: the profile's model, or one of 96 pixels and width 32"
    parser.add_argument("--model", choices=MODELS, default="own-camera", help=model)
    counts = "numbers of cameras, in rising order; the first that is not held is the last"
    cameras = whole("cameras")
    parser.add_argument("--cameras", type=cameras, nargs="+", default=[1, 2, 4, 8, 12], help=counts)
    parser.add_argument("--backend", choices=BACKENDS, default=BACKENDS[0], help="as of watch")
    parser.add_argument("--size", choices=SIZES, default="360p")
    parser.add_argument("--rate", type=frames_per_second, default=10.0, help="frames per second")
    parser.add_argument("--seconds", type=seconds, default=60.0, help="for each number of cameras")
    parser.add_argument("--to", type=Path, metavar="FILE", help="also keep everything as JSON")
    options = parser.parse_args(arguments)
    return run_command("benchmark", lambda: _report(options))


def _report(options: argparse.Namespace) -> None:
    rows: list[Held] = []
    run = run_folder(options.run or _own_run(options))
    side = load_run(run).settings.size
    defaults = {"run": str(run.resolve()), "rate": options.rate, "backend": options.backend}
    with tempfile.TemporaryDirectory() as place:
        clip = Path(place) / "clip.mp4"
        encode_walkway(clip, SIZES[options.size], options.rate, CLIP_S)
        with served([clip], CLIP_S / max(options.cameras)) as address:
            for count in sorted(options.cameras):
                folder = Path(place) / str(count)
                sources = {f"camera-{k}": f"{address}/{k}" for k in range(count)}
                cameras = {name: {"source": source} for name, source in sources.items()}
                taken = hold(folder, cameras, defaults, options.seconds)
                floor = decoding_cores([*sources.values()], side, min(options.seconds, FLOOR_S))
                rows.append(Held(**taken, decoding_cores=floor))
                print(pd.DataFrame([asdict(rows[-1])]).to_string(index=False), flush=True)
                if not rows[-1].passes(options.rate):
                    break
    largest = max((row.cameras for row in rows if row.passes(options.rate)), default=0)
    print(
        f"held: {largest} cameras of {options.size} at {options.rate:g} frames per second, none "
        f"dropped, 95 % of the answers within {LONGEST_DELAY_S:g} s"
    )
    if options.to:
        record = {"device": describe_device(resolve_device("cpu")), "environment": environment()}
        record |= {"size": options.size, "rate": options.rate, "seconds": options.seconds}
        record |= {"backend": options.backend}
        record |= {"run": named(options.run, options.model), "held": largest}
        record |= {"rows": [asdict(row) for row in rows]}
        write_json(options.to, record)


def _own_run(options: argparse.Namespace) -> Path:
    changes = MODELS[options.model]
    return walkway_run(walkway_settings(SIZES[options.size], options.rate, **changes))


def hold(folder: Path, cameras: Mapping, defaults: Mapping, duration_s: float) -> dict:
    """Watch ``cameras`` for so many seconds, once all of them are live.

    ``cameras`` has options by name and ``defaults`` those of all, as in ``cameras.yaml``. The watch
    writes to a folder ``to`` in ``folder``. What comes back are the fields of ``Held`` without
    ``decoding_cores``. Raises ``DDLError`` where the cameras do not become live, with what the
    watch said.
    """
    import psutil

    folder.mkdir(parents=True)
    count = len(cameras)
    config = {"cameras": dict(cameras), "defaults": dict(defaults), "to": "to"}
    (folder / "cameras.yaml").write_text(json.dumps(config))
    command = [sys.executable, "-m", "ddllib", "watch", "--config", str(folder / "cameras.yaml")]
    with open(folder / "log", "w+") as log:
        watch = subprocess.Popen(command, stdout=log, stderr=log)
        process = psutil.Process(watch.pid)
        try:
            _wait_until_live(watch, folder, count)
            first, began = _statuses(folder), time.monotonic()
            cpu_before, disk_before, looks = _cpu_s(process), _bytes(folder), []
            while time.monotonic() - began < duration_s:
                time.sleep(STATUS_INTERVAL_S)
                looks += _statuses(folder)
            elapsed = time.monotonic() - began
            cpu, memory = _cpu_s(process) - cpu_before, process.memory_info().rss
            grown = _bytes(folder) - disk_before
        finally:
            watch.send_signal(signal.SIGTERM)
            watch.wait()
    dropped = sum(s["dropped"] for s in looks[-count:]) - sum(s["dropped"] for s in first)
    return {
        "cameras": count,
        "dropped": dropped,
        "delay_95_s": max(status["delay_95_s"] for status in looks),
        "slowest_rate": min(status["frames_per_second"] for status in looks[-count:]),
        "cores": cpu / elapsed,
        "memory": memory,
        "disk_a_day": grown / elapsed * 86400,
    }


def _wait_until_live(watch: subprocess.Popen, folder: Path, count: int) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and watch.poll() is None:
        statuses = _statuses(folder)
        if len(statuses) == count and all(s["delay_95_s"] is not None for s in statuses):
            # So that the first reading holds nothing of the beginning.
            time.sleep(2 * STATUS_INTERVAL_S)
            return
        time.sleep(0.5)
    last_line = (folder / "log").read_text().splitlines()[-1:] or ["nothing"]
    raise DDLError(f"{count} cameras: not all became live; the watch said: {last_line[0]}")


def _statuses(folder: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"to/*/{STATUS}"))]


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("to/*/*") if path.is_file())


def _cpu_s(process) -> float:
    times = process.cpu_times()
    return times.user + times.system
