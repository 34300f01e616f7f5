"""Dynamic Distinction Learning for video anomaly detection, as small functions and modules.

The road is prepare -> train -> score -> evaluate -> show; ``ddllib.road`` walks it.
"""

import os

from ddllib.errors import DDLError
from ddllib.evaluation import PROTOCOLS, evaluate
from ddllib.losses import DDLLoss, distinction_loss, reconstruction_loss
from ddllib.models import PRESETS, Conv3DSkipUNet, ConvBlock, UNet, load_released_checkpoint
from ddllib.pseudo import PseudoAnomalyCreator
from ddllib.scoring import score_clip, score_clips
from ddllib.settings import Mode, Settings, load_profile
from ddllib.streaming import RunningMedian, Scored, StreamScorer
from ddllib.training import Run, fit

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
    "Scored",
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
    "score_clips",
]

# Read once, when OpenCV opens its first video: FFmpeg would print addresses with their passwords.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
