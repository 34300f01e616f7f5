"""Frames of a source for a watch: at the working size, and with a larger view for people."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data_prep.footage.frames import to_view, to_working_size

ASPECT_TOLERANCE = 0.02  # relative difference of aspect ratios that count as the same


@dataclass(frozen=True)
class Frame:
    """One frame at the working size.

    `index` counts the source's frames from 0, dropped ones too; `time_s` is in seconds, of a
    recording from its beginning, of a live source since 1970; `image` is uint8 C x H x W; `gap`
    says that no window may hold this frame and one before it. `read_s` is the time at which it was
    read, by the clock `time.monotonic`. `view` is the picture for people (`frames.to_view`),
    uint8 h x w x 3 BGR; None if frames are not resized.
    """

    index: int
    time_s: float
    image: np.ndarray
    gap: bool
    read_s: float
    view: np.ndarray | None = None


def tell_on_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Wish:
    """The options of a source; see `open_source`."""

    size: tuple[int, int] | None
    channels: int = 3
    rate: float | None = None
    levels: tuple[int, int] | None = None
    shapes: frozenset[tuple[int, int]] = frozenset()
    patience: float = 10.0
    give_up: float = 600.0
    longest_step: float = 1.0
    tell: Callable[[str], None] = tell_on_stderr


def shown(address: str) -> str:
    """An address as messages may show it: without user, password and query."""
    if address.isdecimal():
        return f"camera {address}"
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address
    host, path = re.fullmatch(r"([^/?#]*)([^?#]*).*", rest, flags=re.S).groups()
    # A later @ means that the password holds one of "/?#"; then the whole rest is hidden.
    if "@" in rest[len(host) :]:
        return f"{scheme}://..."
    return f"{scheme}://{host.rpartition('@')[2]}{path}"


def tell_of_shape(image: np.ndarray, wish: Wish, name: str) -> None:
    """Report a picture with another aspect ratio than the training footage: it is distorted."""
    height, width = image.shape[:2]
    if wish.shapes and not any(
        abs(height * w / (width * h) - 1) <= ASPECT_TOLERANCE for h, w in wish.shapes
    ):
        sizes = " or ".join(f"{w}x{h}" for h, w in sorted(wish.shapes))
        wish.tell(
            f"{name}: pictures of {width}x{height}, but the training footage has {sizes}; all "
            "looks stretched and may raise alarms; set the camera as it was, or train on such "
            "pictures"
        )


def as_wished(image: np.ndarray, wish: Wish) -> dict[str, np.ndarray]:
    """`image` and `view` of a decoded frame; without a size only `image`, as it was decoded."""
    if not wish.size:
        return {"image": image}
    return {"image": to_working_size(image, wish.size, wish.channels), "view": to_view(image)}
