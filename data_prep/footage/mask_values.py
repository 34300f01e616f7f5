"""Decide which values of a clip's masks mark abnormal pixels.

With two values, 0 and another, it is the other. Masks with more values are of two kinds. Either the
values are numbers of objects; then all above 0 are abnormal. Or they are grey levels between black
and white, from JPEG or resizing; then the middle is the limit. The two differ in areas: an object
has one number throughout, while grey levels change from pixel to pixel. Others are refused.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddllib.errors import DDLError

WHITE = (1, 255, 65535)  # the value of a marked pixel, depending on the file format
SMALL_NUMBERS = 32  # if all values are whole and below this, they are numbers of objects
MAX_OBJECTS = 32  # different values in one mask of numbered objects; grey levels have more
MIN_EVEN_VALUES = 0.5  # share of values that fill areas, for numbers of objects
MAX_EVEN_GREY = 0.2  # share of grey pixels that lie in areas, for blurred edges
MAX_MIDDLE_GREY = 0.5  # pixels of middle grey per nearly white pixel, for blurred edges
REMEDY = "save them with 0 for normal and 255 for abnormal pixels, as PNG"

Masks = Callable[[], Iterable[np.ndarray]]


@dataclass(frozen=True)
class Meaning:
    """How to read the masks of one clip.

    `size`: height and width in pixels. A pixel with a value above `limit` is abnormal.
    `shares`: the share of abnormal pixels of each mask, in [0, 1]; `note`: a line for the user, or
    None.
    """

    size: tuple[int, int]
    limit: float
    shares: np.ndarray
    note: str | None = None


def meaning_of(place: Path, masks: Masks, lossy: bool) -> Meaning:
    """The meaning of a clip's masks; `masks()` iterates over all of them, each H x W.

    There is at least one mask. `lossy`: whether they come from JPEG. Raises DDLError, naming
    `place`, if the values are ambiguous.
    """
    tops, shares, has_two_values = set(), [], True
    for number, mask in enumerate(masks()):
        lowest, top, marked = mask.min(), mask.max(), np.count_nonzero(mask)
        if lowest < 0:
            raise DDLError(
                f"{place}: mask {number} (counted from 0) has the value {lowest:g}; expected 0 for "
                f"normal pixels and none below it; {REMEDY}"
            )
        has_two_values = has_two_values and marked in (0, np.count_nonzero(mask == top))
        tops.add(float(top))
        shares.append(marked / mask.size)
    top = max(tops, default=0.0)
    has_two_values = has_two_values and len(tops - {0.0}) <= 1
    if has_two_values and not (lossy and 0 < top < 128):
        return Meaning(mask.shape, 0, np.array(shares))
    return meaning_of_many(place, masks, lossy, top, np.array(shares))


def meaning_of_many(
    place: Path, masks: Masks, lossy: bool, top: float, shares: np.ndarray
) -> Meaning:
    """The meaning of masks with more values than two, of which `top` is the highest."""
    lowest_white = max(top, 255) if lossy else top
    white = min((value for value in WHITE if value >= lowest_white), default=top)
    counts = ValueCounts(top, white)
    for mask in masks():
        counts.look(mask)
    if not lossy and np.mean(shares) < 0.5 and counts.has_numbers():
        return Meaning(mask.shape, 0, shares)
    if top > white / 2 and counts.is_nearly_two():
        note = (
            f"{place}: values between 0 and {white:g}, as JPEG or resizing leaves them; those "
            f"above {white / 2:g} count as abnormal"
        )
        return Meaning(mask.shape, white / 2, np.array(counts.shares), note)
    raise DDLError(
        f"{place}: masks of many values up to {top:g}, neither two values nor numbers of objects"
        f"{' that JPEG would keep' if lossy else ''}; expected 0 for normal and one value for "
        f"abnormal pixels; {REMEDY}"
    )


class ValueCounts:
    """Counts over a clip's masks that have more values than two, of which `top` is the highest."""

    def __init__(self, top: float, white: float):
        self.top, self.white = top, white
        self.whole, self.most = True, 0  # all values whole?; most different values in one mask
        self.values = self.values_even = 0  # values below the highest; those of them in areas
        self.grey = self.grey_even = 0  # pixels between black and white; those of them in areas
        self.middle = self.bright = 0  # pixels of middle grey; nearly white pixels
        self.shares: list[float] = []

    def look(self, mask: np.ndarray) -> None:
        self.shares.append(float(np.mean(mask > self.white / 2)))
        if not mask.any():
            return
        in_area, level = in_areas(mask), mask / self.white
        self.look_at_values(mask, in_area)
        grey = (level > 1 / 8) & (level < 7 / 8)
        self.grey += np.count_nonzero(grey)
        self.grey_even += np.count_nonzero(in_area & grey)
        self.middle += np.count_nonzero((level > 1 / 4) & (level < 3 / 4))
        self.bright += np.count_nonzero(level >= 3 / 4)

    def look_at_values(self, mask: np.ndarray, in_area: np.ndarray) -> None:
        values, places, counts = np.unique(mask, return_inverse=True, return_counts=True)
        self.whole = self.whole and not np.any(values % 1)
        self.most = max(self.most, np.count_nonzero(values))
        area_counts = np.bincount(places.ravel(), in_area.ravel(), len(values))
        between = (values > 0) & (values < self.top)
        self.values += np.count_nonzero(between)
        self.values_even += np.count_nonzero(between & (area_counts >= counts / 2))

    def has_numbers(self) -> bool:
        """Whether the values are numbers of objects."""
        areas = self.most <= MAX_OBJECTS and self.values_even >= MIN_EVEN_VALUES * self.values
        return self.whole and (self.top < SMALL_NUMBERS or areas)

    def is_nearly_two(self) -> bool:
        """Whether the values are black and white with blurred edges."""
        edges = self.grey_even <= MAX_EVEN_GREY * self.grey
        return edges and self.middle <= MAX_MIDDLE_GREY * self.bright


def in_areas(mask: np.ndarray) -> np.ndarray:
    """Whether each pixel belongs to a square of 2 x 2 equal pixels, H x W bool."""
    rows = mask[:-1] == mask[1:]
    squares = rows[:, :-1] & rows[:, 1:] & (mask[:-1, :-1] == mask[:-1, 1:])
    in_area = np.zeros(mask.shape, bool)
    for down in (slice(None, -1), slice(1, None)):
        for right in (slice(None, -1), slice(1, None)):
            in_area[down, right] |= squares
    return in_area
