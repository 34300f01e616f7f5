"""Handle Ctrl-C and SIGTERM between two steps of work, never within one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Stop:
    """The signal that asked to stop, if any."""

    signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def take(self) -> None:
        """Stop now if asked: ``KeyboardInterrupt`` for Ctrl-C, exit status 143 for SIGTERM."""
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self:
            raise SystemExit(128 + self.signal)


@contextmanager
def stop_between_steps(also: Callable[[], object] = lambda: None) -> Iterator[Stop]:
    """Within the block Ctrl-C and SIGTERM do not interrupt; they set the yielded ``Stop``.

    The block checks it where it can stop, saves and calls ``take``. ``also`` is called when the
    signal arrives. A second signal interrupts as usual. Only the main thread receives signals;
    in any other thread ``Stop`` is never set.
    """
    stop, previous_handlers = Stop(), {}

    def handle(number: int, frame: FrameType | None) -> None:
        stop.signal = number
        _restore(previous_handlers)
        also()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            previous_handlers[number] = signal.signal(number, handle)
    try:
        yield stop
    finally:
        _restore(previous_handlers)


def _restore(handlers: dict) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
