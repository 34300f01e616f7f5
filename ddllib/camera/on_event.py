"""Run the user's own command for each event, such as one that sends a message."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ddllib.camera.cooldown import Cooldown
from ddllib.errors import DDLError, printable

MOST = 8  # commands that run at the same time
LAST_S = 5.0  # seconds that the end of a watch waits for running commands


class OnEvent:
    """Runs ``command`` beside the watch whenever an event has ended: ``<command> <folder> <n>``.

    ``command`` is split into words as a shell would, but no shell runs it. The watch does not wait
    for it; if it fails, ``tell`` gets one line. The command may run longer than the watch, as
    Ctrl-C does not reach it. With a ``cooldown`` in seconds it rests so long after each run; then
    it is run once for all events that ended meanwhile, ``<command> <folder> <n> <count>``: the last
    one, and how many there are (``cooldown.Cooldown``). Raises ``DDLError`` for a command that does
    not exist.
    """

    def __init__(
        self,
        command: str,
        folder: Path | str,
        tell: Callable[[str], None] = print,
        cooldown: float | None = None,
    ):
        self.words, self.folder, self.tell = _words(command), Path(folder).resolve(), tell
        self.cooldown = Cooldown(cooldown, self.folder, self._run_for) if cooldown else None
        self._threads: list[threading.Thread] = []  # one for each running command

    def __call__(self, number: int) -> None:
        """Event ``number`` has ended; its files lie in the folder."""
        if self.cooldown:
            self.cooldown(number)
        else:
            self._run(number)

    def begin(self) -> None:
        """The watch begins: report events that a killed one suppressed."""
        if self.cooldown:
            self.cooldown.begin()

    def close(self) -> None:
        """The watch is over: wait a little, so that a late failure is reported."""
        if self.cooldown:
            self.cooldown.close()
        deadline = time.monotonic() + LAST_S
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))

    def _run_for(self, number: int, count: int) -> None:
        """Run the command for ``count`` events, the last of which is ``number``."""
        if count > 1:
            self.tell(f"events up to {number}: {count} of them in the cooldown, one run for all")
        self._run(number, str(count))

    def _run(self, number: int, *more: str) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) == MOST:
            self._fault(number, f"not run, as {MOST} before it still run")
            return
        try:
            process = subprocess.Popen(
                [*self.words, str(self.folder), str(number), *more],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            self._fault(number, f"cannot be run ({error.strerror or error})")
            return
        thread = threading.Thread(target=self._wait, args=(process, number), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _wait(self, process: subprocess.Popen, number: int) -> None:
        status = process.wait()
        if status:
            self._fault(number, f"ended with status {status}")

    def _fault(self, number: int, reason: str) -> None:
        self.tell(printable(f"event {number}: {self.words[0]} {reason}; the watch goes on"))


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
