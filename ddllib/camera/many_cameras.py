"""Watch many cameras in one process (``python -m ddllib watch --config``).

- Each camera has a thread that runs its watch (``camera_watch``), as for one camera alone. A live
  source has a thread of its own that decodes, and a queue of ``data_prep.live.streams.BACKLOG``
  frames, of which the oldest is dropped when another one arrives.
- One thread scores for all, by turns (``turns``): a camera that floods gets no more than its turn,
  one that stalls is not waited for.
- A camera that fails does not touch the others (``post``).
- The main thread writes statuses, removes old evidence, and serves the page (``overseer``).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache, partial

from ddllib.camera.camera_watch import CameraWatch
from ddllib.camera.cameras_file import Cameras
from ddllib.camera.overseer import Overseer
from ddllib.camera.post import Post
from ddllib.camera.turns import Turns
from ddllib.camera.watch_result import WatchResult
from ddllib.errors import DDLError
from ddllib.io.interrupts import stop_between_steps
from ddllib.training import load_run

ROUND_S = 1.0  # seconds between two looks at all cameras
LAST_S = 30.0  # seconds that the end waits for a camera that does not stop, as on a dead disk


class ManyCameras:
    """The watches of all cameras of a file, used as a context within which folders are locked.

    ``tell`` gets lines for people, each after the name of its camera, one at a time. Raises
    ``DDLError`` for a camera that cannot be set up; none is watched then. ``stopped`` is the signal
    that ended ``run``, or None; ``failed`` says whether a camera ended by a fault.
    """

    def __init__(self, cameras: Cameras, tell: Callable[[str], None] = print):
        self.cameras, self._tell, self._telling = cameras, tell, threading.Lock()
        self.posts: list[Post] = []
        self.stopped: int | None = None
        self._held = ExitStack()

    def __enter__(self) -> ManyCameras:
        with ExitStack() as held:
            turns = held.enter_context(Turns())
            load = cache(load_run)
            for name, options in self.cameras.cameras.items():
                tell = partial(self.tell, name)
                try:
                    camera = CameraWatch(options, tell, tell, load, by_day=bool(self.cameras.keep))
                    held.enter_context(camera)
                except DDLError as error:
                    raise DDLError(f"{self.cameras.path}: camera {name}: {error}") from None
                camera.share(turns)
                self.posts.append(Post(name, camera, tell))
            self.overseer = held.enter_context(Overseer(self.cameras, self.posts, self.tell))
            self._held = held.pop_all()
        return self

    def __exit__(self, *_) -> None:
        self.stop()
        for post in self.posts:
            post.join(LAST_S)
        self._held.close()

    @property
    def failed(self) -> bool:
        """Whether a camera has ended by a fault."""
        return any(post.fault and not post.running for post in self.posts)

    def tell(self, name: str, line: str) -> None:
        """A line of a camera; lines of two cameras never mix."""
        with self._telling:
            self._tell(f"{name}: {line}")

    def stop(self) -> None:
        """End all watches soon; may be called from a signal handler."""
        for post in self.posts:
            post.stop()

    def run(self, minutes: float | None = None) -> list[WatchResult]:
        """Watch until all sources end, ``minutes`` are over or the process is asked to stop.

        Returns the results of the cameras that ended without a fault.
        """
        ends = time.monotonic() + 60 * minutes if minutes else float("inf")
        with stop_between_steps(self.stop) as stop:
            for post in self.posts:
                post.start()
            while running := [post for post in self.posts if post.running]:
                if time.monotonic() >= ends:
                    self.stop()
                self.overseer.look()
                running[0].join(ROUND_S)
            self.overseer.look(now=True)
        self.stopped = stop.signal
        return [post.result for post in self.posts if post.result]
