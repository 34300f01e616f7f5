"""The base class of a watch's listeners; its hooks do nothing until they are overridden."""

from __future__ import annotations

from pathlib import Path

from ddllib.camera.running_median import RunningMedian
from ddllib.streaming import FrameScore


class Listener:
    """Receives each frame of a watch with its filtered score, and the gaps in between.

    A subclass overrides what it needs, mostly ``on_frame``. The watch calls ``on_resume``,
    ``on_begin_anew`` or ``on_live`` once before the first frame. It does not call ``close``: the
    code that created the listener does.

    ``lag`` is the number of frames at the end of a killed watch that the listener may not have
    processed to the end; a resumed recording is repeated from there. ``resumes`` says whether the
    listener still has its results of an earlier watch. With False a recording is watched from its
    beginning; with None the listener has no say. ``filter`` names the filter over time that the
    watch has to use (``filter_name``); None allows any. Each of the three may be an attribute of
    the class or the object, or a property.
    """

    lag: int = 0
    resumes: bool | None = None
    filter: str | None = None

    def on_frame(self, scored: FrameScore, time_s: float, value: float) -> None:
        """Take the next frame: ``scored`` with its raw score, and the filtered score ``value``.

        ``scored.index`` is the source's number of the frame, ``time_s`` its time in seconds. Its
        row in the table is on disk already.
        """

    def on_gap(self) -> None:
        """The footage has a gap here; ``on_frame`` was called for all frames before it."""

    def on_resume(self) -> None:
        """The watch of a recording is resumed; frames within ``lag`` come again."""

    def on_begin_anew(self) -> Path | None:
        """A recording is watched from its beginning.

        Returns the folder to which the results of an earlier watch were moved, if there are any.
        """

    def on_live(self) -> None:
        """The source is live: no frame of an earlier watch comes again."""

    def close(self) -> None:
        """The footage is over."""


def filter_name(smooth: RunningMedian | None) -> str:
    """The name of a filter over time in ``events.json``; "none" without one."""
    return type(smooth).__name__ if smooth else "none"
