"""The evidence of an event: the frame of its peak, reconstruction, error map, scores over time."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from data_prep.footage.pictures import save_picture
from ddllib.camera.events import Box
from ddllib.camera.pictures import boxed, heat, picture
from ddllib.errors import DDLError
from ddllib.io.files import write_whole
from ddllib.io.reading import read_arrays

TRACE_WIDTH, TRACE_HEIGHT = 600, 120  # of the drawn trace, in SVG units
MARGIN = 14  # above and below the lines, for the numbers
PATCH_COLOUR, LEVEL_COLOUR = "#0072b2", "#d55e00"  # of Okabe and Ito, as in all figures
DIMENSIONS = {  # of the arrays in a file of evidence
    "frame": 3, "reconstruction": 3, "map": 2, "place": 1, "patch": 0,
    "shape": 1, "seconds": 1, "scores": 1, "raw": 1, "region": 1,
}  # fmt: skip


class Trace:
    """A buffer of the last ``most`` items; during an event it keeps those from before it, too.

    During a long event only every second item is kept, later every fourth and so on, so that there
    are never more than twice ``most``.
    """

    def __init__(self, most: int):
        self.most, self.seen = most, deque()
        self._every, self._to_skip = 1, 0  # one of how many is kept; how many are skipped next

    def push(self, thing, running: bool) -> None:
        """Take the next item; ``running`` says whether an event runs."""
        if not running:
            self._every, self._to_skip = 1, 0
            while len(self.seen) >= self.most:
                self.seen.popleft()
        if self._to_skip:
            self._to_skip -= 1
            return
        self.seen.append(thing)
        self._to_skip = self._every - 1
        if len(self.seen) == 2 * self.most:
            self.seen = deque(list(self.seen)[::2])
            self._every *= 2

    def clear(self) -> None:
        """Forget everything."""
        self.seen.clear()
        self._every, self._to_skip = 1, 0


@dataclass(frozen=True)
class Evidence:
    """What is kept of one event.

    ``frame`` and ``reconstruction`` are uint8, C0 x H x W and C x H x W, ``map`` the error, H x W
    float32. ``place`` (grid, row, column; ``patches.best_patch``) is the patch of side ``patch``
    in pixels that gave the score. ``shape`` is the height and width at which a person sees the
    frame, with the camera's aspect ratio. N frames from before the event up to its end (``Trace``)
    have ``seconds``, filtered ``scores``, ``raw`` ones, and in ``region`` the mean error of that
    same patch; the raw scores of older files are NaN.
    """

    frame: np.ndarray
    reconstruction: np.ndarray
    map: np.ndarray
    place: np.ndarray
    patch: np.ndarray
    shape: np.ndarray
    seconds: np.ndarray
    scores: np.ndarray
    raw: np.ndarray
    region: np.ndarray

    def leave(
        self, folder: Path, number: int, seen: np.ndarray, box: Box | None, threshold: float
    ) -> None:
        """Write the files of event ``number`` into ``folder``; each file is whole or absent.

        ``<n>.jpg`` is the frame as a person sees it (``seen``, h x w x 3 BGR) with the box,
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

        The vertical axis spans all values. Times at which the score is above the threshold are
        shaded.
        """
        values = np.concatenate([self.scores, self.region, [threshold]])
        low, high = float(values.min()), float(values.max())
        duration, value_range = float(np.ptp(self.seconds)) or 1.0, (high - low) or 1.0
        x = (self.seconds - self.seconds[0]) / duration * TRACE_WIDTH

        def y(value):
            return MARGIN + (TRACE_HEIGHT - 2 * MARGIN) * (high - value) / value_range

        edges = np.flatnonzero(np.diff(np.concatenate([[0], self.scores > threshold, [0]])))
        spans_above = [(x[first], x[stop - 1]) for first, stop in edges.reshape(-1, 2)]
        lines = [
            *(_shade(first, max(last - first, 1)) for first, last in spans_above),
            _line(x, y(self.region), PATCH_COLOUR, 1),
            _line(x, y(self.scores), "#222222", 1.6),
            _line(np.array([0, TRACE_WIDTH]), np.full(2, y(threshold)), LEVEL_COLOUR, 1),
            _text(2, 10, f"{high:.4g}"),
            _text(2, TRACE_HEIGHT - 3, f"{low:.4g}"),
            _text(TRACE_WIDTH - 2, TRACE_HEIGHT - 3, f"{duration:.0f} s", "end"),
        ]
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {TRACE_WIDTH} {TRACE_HEIGHT}" '
            f'width="{TRACE_WIDTH}" height="{TRACE_HEIGHT}">{"".join(lines)}</svg>'
        )


def _shade(x: float, width: float) -> str:
    return f'<rect x="{x:.1f}" width="{width:.1f}" height="{TRACE_HEIGHT}" fill="#eeeeee"/>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    place = f'x="{x}" y="{y}" text-anchor="{anchor}"'
    return f'<text {place} font-size="10" font-family="sans-serif" fill="#666666">{text}</text>'


def _line(x: np.ndarray, y: np.ndarray, colour: str, width: float) -> str:
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def read_evidence(folder: Path | str, number: int) -> Evidence:
    """The evidence of event ``number`` in a watched folder.

    Raises ``DDLError`` if there is none, or the file has another form.
    """
    path = Path(folder) / f"{number:04d}.npz"
    expected, remedy = "what an event leaves", "watch the footage again"
    numbers = read_arrays(path, expected, remedy)
    if "frame" in numbers:  # older files have no shape: a person saw the model's small frame
        numbers = {"shape": np.array(numbers["frame"].shape[-2:]), **numbers}
    if "scores" in numbers:
        numbers = {"raw": np.full(np.shape(numbers["scores"]), np.nan), **numbers}
    for name, count in DIMENSIONS.items():
        values = numbers.get(name)
        if values is None or values.ndim != count or values.dtype.kind not in "uif":
            raise DDLError(f"{path}: not {expected} ({name}); {remedy}")
    evidence = Evidence(**{field.name: numbers[field.name] for field in fields(Evidence)})
    traces = (evidence.seconds, evidence.scores, evidence.raw, evidence.region)
    lengths = {len(trace) for trace in traces}
    if len(evidence.place) != 3 or len(evidence.shape) != 2 or len(lengths) != 1:
        raise DDLError(f"{path}: not {expected} (parts of other lengths); {remedy}")
    return evidence
