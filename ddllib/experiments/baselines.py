"""A baseline without a model, which every model should exceed."""

from __future__ import annotations

import numpy as np

from ddllib.patches import patch_scores
from ddllib.score_terms.distance import distance_map
from ddllib.scoring import CHUNK, as_input, without


def frame_difference_scores(
    frames: np.ndarray, patch: int, ignore: np.ndarray | None = None
) -> np.ndarray:
    """The naive baseline: the same patch score on ``|x_t - x_(t-1)|``; frame 0 repeats frame 1.

    uint8 N x C0 x H x W -> float32 N; zeros where there is only one frame. Pixels marked in
    ``ignore``, H x W, count 0.
    """
    if len(frames) < 2:
        return np.zeros(len(frames), np.float32)
    scores = []
    for start in range(0, len(frames) - 1, CHUNK):
        x = as_input(frames[start : start + CHUNK + 1], 3)
        scores.append(patch_scores(without(distance_map(x[1:], x[:-1]), ignore), patch).numpy())
    return np.concatenate([scores[0][:1], *scores])
