"""Ctrl-C and SIGTERM taken between two steps, never within one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Stop:
    """Which signal has asked to stop, if any."""

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
    """What happens in the block is not broken off by Ctrl-C or SIGTERM, only told of it.

    The block looks at the yielded ``Stop`` where it can stop, saves and calls ``take``; ``also`` is
    called at once. A second signal breaks off, as without this. Only the main thread hears
    signals; in another the block is never asked.
    """
    stop, earlier = Stop(), {}

    def note(number: int, frame: FrameType | None) -> None:
        stop.signal = number
        _restore(earlier)
        also()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            earlier[number] = signal.signal(number, note)
    try:
        yield stop
    finally:
        _restore(earlier)


def _restore(handlers: dict) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
