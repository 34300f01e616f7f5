"""Outlines of objects inside their boxes, for pseudo-anomalies that are not rectangles."""

from collections.abc import Iterator

import cv2
import numpy as np
import pandas as pd

from ddllib.data import BOX

FRAMES = 50  # of a clip, evenly spaced, whose median is its background
LEAST = 0.1  # share of a box; a box of which less differs from the background is filled


def background(frames: np.ndarray, tracks: pd.DataFrame) -> Iterator[np.ndarray]:
    """What differs from the background, inside the boxes: uint8 H x W of 0 and 1 for each frame.

    `frames` are uint8 N x C x H x W, `tracks` the clip's rows. The background is the median of
    frames of the clip. The threshold is Otsu's, over the differences inside all boxes.
    """
    picked = np.linspace(0, len(frames) - 1, min(FRAMES, len(frames))).astype(int)
    still = np.median(frames[picked], axis=0)
    limit = _threshold(frames, still, tracks)
    for t in range(len(frames)):
        change, mask = _difference(frames[t], still), np.zeros(frames.shape[2:], np.uint8)
        for x0, y0, x1, y1 in pixel_boxes(tracks, t, frames.shape):
            inside = (change[y0:y1, x0:x1] > limit).astype(np.uint8)
            inside = cv2.morphologyEx(inside, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
            mask[y0:y1, x0:x1] |= inside if inside.mean() >= LEAST else 1
        yield mask


def boxes(frames: np.ndarray, tracks: pd.DataFrame) -> Iterator[np.ndarray]:
    """The boxes themselves, filled: uint8 H x W of 0 and 1 for each frame."""
    for t in range(len(frames)):
        mask = np.zeros(frames.shape[2:], np.uint8)
        for x0, y0, x1, y1 in pixel_boxes(tracks, t, frames.shape):
            mask[y0:y1, x0:x1] = 1
        yield mask


def pixel_boxes(tracks: pd.DataFrame, t: int, shape: tuple) -> np.ndarray:
    """The boxes of one frame in whole pixels, n x 4, ends excluded, as training paints them.

    Boxes that hold no whole pixel are left out.
    """
    height, width = shape[-2:]
    relative = tracks.loc[tracks["frame"] == t, BOX].to_numpy(float)
    places = (relative * [width, height, width, height] + 1e-3).astype(int)
    return places[(places[:, :2] < places[:, 2:]).all(axis=1)]


def _difference(frame: np.ndarray, still: np.ndarray) -> np.ndarray:
    """How far each pixel is from the background, uint8 H x W."""
    away = np.abs(frame.astype(np.float32) - still).max(axis=0)
    return cv2.GaussianBlur(away, (3, 3), 0).astype(np.uint8)


def _threshold(frames: np.ndarray, still: np.ndarray, tracks: pd.DataFrame) -> float:
    values = [np.zeros(1, np.uint8)]
    for t in range(0, len(frames), max(len(frames) // FRAMES, 1)):
        change = _difference(frames[t], still)
        places = pixel_boxes(tracks, t, frames.shape)
        values += [change[y0:y1, x0:x1].ravel() for x0, y0, x1, y1 in places]
    limit, _ = cv2.threshold(np.concatenate(values), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return limit
