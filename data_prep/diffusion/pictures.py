"""Crops of pictures, and holes in them, to train the small model on."""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from data_prep.companions import strokes
from data_prep.diffusion.small import SIDE
from data_prep.footage.images import read_image
from data_prep.preparing.manifest import file_checksum
from ddllib.errors import DDLError

ENDINGS = (".jpg", ".jpeg", ".png")
LARGEST = 1024  # pixels; the longer side of a picture in memory
COARSEST = 20  # pixels; objects of footage are about as small before they are enlarged
COARSE_SHARE, GREY_SHARE, STROKES_SHARE = 0.5, 0.5, 0.5  # of the crops
ELLIPSES = 4  # of a shape, at most


class Pictures:
    """All pictures below a folder; raises DDLError where there is none, or one is damaged."""

    def __init__(self, folder: Path):
        paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in ENDINGS)
        if not paths:
            raise DDLError(f"{folder}: no pictures; expected a folder of .jpg and .png files")
        self.checksums = {p.relative_to(folder).as_posix(): file_checksum(p) for p in paths}
        self.pictures = [read_picture(path) for path in paths]

    def crops(self, count: int, rng: np.random.Generator) -> Tensor:
        """Random squares of random pictures, count x 3 x SIDE x SIDE in [-1, 1].

        Half of them are grey, half are blurred as enlarged footage is.
        """
        numbers = rng.integers(len(self.pictures), size=count)
        crops = np.stack([crop(self.pictures[number], rng) for number in numbers])
        return torch.from_numpy(crops.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1)


def read_picture(path: Path) -> np.ndarray:
    """H x W x 3 uint8, red first, shrunk to at most LARGEST; not smaller than SIDE."""
    picture = cv2.cvtColor(read_image(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    scale = LARGEST / max(picture.shape)
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if min(picture.shape[:2]) < SIDE:
        raise DDLError(f"{path}: {picture.shape[:2]}; expected pictures of {SIDE} pixels or more")
    return picture


def crop(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random square, turned over half of the time, SIDE x SIDE x 3 uint8."""
    height, width = picture.shape[:2]
    side = round(np.exp(rng.uniform(np.log(SIDE), np.log(min(height, width)))))
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    square = picture[top : top + side, left : left + side]
    if rng.random() < 0.5:
        square = np.ascontiguousarray(square[:, ::-1])
    if rng.random() < COARSE_SHARE:
        coarse = int(rng.integers(COARSEST, SIDE))
        square = cv2.resize(square, (coarse, coarse), interpolation=cv2.INTER_AREA)
    interpolation = cv2.INTER_AREA if len(square) > SIDE else cv2.INTER_LINEAR
    square = cv2.resize(square, (SIDE, SIDE), interpolation=interpolation)
    if rng.random() < GREY_SHARE:
        square = np.repeat(cv2.cvtColor(square, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
    return square


def holes(count: int, rng: np.random.Generator) -> Tensor:
    """Random holes, count x 1 x SIDE x SIDE of 0 and 1: half strokes and boxes, half shapes."""
    drawn = [hole(rng) for _ in range(count)]
    return torch.from_numpy(np.stack(drawn)[:, None].astype(np.float32))


def hole(rng: np.random.Generator) -> np.ndarray:
    if rng.random() < STROKES_SHARE:
        preset, seed = rng.choice(list(strokes.PRESETS)), int(rng.integers(1 << 32))
        return next(strokes.masks(1, (SIDE, SIDE), preset, seed))
    return shape(rng)


def shape(rng: np.random.Generator) -> np.ndarray:
    """A shape around the middle, as an object's silhouette is: ellipses that overlap."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(1 + rng.integers(ELLIPSES)):
        centre = rng.normal(SIDE / 2, SIDE / 10, 2).astype(int).tolist()
        axes = rng.integers(SIDE // 16, SIDE // 4, 2, endpoint=True).tolist()
        cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, cv2.FILLED)
    return mask
