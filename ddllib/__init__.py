"""Dynamic Distinction Learning for video anomaly detection, as small functions and modules.

The steps are prepare -> train -> score -> evaluate; ``ddllib.pipeline`` runs them.
"""

import os

from ddllib.camera.running_median import RunningMedian
from ddllib.errors import DDLError
from ddllib.evaluation import PROTOCOLS, evaluate
from ddllib.losses import DDLLoss, distinction_loss, reconstruction_loss
from ddllib.models.released import load_released_checkpoint
from ddllib.models.unet import PRESETS, Conv3DSkipUNet, ConvBlock, UNet
from ddllib.pseudo_anomalies.noise import PseudoAnomalyCreator
from ddllib.runs import Run
from ddllib.scoring import score_clip
from ddllib.settings import Mode, Settings, load_profile
from ddllib.streaming import FrameScore, StreamScorer
from ddllib.training import fit

__all__ = [
    "PRESETS",
    "PROTOCOLS",
    "Conv3DSkipUNet",
    "ConvBlock",
    "DDLError",
    "DDLLoss",
    "Mode",
    "PseudoAnomalyCreator",
    "Run",
    "RunningMedian",
    "FrameScore",
    "Settings",
    "StreamScorer",
    "UNet",
    "distinction_loss",
    "evaluate",
    "fit",
    "load_profile",
    "load_released_checkpoint",
    "reconstruction_loss",
    "score_clip",
]

# Set before OpenCV opens a video: otherwise FFmpeg prints stream addresses with their passwords.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
