"""Cameras that stall, hang up, flood and send garbage, a clock that is set back, and kills.

``make soak`` watches for hours (``DDL_SOAK``) what is watched for about a minute here.
"""

import os
import signal
import time

import pytest
from support.soak import Soak, check_folder

HOURS = float(os.environ.get("DDL_SOAK", 0))
FRAMES = 120  # scored frames of the slowest camera before a process is ended
GROWTH = 0.05 if HOURS else 0.5  # of memory; in a minute it has hardly settled
MORE = 32  # open files, or threads, beyond those of the beginning: connections come and go


@pytest.mark.slow
def test_faults_of_cameras_and_kills_lose_and_double_nothing(watchable, tmp_path):
    with Soak(watchable, tmp_path, clock_s=10.0) as soak:
        for number in (signal.SIGKILL, signal.SIGTERM):
            soak.wait_until(lambda: soak.all_have(FRAMES))
            assert soak.end(number) == (-9 if number == signal.SIGKILL else 143)
            soak.start()
        began = time.monotonic()
        soak.wait_for_hours(HOURS / 10, began, FRAMES)
        memory, files, threads = soak.takes()
        soak.wait_for_hours(HOURS, began, 2 * FRAMES)
        later = soak.takes()
        soak.end(signal.SIGTERM)
        assert later[0] < (1 + GROWTH) * memory
        assert later[1] < files + MORE and later[2] < threads + MORE
        assert "Traceback" not in soak.said() and "unexpected" not in soak.said()
        states = {status["camera"]: status for status in soak.statuses()}
        assert states["hangs up"]["reconnections"] > 0 and states["stalls"]["reconnections"] > 0
        events = {name: check_folder(tmp_path / "to" / name) for name in soak.cameras}
        assert events["steady"] > 0 and events["hangs up"] > 0


@pytest.mark.slow
def test_cameras_go_on_when_a_full_disk_has_room_again(watchable, tmp_path, disk):
    with Soak(watchable, tmp_path, only=("steady", "hangs up"), to=disk.folder) as soak:
        soak.wait_until(lambda: soak.all_have(FRAMES))
        with disk.full(process=soak.process.pid):
            soak.wait_until(lambda: soak.said().count("make room") >= len(soak.cameras))
        later = time.time() + 10  # twice as long as from one flash to the next
        soak.wait_until(lambda: all((s["last_frame_s"] or 0) > later for s in soak.statuses()))
        assert soak.end(signal.SIGTERM) == 143
        assert "Traceback" not in soak.said()
        events = {name: check_folder(disk.folder / name) for name in soak.cameras}
        assert min(events.values()) > 0, soak.said()[-3000:]
