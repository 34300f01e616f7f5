"""A camera among many: its thread, and what happens when it fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ddllib.camera.camera_watch import CameraWatch
from ddllib.camera.watch_result import WatchResult
from ddllib.errors import DDLError

FIRST_WAIT, LONGEST_WAIT = 5.0, 300.0  # seconds before a live camera that failed begins again


class Post:
    """Runs a camera's watch in a thread, so that its faults stay its own.

    A live camera that fails, as on a full disk, is begun again, after ``FIRST_WAIT`` seconds and
    twice as long each time; a recording that fails has ended. ``fault`` is the present one in one
    line, or None. ``result`` is there when the watch has ended without a fault.
    """

    def __init__(self, name: str, camera: CameraWatch, tell: Callable[[str], None]):
        self.name, self.camera, self.tell = name, camera, tell
        self.fault: str | None = None
        self.result: WatchResult | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name=f"watches {name}")

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the watch soon; may be called from a signal handler."""
        self._stopped.set()
        self.camera.stop()

    def join(self, seconds: float) -> None:
        """Wait for the end, at most so long."""
        if self._thread.ident is not None:  # it was started
            self._thread.join(seconds)

    @property
    def running(self) -> bool:
        """Whether the watch has not ended yet."""
        return self._thread.is_alive()

    def _work(self) -> None:
        wait, again = FIRST_WAIT, False
        while True:
            began = time.monotonic()
            try:
                if again:
                    self.camera.renew()
                if self._stopped.is_set():  # ``stop`` knew the source of before only
                    self.camera.stop()
                self.fault = None
                self.result = self.camera.run()
                return
            except Exception as error:  # any: a camera fails alone
                self.fault = _line(error)
            if not self.camera.live or self._stopped.is_set():
                self.tell(f"{self.fault}; this camera has ended, the others go on")
                return
            wait = FIRST_WAIT if time.monotonic() - began > LONGEST_WAIT else wait
            self.tell(f"{self.fault}; this camera begins again in {wait:g} s, the others go on")
            if self._stopped.wait(wait):
                return
            wait, again = min(2 * wait, LONGEST_WAIT), True


def _line(error: Exception) -> str:
    if isinstance(error, DDLError | OSError):
        return str(error)
    return str(DDLError(f"an unexpected fault ({type(error).__name__}: {error})"))
