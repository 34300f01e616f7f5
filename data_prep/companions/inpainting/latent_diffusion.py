"""Latent diffusion (STPA, section 3.2), which invents what a mask hides.

`latent-diffusion-small` is the embedded default. It fills each object in an enlarged crop of its
surroundings: about 0.1 seconds a crop on a core. What it leaves is the ground, or a pale, blurred
ghost, another for each seed. `latent-diffusion` is the paper's model, whose weights must be there;
it fills the frame as a whole: about 16 TFLOP, a GPU's work.
"""

from functools import cache

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from data_prep.companions.inpainting.base import Inpainter, inpainter
from data_prep.companions.inpainting.surroundings import surroundings
from data_prep.diffusion import big, small, weights
from data_prep.diffusion.chain import filled

SMALL_STEPS, BIG_STEPS = 20, 50  # of the chain
BIG_SIDE = 256  # pixels; the side of the frames that the paper's model takes


@cache
def loaded_small() -> nn.Module:
    return weights.small_model().to(device())


@cache
def loaded_big() -> nn.Module:
    return weights.big_model(weights.find_big()).to(device())


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@inpainter(small.NAME)
class SmallLatentDiffusion(Inpainter):
    """Each object of a mask on its own, so that it sees the others around it."""

    together = "processes"

    def identity(self) -> str:
        return weights.checksum(weights.SMALL)

    def paint(self, picture: np.ndarray, mask: np.ndarray, seed: int) -> np.ndarray:
        places, painted = list(surroundings(mask)), picture.copy()
        crops = np.stack([place.crop(picture, small.SIDE) for place in places])
        holes = np.stack([place.hole(small.SIDE) for place in places])
        squares = painted_by(loaded_small(), crops, holes, SMALL_STEPS, seed)
        for place, square in zip(places, squares, strict=True):
            place.paste(square, painted)
        return painted


@inpainter(big.NAME)
class BigLatentDiffusion(Inpainter):
    """All objects of a frame at once, at the side of the pictures that the model was trained on."""

    together = None

    def identity(self) -> str:
        return weights.checksum(weights.find_big())

    def paint(self, picture: np.ndarray, mask: np.ndarray, seed: int) -> np.ndarray:
        size, shape = (BIG_SIDE, BIG_SIDE), mask.shape[::-1]
        square = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
        hole = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
        (painted,) = painted_by(loaded_big(), square[None], hole[None], BIG_STEPS, seed)
        return cv2.resize(painted, shape, interpolation=cv2.INTER_LINEAR)


def painted_by(
    model: nn.Module, pictures: np.ndarray, holes: np.ndarray, steps: int, seed: int
) -> np.ndarray:
    """Pictures, uint8 N x H x W x 3, with their holes, N x H x W of 0 and 1, filled by a model."""
    x = on_device(pictures.transpose(0, 3, 1, 2)) / 127.5 - 1
    generator = torch.Generator().manual_seed(seed)
    y = filled(model, x, on_device(holes[:, None]), steps, generator)
    return ((y + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def on_device(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(device())
