"""Report changes of the scene: when one begins, when it is over, how many events it caused."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ddllib.camera.drift import CONFIRM_S, QUIET_S, Drift, DriftMonitor
from ddllib.camera.events import clock
from ddllib.camera.scene_changes import OVER, ChangeFile, SceneChange

# Seconds after which any drift would have been seen: then one of an earlier process is over.
SETTLED_S = QUIET_S + 2 * CONFIRM_S
LINES_KEPT = 20  # messages about the scene


class SceneWatch:
    """Observes the scene with a ``DriftMonitor`` (None: not at all) and reports its changes.

    Each change is on disk, in ``changes``, before ``tell`` gets its line. ``table`` is the name of
    the file in which events are marked. ``lines`` keeps the newest messages.
    """

    def __init__(
        self,
        monitor: DriftMonitor | None,
        changes: ChangeFile,
        table: str,
        tell: Callable[[str], None],
    ):
        self.monitor, self.changes, self.table, self.tell = monitor, changes, table, tell
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)
        self.silent_events = 0  # events that began in a changed scene and had no line of their own

    @property
    def drift(self) -> Drift | None:
        """The present change of the scene, if there is one."""
        return self.monitor.drift if self.monitor else None

    def mark(self, scored, time_s: float) -> str:
        """Check the next frame; returns the kind of the present change, or an empty string."""
        monitor = self.monitor
        if not monitor:
            return ""
        drift_before = monitor.drift
        drift = monitor.push(scored.frame, scored.score)
        if drift:
            self.changes.add(SceneChange(time_s, scored.index, drift.kind, drift.sentence))
            self._tell(
                f"the scene has changed at {clock(time_s)}: {drift.sentence}; until it is as "
                "before, events are kept but not told"
            )
        if monitor.drift:
            return monitor.drift.kind
        if drift_before or monitor.seconds > SETTLED_S:
            over = SceneChange(time_s, scored.index, OVER, "the scene is as before")
            self.changes.close(over)
        self.tell_silent_events()
        return ""

    def tell_silent_events(self) -> None:
        """Report in one line how many events began in the changed scene."""
        if self.silent_events:
            count = self.silent_events
            self._tell(f"events that began in the changed scene: {count}, marked in {self.table}")
        self.silent_events = 0

    def _tell(self, line: str) -> None:
        self.lines.append(line)
        self.tell(line)
