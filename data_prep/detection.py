"""Detectors behind one small interface: objects of one frame as boxes.

A detector is handed the original frames, not the resized ones: small people would be lost.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from ddllib.errors import DDLError

DETECTORS = ("motion", "yolo")
NO_CLASS = -1

# What moves through a walkway or a street, by COCO name. Street furniture stands still and
# bags lie within the box of who carries them: both would only noise the background.
MOVING = (
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "bus",
    "train",
    "truck",
    "bird",
    "cat",
    "dog",
    "horse",
    "skateboard",
)


class Detector(Protocol):
    """What preparation asks of a detector. `settings` go into the manifest (plain JSON)."""

    settings: dict

    def start(self, frames: Iterable[np.ndarray]) -> None:
        """Begin a clip; `frames` may be read once to learn from the clip, or left alone."""

    def detect(self, frame: np.ndarray) -> np.ndarray:
        """H x W x 3 uint8 RGB -> n x 6 float (x0, y0, x1, y1, confidence, class), in pixels."""


def make_detector(name: str, weights: str | Path | None = None) -> Detector:
    """The detector called `name`; raises DDLError for an unknown name or missing weights."""
    if name == "motion":
        return MotionDetector()
    if name == "yolo":
        return YoloDetector(weights)
    raise DDLError(f"detector: unknown name {name!r}; expected one of {', '.join(DETECTORS)}")


class MotionDetector:
    """Moving regions of a fixed camera by background subtraction (OpenCV's MOG2); no weights.

    The background is learnt in a first pass over the clip, so that its first frames are not
    blind. Each connected region of foreground is one object; its confidence is the share of its
    box that moves; its class is -1. People who walk close together come out as one object.
    """

    def __init__(
        self, min_area: float = 6e-4, min_fill: float = 0.2, shadow: float = 0.6, warm_up: int = 500
    ):
        """`min_area` is relative to the frame; `warm_up` bounds the frames of the first pass.

        A pixel counts as shadow, not as an object, if it keeps at least the share `shadow` of the
        background's brightness: lower drops more shadow, but also people in dark clothes.
        """
        self.settings = {
            "name": "motion",
            "method": "MOG2",
            "min_area": min_area,
            "min_fill": min_fill,
            "shadow": shadow,
            "warm_up": warm_up,
        }
        self.min_area, self.min_fill = min_area, min_fill
        self.shadow, self.warm_up = shadow, warm_up
        self.background = None

    def start(self, frames: Iterable[np.ndarray]) -> None:
        self.background = cv2.createBackgroundSubtractorMOG2(
            history=self.warm_up, varThreshold=16, detectShadows=True
        )
        self.background.setShadowThreshold(self.shadow)
        # At OpenCV's 0.9 a walker who fills a pixel in a tenth of the frames is background.
        self.background.setBackgroundRatio(0.7)
        for seen, frame in zip(range(self.warm_up), frames, strict=False):
            # All frames weigh the same; by its own choice the first would leave a ghost.
            self.background.apply(cv2.GaussianBlur(frame, (3, 3), 0), learningRate=1 / (seen + 1))

    def detect(self, frame: np.ndarray) -> np.ndarray:
        found = self.background.apply(cv2.GaussianBlur(frame, (3, 3), 0), learningRate=0.002)
        moving = cv2.medianBlur((found == 255).astype(np.uint8), 3)  # 127 marks a shadow
        # Close gaps between head, body and legs: taller than wide, in proportion to the frame.
        tall, wide = (max(3, int(frame.shape[0] * share) | 1) for share in (0.028, 0.01))
        moving = cv2.morphologyEx(moving, cv2.MORPH_CLOSE, np.ones((tall, wide), np.uint8))
        _, _, regions, _ = cv2.connectedComponentsWithStats(moving, connectivity=8)
        x, y, width, height, area = regions[1:].astype(float).T  # region 0 is the background
        fill = area / (width * height)
        keep = (area >= self.min_area * moving.size) & (fill >= self.min_fill)
        boxes = np.stack([x, y, x + width, y + height, fill, np.full_like(x, NO_CLASS)], axis=1)
        return boxes[keep]


class YoloDetector:
    """A YOLO model through ultralytics: .pt, .onnx or an OpenVINO folder; never downloaded.

    Keeps boxes of `MOVING` classes at confidence 0.25 or more (all classes if the model knows
    none of those names). The model is loaded at the first frame.
    """

    def __init__(
        self,
        weights: str | Path | None,
        confidence: float = 0.25,
        overlap: float = 0.5,
        image_size: int = 640,
    ):
        self.weights = find_weights(weights)
        self.settings = {
            "name": "yolo",
            "weights": self.weights.name,
            "weights_sha256": weights_checksum(self.weights),
            "confidence": confidence,
            "overlap": overlap,
            "image_size": image_size,
            "classes": list(MOVING),
        }
        self.options = {
            "conf": confidence,
            "iou": overlap,
            "imgsz": image_size,
            "agnostic_nms": True,
            "verbose": False,
            "save": False,
        }
        self.model = None

    def start(self, frames: Iterable[np.ndarray]) -> None:
        """Nothing to learn from a clip; each frame stands for itself."""

    def detect(self, frame: np.ndarray) -> np.ndarray:
        image = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)  # the order that ultralytics expects
        if self.model is None:
            self.load(image)
        result = self.model.predict(image, **self.options)[0]
        return result.boxes.data.cpu().numpy().astype(float)

    def load(self, image: np.ndarray) -> None:
        """Load the weights and try them on one image, so that a bad file fails here."""
        try:
            with contained():
                model = import_yolo()(str(self.weights), task="detect")
                model.predict(image, **self.options)
        except DDLError:
            raise
        except ModuleNotFoundError as error:
            raise DDLError(
                f"{self.weights}: these weights need {error.name}, which is not "
                f"installed; pip install {error.name}, or use detector: motion"
            ) from error
        except Exception as error:  # whatever a broken weights file makes its reader raise
            reason = str(error).strip().partition("\n")[0][:120]
            raise DDLError(
                f"{self.weights}: ultralytics cannot load these weights ({reason}); "
                "give others, or use detector: motion"
            ) from error
        known = [k for k, name in model.names.items() if name in MOVING]
        self.options["classes"] = known or None
        self.model = model


def find_weights(weights: str | Path | None) -> Path:
    """The weights' path; DDLError with the detector that needs none if they are not there."""
    if weights is None:
        raise DDLError(
            "weights: detector yolo needs a weights path (.pt, .onnx or an OpenVINO "
            "folder); give one, or use detector: motion"
        )
    path = Path(weights)
    if not path.exists():
        raise DDLError(
            f"{path}: no such weights; nothing is downloaded, give a .pt, .onnx or "
            "OpenVINO folder, or use detector: motion"
        )
    return path


def weights_checksum(path: Path) -> str:
    """SHA-256 over the weights file, or over all files of an OpenVINO folder in name order."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def import_yolo():
    """`ultralytics.YOLO`, or a DDLError that says what works without it."""
    try:
        from ultralytics import YOLO
    except ImportError as error:
        raise DDLError(
            "detector yolo: ultralytics is not installed; pip install ultralytics "
            "openvino, or use detector: motion"
        ) from error
    return YOLO


@contextlib.contextmanager
def contained():
    """Import and start ultralytics without its side effects on this process and this machine.

    It reads its settings from the environment when imported: no network, no usage report, no
    installing of packages, .pt files read as tensors and not as code, settings file elsewhere.
    It also sets thread counts (one core of two for torch) and print options, which is undone.
    """
    import torch

    environment, cv2_threads, torch_threads = (
        dict(os.environ),
        cv2.getNumThreads(),
        torch.get_num_threads(),
    )
    with tempfile.TemporaryDirectory() as folder, np.printoptions():
        os.environ.update(
            YOLO_OFFLINE="true",
            YOLO_AUTOINSTALL="false",
            YOLO_VERBOSE="false",
            ULTRALYTICS_SAFE_LOAD="true",
            YOLO_CONFIG_DIR=folder,
        )
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(environment)
            cv2.setNumThreads(cv2_threads)
            torch.set_num_threads(torch_threads)
            torch.set_printoptions(profile="default")
