"""What explains an event: the peak's frame, its reconstruction, where they differ, and when."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from ddllib.errors import DDLError
from ddllib.events import Box
from ddllib.files import write_whole
from ddllib.pictures import boxed, heat, picture, save_picture
from ddllib.reading import read_arrays

WIDE, HIGH = 600, 120  # of the drawn trace, in its own units
EDGE = 14  # above and below the lines, where numbers stand
DIMENSIONS = {
    "frame": 3, "reconstruction": 3, "map": 2, "place": 1, "patch": 0,
    "shape": 1, "seconds": 1, "scores": 1, "region": 1,
}  # fmt: skip


class Trace:
    """What was seen of late: the last ``most`` things, and during an event those before it, too.

    Of a long event every second thing is kept, every fourth, and so on, so that there are never
    more than twice as many.
    """

    def __init__(self, most: int):
        self.most, self.seen = most, deque()
        self._every, self._left = 1, 0  # of how many one is kept, how many are left out next

    def push(self, thing, running: bool) -> None:
        """Take what comes next; ``running`` during an event."""
        if not running:
            self._every, self._left = 1, 0
            while len(self.seen) >= self.most:
                self.seen.popleft()
        if self._left:
            self._left -= 1
            return
        self.seen.append(thing)
        self._left = self._every - 1
        if len(self.seen) == 2 * self.most:
            self.seen = deque(list(self.seen)[::2])
            self._every *= 2

    def clear(self) -> None:
        """Forget everything."""
        self.seen.clear()
        self._every, self._left = 1, 0


@dataclass(frozen=True)
class Evidence:
    """What is kept of one event.

    ``frame`` and ``reconstruction`` are uint8, C0 x H x W and C x H x W, ``map`` the error, H x W
    float32. ``place`` (grid, row, column; see ``events.best_patch``) is the patch of side ``patch``
    in pixels that gave the score; ``shape`` is the height and width at which a person sees the
    frame, in its own proportions. N frames from before the event up to its end (``Trace``) have
    ``seconds``, filtered ``scores``, and in ``region`` the mean error of that very patch.
    """

    frame: np.ndarray
    reconstruction: np.ndarray
    map: np.ndarray
    place: np.ndarray
    patch: np.ndarray
    shape: np.ndarray
    seconds: np.ndarray
    scores: np.ndarray
    region: np.ndarray

    def leave(
        self, folder: Path, number: int, seen: np.ndarray, box: Box | None, threshold: float
    ) -> None:
        """Write it into ``folder`` under the event's number; each file is whole or absent.

        ``<n>.jpg`` is the frame as it was ``seen``, h x w x 3 BGR, with the box,
        ``<n>-rebuilt.jpg`` the reconstruction, ``<n>-error.jpg`` the map, ``<n>.svg`` the scores
        over time, ``<n>.npz`` everything else.
        """
        stem, shape = f"{number:04d}", seen.shape[:2]
        save_picture(folder / f"{stem}.jpg", boxed(seen, box))
        save_picture(folder / f"{stem}-rebuilt.jpg", picture(self.reconstruction, shape))
        save_picture(folder / f"{stem}-error.jpg", heat(self.map, float(self.map.max()), shape))
        trace = self.trace(threshold).encode()
        write_whole(folder / f"{stem}.svg", lambda file: file.write(trace))
        numbers = asdict(self)
        write_whole(folder / f"{stem}.npz", lambda file: np.savez_compressed(file, **numbers))

    def trace(self, threshold: float) -> str:
        """The scores (dark), the patch's error (blue) and the threshold (red) as an SVG.

        From the lowest of them to the highest; where scores lie above the threshold it is shaded.
        """
        values = np.concatenate([self.scores, self.region, [threshold]])
        low, high = float(values.min()), float(values.max())
        span, room = float(np.ptp(self.seconds)) or 1.0, (high - low) or 1.0
        x = (self.seconds - self.seconds[0]) / span * WIDE

        def y(value):
            return EDGE + (HIGH - 2 * EDGE) * (high - value) / room

        edges = np.flatnonzero(np.diff(np.concatenate([[0], self.scores > threshold, [0]])))
        above = [(x[first], x[stop - 1]) for first, stop in edges.reshape(-1, 2)]
        lines = [
            *(_shade(first, max(last - first, 1)) for first, last in above),
            _line(x, y(self.region), "#4c72b0", 1),
            _line(x, y(self.scores), "#222222", 1.6),
            _line(np.array([0, WIDE]), np.full(2, y(threshold)), "#c44e52", 1),
            _text(2, 10, f"{high:.4g}"),
            _text(2, HIGH - 3, f"{low:.4g}"),
            _text(WIDE - 2, HIGH - 3, f"{span:.0f} s", "end"),
        ]
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" '
            f'width="{WIDE}" height="{HIGH}">{"".join(lines)}</svg>'
        )


def _shade(x: float, wide: float) -> str:
    return f'<rect x="{x:.1f}" width="{wide:.1f}" height="{HIGH}" fill="#eeeeee"/>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    place = f'x="{x}" y="{y}" text-anchor="{anchor}"'
    return f'<text {place} font-size="10" font-family="sans-serif" fill="#666666">{text}</text>'


def _line(x: np.ndarray, y: np.ndarray, colour: str, width: float) -> str:
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def read_evidence(folder: Path | str, number: int) -> Evidence:
    """What event ``number`` of a watched folder left.

    Raises ``DDLError`` where it left nothing, or the file is of another form.
    """
    path = Path(folder) / f"{number:04d}.npz"
    expected, remedy = "what an event leaves", "watch the footage again"
    numbers = read_arrays(path, expected, remedy)
    if "frame" in numbers:  # older ones have no shape: a person saw the model's own frame
        numbers = {"shape": np.array(numbers["frame"].shape[-2:]), **numbers}
    for name, count in DIMENSIONS.items():
        values = numbers.get(name)
        if values is None or values.ndim != count or values.dtype.kind not in "uif":
            raise DDLError(f"{path}: not {expected} ({name}); {remedy}")
    evidence = Evidence(**{field.name: numbers[field.name] for field in fields(Evidence)})
    lengths = {len(part) for part in (evidence.seconds, evidence.scores, evidence.region)}
    if len(evidence.place) != 3 or len(evidence.shape) != 2 or len(lengths) != 1:
        raise DDLError(f"{path}: not {expected} (parts of other lengths); {remedy}")
    return evidence
