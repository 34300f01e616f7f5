"""YOLO through ultralytics: .pt, .onnx or an OpenVINO folder."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data_prep.footage.layouts import Clip
from data_prep.tracks.detectors.base import MOVING
from data_prep.tracks.detectors.batches import batches
from data_prep.tracks.detectors.weights import find_weights, not_installed, weights_checksum
from ddllib.errors import DDLError

BATCH = 8  # frames on a GPU


class YoloDetector:
    """A YOLO model through ultralytics.

    Keeps boxes of `MOVING` classes at confidence 0.25 or more (all classes if the model has none of
    those names). The model is loaded at the first frame and uses all cores by itself.
    """

    parallel = False

    def __init__(
        self,
        weights: str | Path | None = None,
        confidence: float = 0.25,
        overlap: float = 0.5,
        image_size: int = 640,
        batch: int | None = None,
    ):
        """`batch`: frames at a time; None: see `fitting_batch`."""
        self.weights = find_weights(weights, "yolo")
        check_form(self.weights)
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
        self.batch = batch
        self.model: Any = None  # until the first clip

    def detect(self, clip: Clip) -> Iterator[np.ndarray]:
        """n x 6 boxes of each frame, see `Detector`."""
        if self.model is None:
            self.load()
        for frames in batches(clip, self.batch):
            for result in self.model.predict(frames, **self.options):
                yield result.boxes.data.cpu().numpy().astype(float)

    def load(self) -> None:
        """Load the weights and run them on a blank image, so that a bad file fails here."""
        model = load_network(self.weights, "detect", self.options, "use detector: motion")
        self.options["classes"] = moving_classes(model)
        self.batch = self.batch or self.fitting_batch(model.predictor.model)
        self.model = model

    def fitting_batch(self, network) -> int:
        """The batch size for this machine.

        Exported weights of a fixed shape have their own. On a CPU more than one frame gains
        little, and rounding would move the boxes by thousandths of a pixel.
        """
        if self.weights.suffix != ".pt" and not network.dynamic:
            return network.batch
        return BATCH if network.device.type == "cuda" else 1


def load_network(weights: Path, task: str, options: dict, instead: str):
    """An `ultralytics.YOLO` of a task that has run on a blank image, so that a bad file fails here.

    Raises DDLError for weights or packages that cannot be used; `instead` is its remedy.
    """
    try:
        with contained():
            network = import_yolo()(str(weights), task=task)
            network.predict(np.zeros((64, 64, 3), np.uint8), **options)
    except DDLError:
        raise
    except ModuleNotFoundError as error:
        raise DDLError(
            f"{weights}: these weights need {error.name}, which is not installed; pip install "
            f"{error.name}, or {instead}"
        ) from error
    except Exception as error:  # a broken weights file can raise almost anything
        reason = str(error).strip().partition("\n")[0][:120]
        raise DDLError(
            f"{weights}: ultralytics cannot load these weights ({reason}); give others, or "
            f"{instead}"
        ) from error
    return network


def moving_classes(network) -> list[int] | None:
    """The numbers of the classes in `MOVING`; None, for all, where it has none of these names."""
    return [k for k, name in network.names.items() if name in MOVING] or None


def check_form(weights: Path) -> None:
    """Raise DDLError for file formats that may run code when they are read, as TorchScript may."""
    if weights.suffix not in (".pt", ".onnx") and not weights.name.endswith("_openvino_model"):
        raise DDLError(
            f"{weights}: not a form of weights that is read here; expected .pt, .onnx or a folder "
            "whose name ends in _openvino_model; export the model again, or use detector: motion"
        )


def import_yolo():
    """`ultralytics.YOLO`, set to read .pt files as tensors, not as code; DDLError if it cannot."""
    try:
        from ultralytics import YOLO
        from ultralytics.nn import tasks
    except ImportError as error:
        raise DDLError(not_installed("yolo")) from error
    if not hasattr(tasks, "SAFE_LOAD"):
        raise DDLError(
            "detector yolo: this version of ultralytics runs code that it finds in weights; "
            "pip install --upgrade ultralytics, or use detector: motion"
        )
    tasks.SAFE_LOAD = True  # it may have been imported before, without the variable in `contained`
    return YOLO


@contextlib.contextmanager
def contained():
    """Import and start ultralytics without side effects on this process and this machine.

    It reads settings from the environment when imported. They are set to: no network, no usage
    report, no installing of packages, .pt files read as tensors and not as code, settings file in a
    temporary folder. It also changes thread counts and print options, which are restored.
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
