"""The request of a preparation and its checks."""

from collections.abc import Sequence
from dataclasses import dataclass

from data_prep.footage import frames as fr
from data_prep.footage.layouts import SPLITS
from data_prep.tracks.detectors.base import Detector
from ddllib.data import WINDOW
from ddllib.errors import DDLError

LARGEST_SIDE = 4096  # pixels of the working size


@dataclass(frozen=True)
class Request:
    """What one preparation makes, apart from the footage."""

    size: tuple[int, int]
    channels: int
    tracked: tuple[str, ...]
    detectors: Sequence[Detector]  # the first that tracks enough is used, else the last
    progress: bool
    window: int = WINDOW  # T
    colour: dict | None = None  # the first frame with colour in footage that had seemed grey


def check_request(
    size, splits: Sequence[str], channels: int | None, frame_rate: float | None
) -> None:
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or any(not isinstance(s, int) or not 1 <= s <= LARGEST_SIDE for s in sides):
        raise DDLError(
            f"size: {size!r}; expected one positive number or (height, width), "
            f"at most {LARGEST_SIDE}"
        )
    if channels not in (None, 1, 3):
        raise DDLError(f"channels: {channels!r}; expected 1 or 3")
    if frame_rate is not None and not fr.is_rate(frame_rate):
        raise DDLError(f"frame_rate: {frame_rate!r}; expected frames per second above 0, or None")
    if isinstance(splits, str) or "training" not in splits or set(splits) - set(SPLITS):
        raise DDLError(f"splits: {splits!r}; expected ('training',) or ('training', 'testing')")
