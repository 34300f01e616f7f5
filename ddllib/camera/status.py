"""``status.json`` of a camera: whether it lives, how many frames it scores, how late."""

from __future__ import annotations

import json
import shutil
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from ddllib.camera.post import Post
from ddllib.camera.retention import is_low
from ddllib.io.files import write_whole

NAME = "status.json"
RECENT = 100  # frames of which the delay is told
RATE_S = 10.0  # seconds over which frames per second are counted
FREE_GIGABYTES = 1.0  # below it the disk is low, if no other floor is set
State = Literal["starting", "live", "lost", "changed scene", "disk low", "failed", "ended"]


@dataclass(frozen=True)
class Status:
    """How a camera's watch goes.

    ``time_s`` is the time of the status and ``last_frame_s`` that of the newest frame, in seconds
    since 1970 (of a recording: from its beginning); ``delay_s`` and ``delay_95_s`` are the median
    and the 95 % quantile of the seconds from reading a frame to its score, of the newest
    ``RECENT``; None before there is one. ``frames``, ``scored``, ``reused``, ``dropped`` and
    ``reconnections`` count since the watch began, ``events`` those of the folder; ``reused`` of
    those scored took the score of an earlier frame (``still_scorer``). ``message`` is the fault or
    the change of the scene in one line.
    """

    camera: str
    state: State
    time_s: float
    last_frame_s: float | None
    frames_per_second: float
    frames: int
    scored: int
    reused: int
    dropped: int
    reconnections: int
    delay_s: float | None
    delay_95_s: float | None
    events: int
    free_bytes: int
    message: str


class StatusFile:
    """Finds and writes the status of one camera; ``newest`` is the last one."""

    def __init__(self, post: Post, free_gigabytes: float | None = None):
        self.post, self.free_gigabytes = post, free_gigabytes or FREE_GIGABYTES
        self.newest: Status | None = None
        self._began = time.monotonic()
        self._counts: deque[tuple[float, int]] = deque()  # when how many frames were scored

    def write(self) -> Status:
        """Find the present status and write it; the file is whole at any moment.

        A disk that is full is no fault here: the watch itself meets it.
        """
        self.newest = self.find()
        content = json.dumps(asdict(self.newest), indent=1).encode()
        # Not synced: after a power cut a status is of no use, and syncing each would be slow.
        write_whole(self.post.camera.folder / NAME, lambda file: file.write(content), sync=False)
        return self.newest

    def find(self) -> Status:
        """The present status."""
        camera, post = self.post.camera, self.post
        watched, source, alarms = camera.watched, camera.source, camera.alarms
        delays = list(watched.delays)[-RECENT:]
        median, late = np.quantile(delays, [0.5, 0.95]).tolist() if delays else (None, None)
        state, message = self._state()
        return Status(
            camera=post.name,
            state=state,
            time_s=time.time(),
            last_frame_s=watched.newest_s,
            frames_per_second=self._pace(watched.scored),
            frames=watched.frames,
            scored=watched.scored,
            reused=watched.reused or 0,
            dropped=source.dropped,
            reconnections=source.reconnections,
            delay_s=median,
            delay_95_s=late,
            events=alarms.journal.events.count if alarms else 0,
            free_bytes=shutil.disk_usage(camera.folder).free,
            message=message,
        )

    def _state(self) -> tuple[State, str]:
        post, camera = self.post, self.post.camera
        if fault := post.fault:
            return "failed", fault
        if post.result:
            return "ended", ""
        read_s, patience = camera.watched.newest_read_s, camera.options.patience
        silent_s = time.monotonic() - (self._began if read_s is None else read_s)
        if silent_s > patience:
            return "lost", f"no frame for {silent_s:.0f} s"
        if read_s is None:
            return "starting", ""
        if is_low(camera.folder, self.free_gigabytes):
            return "disk low", f"less than {self.free_gigabytes:g} GB are free"
        drift = camera.alarms.scene.drift if camera.alarms else None
        return ("changed scene", drift.sentence) if drift else ("live", "")

    def _pace(self, scored: int) -> float:
        """Scored frames per second over the last ``RATE_S`` seconds."""
        now = time.monotonic()
        if self._counts and scored < self._counts[-1][1]:
            self._counts.clear()  # the watch began again
        self._counts.append((now, scored))
        while now - self._counts[0][0] > RATE_S:
            self._counts.popleft()
        seconds = now - self._counts[0][0]
        return round((scored - self._counts[0][1]) / seconds, 2) if seconds else 0.0
