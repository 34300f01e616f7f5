"""Read single pictures from files, with checks: complete, not too large, 8 or 16 bits a channel."""

import io
import math
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data_prep.footage.video import check_pixels
from ddllib.errors import DDLError

MOST_BYTES = 1 << 29  # of one image file
FORMATS = ("PNG", "JPEG", "BMP", "TIFF")


def read_page(path: Path, number: int, flags: int) -> np.ndarray:
    """Picture `number`, counted from 0, of a file; raises DDLError if it cannot be read."""
    success, pages = cv2.imreadmulti(str(path), number, 1, None, flags)
    if not success or not pages:
        raise DDLError(
            f"{path}: picture {number} (counted from 0) cannot be read; expected a whole TIFF "
            "file of 8 or 16 bits a channel; fetch it again or convert it"
        )
    check_pixels(path, pages[0].size)
    return pages[0]


def read_image(path: Path, flags: int) -> np.ndarray:
    """Read one image by OpenCV; raises DDLError if it is cut off or no image."""
    # Decoded from bytes: imread fails on some non-ASCII paths and accepts half a JPEG.
    if path.stat().st_size > MOST_BYTES:
        raise DDLError(
            f"{path}: more than {MOST_BYTES} bytes; expected one image; divide it, or "
            "keep it in a folder elsewhere, outside the footage"
        )
    data, image = path.read_bytes(), None
    if not is_cut_off(data) and (pixels := stated_pixels(data)):
        check_pixels(path, pixels)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        raise DDLError(
            f"{path}: truncated or not an image of 8 or 16 bits a channel; expected a whole "
            f"{path.suffix[1:].upper()} file, fetch it again or convert it"
        )
    return image


def stated_pixels(data: bytes) -> float:
    """The number of pixels in an image's header, read before decoding; 0 if it is no image."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `check_pixels` has a lower limit than Pillow warns at
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return math.prod(image.size)
    except Image.DecompressionBombError:
        return math.inf
    except Exception:  # damaged headers make Pillow raise almost anything
        return 0


def is_cut_off(data: bytes) -> bool:
    """Whether an image file ends before its end marker (JPEG, PNG) or is empty."""
    if data.startswith(b"\xff\xd8"):
        # The end marker must follow the last start of scan: a thumbnail in the file has both, too.
        end = data.rfind(b"\xff\xd9")
        return end < 0 or b"\xff\xda" in data[end:]
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data
    return not data
