"""A person's own command for each event: a message, a light, a copy elsewhere."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ddllib.errors import DDLError, printable

MOST = 8  # commands that run at the same time
LAST_S = 5.0  # seconds that the end of a watch waits for those that still run


class OnEvent:
    """Runs ``command`` beside the watch whenever an event has ended: ``<command> <folder> <n>``.

    ``command`` is split into words as a shell would, but no shell runs it. The watch never waits
    for it; where it fails, ``tell`` gets one line. It outlives the watch, whose Ctrl-C it does not
    hear. Raises ``DDLError`` for a command that is not there.
    """

    def __init__(self, command: str, folder: Path | str, tell: Callable[[str], None] = print):
        self.words, self.folder, self.tell = _words(command), Path(folder).resolve(), tell
        self._waiting: list[threading.Thread] = []

    def __call__(self, number: int) -> None:
        """Event ``number`` has ended; its files lie in the folder."""
        self._waiting = [thread for thread in self._waiting if thread.is_alive()]
        if len(self._waiting) == MOST:
            self._fault(number, f"not run, as {MOST} before it still run")
            return
        try:
            process = subprocess.Popen(
                [*self.words, str(self.folder), str(number)],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            self._fault(number, f"cannot be run ({error.strerror or error})")
            return
        thread = threading.Thread(target=self._wait, args=(process, number), daemon=True)
        self._waiting.append(thread)
        thread.start()

    def close(self) -> None:
        """The watch is over: wait a little, so that a late failure is told."""
        until = time.monotonic() + LAST_S
        for thread in self._waiting:
            thread.join(max(until - time.monotonic(), 0))

    def _wait(self, process: subprocess.Popen, number: int) -> None:
        status = process.wait()
        if status:
            self._fault(number, f"ended with status {status}")

    def _fault(self, number: int, what: str) -> None:
        self.tell(printable(f"event {number}: {self.words[0]} {what}; the watch goes on"))


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise DDLError(f"--on-event {command}: {error}; expected a command line") from None
    if not words or not shutil.which(words[0]):
        raise DDLError(
            f"--on-event {command}: no such program; expected a command that can be run, by its "
            "path or from $PATH"
        )
    return words
