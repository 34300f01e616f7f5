"""The base class of in-painters, and their names."""

import numpy as np

from ddllib import registry

INPAINTERS: dict[str, type["Inpainter"]] = {}


def inpainter(name: str):
    """Class decorator: register an in-painter under the name that the setting has."""
    return registry.register(INPAINTERS, name, Inpainter, ["paint or fill"])


class Inpainter:
    """Fills regions of frames; what its constructor needs is loaded there or when first used."""

    # How several clips are worked on at once: "threads" where Python's lock is let go of,
    # "processes", or None for one clip after the other.
    together: str | None = "threads"

    def identity(self) -> str:
        """What a filling depends on beside frame, mask and seed, such as the weights' checksum."""
        return ""

    def fill(self, frame: np.ndarray, mask: np.ndarray, seed: int) -> np.ndarray:
        """The frame with its mask filled: uint8 C x H x W, mask H x W of 0 and 1.

        Pixels outside the mask are unchanged; a grey frame stays grey. The same for a seed.
        """
        if not mask.any():
            return np.array(frame)
        colour = np.broadcast_to(frame, (3, *frame.shape[1:]))
        painted = self.paint(np.ascontiguousarray(colour.transpose(1, 2, 0)), mask, seed)
        painted = painted.transpose(2, 0, 1)
        if (colour == colour[:1]).all():
            painted = painted.mean(axis=0, keepdims=True).round().astype(np.uint8)
        return np.where(mask, painted, frame)

    def paint(self, picture: np.ndarray, mask: np.ndarray, seed: int) -> np.ndarray:
        """The picture, uint8 H x W x 3, with its mask filled; outside it does not matter."""
        raise NotImplementedError
