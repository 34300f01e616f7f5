"""Each part of a mask with its surroundings, enlarged or shrunk to one size."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

CONTEXT = 2.0  # the square's side in sides of the part
LEAST_SIDE = 16  # pixels
JOINED = np.ones((3, 3), np.uint8)  # pieces with at most two pixels between them are one


@dataclass(frozen=True)
class Surroundings:
    """A square around one part of a mask; beyond the frame's edge it is mirrored."""

    part: np.ndarray  # H x W bool
    top: int  # of the square in the frame, below 0 where it begins beyond the edge
    left: int
    side: int  # pixels

    def crop(self, picture: np.ndarray, side: int) -> np.ndarray:
        """The square of a picture H x W x 3 at side x side x 3."""
        return resized(self._square(picture), side)

    def hole(self, side: int) -> np.ndarray:
        """The part in the square, side x side of 0 and 1; pixels that it only touches are in it."""
        return (resized(self._square(self.part.astype(np.float32)), side) > 0).astype(np.uint8)

    def paste(self, square: np.ndarray, picture: np.ndarray) -> None:
        """Put a square of any size into the picture, where the part is."""
        rows, columns = np.nonzero(self.part)
        picture[rows, columns] = resized(square, self.side)[rows - self.top, columns - self.left]

    def _square(self, picture: np.ndarray) -> np.ndarray:
        rows, columns = (
            mirrored(length, first, self.side)
            for length, first in zip(self.part.shape, (self.top, self.left), strict=True)
        )
        return picture[rows][:, columns]


def mirrored(length: int, first: int, count: int) -> np.ndarray:
    """`count` indices from `first` on, of which those outside 0 .. length - 1 are mirrored."""
    period = max(2 * (length - 1), 1)
    indices = np.arange(first, first + count) % period
    return np.minimum(indices, period - indices) if length > 1 else np.zeros(count, int)


def resized(square: np.ndarray, side: int) -> np.ndarray:
    """A square picture at another side; smoothed where it shrinks."""
    method = cv2.INTER_AREA if side < len(square) else cv2.INTER_LINEAR
    return cv2.resize(square, (side, side), interpolation=method)


def surroundings(mask: np.ndarray) -> Iterator[Surroundings]:
    """The parts of a mask, H x W of 0 and 1, each in the middle of a square."""
    count, labels = cv2.connectedComponents(cv2.dilate(mask, JOINED), connectivity=8)
    for number in range(1, count):
        part = (labels == number) & (mask == 1)
        left, top, width, height = cv2.boundingRect(part.astype(np.uint8))
        side = max(round(CONTEXT * max(width, height)), LEAST_SIDE)
        yield Surroundings(part, top + (height - side) // 2, left + (width - side) // 2, side)
