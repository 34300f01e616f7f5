"""Faster R-CNN of torchvision, the nearest to the paper's Fast R-CNN."""

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

BATCH = 4  # frames on a GPU; a CPU is slower with more than one


class FasterRCNNDetector:
    """torchvision's `fasterrcnn_resnet50_fpn` with a state dict for COCO's classes.

    Keeps boxes of `MOVING` classes at confidence 0.5 or more; class numbers are those of YOLO
    (0 is a person). Runs on the GPU where there is one. The model is loaded at the first frame.
    """

    parallel = False

    def __init__(
        self,
        weights: str | Path | None = None,
        confidence: float = 0.5,
        overlap: float = 0.5,
        image_size: int = 800,
        batch: int | None = None,
    ):
        """`image_size`: the frame's shorter side is resized to so many pixels.

        `batch`: frames at a time; None takes one on a CPU and `BATCH` on a GPU.
        """
        self.weights = find_weights(weights, "faster-rcnn")
        self.settings = {
            "name": "faster-rcnn",
            "weights": self.weights.name,
            "weights_sha256": weights_checksum(self.weights),
            "confidence": confidence,
            "overlap": overlap,
            "image_size": image_size,
            "classes": list(MOVING),
        }
        self.batch = batch
        self.model: Any = None  # until the first clip

    def detect(self, clip: Clip) -> Iterator[np.ndarray]:
        """n x 6 boxes of each frame, see `Detector`."""
        if self.model is None:
            self.load()
        for frames in batches(clip, self.batch):
            yield from self.find(frames)

    def find(self, frames: list[np.ndarray]) -> list[np.ndarray]:
        """Boxes of each frame of one batch."""
        import torch
        from torchvision.ops import nms

        images = [cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).transpose(2, 0, 1) for frame in frames]
        tensors = [torch.from_numpy(image).to(self.device).float() / 255 for image in images]
        boxes = []
        with torch.inference_mode():
            for output in self.model(tensors):
                # The model removes overlaps only within a class; a cyclist has two classes.
                moving = self.classes[output["labels"]] >= 0
                box, score, label = (output[k][moving] for k in ("boxes", "scores", "labels"))
                keep = nms(box, score, self.settings["overlap"])
                table = torch.column_stack([box, score, self.classes[label]])[keep]
                boxes.append(table.cpu().numpy().astype(float))
        return boxes

    def load(self) -> None:
        """Build the network and load the weights, as tensors and not as code."""
        try:
            import torch
            from torchvision.models.detection import FasterRCNN, backbone_utils
            from torchvision.ops import FrozenBatchNorm2d
        except ImportError as error:
            raise DDLError(not_installed("faster-rcnn")) from error
        labels = class_numbers()
        # Not fasterrcnn_resnet50_fpn: without weights that has trainable batch norms.
        model = FasterRCNN(
            backbone_utils.resnet_fpn_backbone(backbone_name="resnet50", weights=None),
            num_classes=len(labels),
            min_size=self.settings["image_size"],
            box_score_thresh=self.settings["confidence"],
            box_nms_thresh=self.settings["overlap"],
        )
        for module in model.modules():
            if isinstance(module, FrozenBatchNorm2d):
                module.eps = 0.0  # as torchvision does for these weights, trained by Detectron
        try:
            model.load_state_dict(torch.load(self.weights, map_location="cpu", weights_only=True))
        except Exception as error:  # a broken weights file can raise almost anything
            reason = " ".join(str(error).split())[:120]
            raise DDLError(
                f"{self.weights}: not a state dict of torchvision's fasterrcnn_resnet50_fpn with "
                f"COCO's classes ({reason}); give another, or use detector: motion"
            ) from error
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.batch = self.batch or (BATCH if self.device.type == "cuda" else 1)
        self.model = model.to(self.device).eval()
        self.classes = torch.tensor(labels, device=self.device)


def class_numbers() -> list[int]:
    """YOLO's class number for each of torchvision's labels; -1 for classes not in `MOVING`.

    torchvision has the numbers of COCO's paper, with gaps; YOLO counts the 80 classes in use.
    """
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

    names = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    used = [name for name in names if name not in ("__background__", "N/A")]
    return [used.index(name) if name in MOVING else -1 for name in names]
