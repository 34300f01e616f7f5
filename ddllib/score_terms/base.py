"""The base class of score terms: frames and reconstructions to maps and numbers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from torch import Tensor, cat

from ddllib import registry
from ddllib.errors import DDLError
from ddllib.patches import patch_scores, without

TERMS: dict[str, type[ScoreTerm]] = {}

RECENT = 3  # frames that a term may look at: the one that is scored and those before it


def term(name: str):
    """Class decorator: register a term under the name used in ``settings.score``."""
    return registry.register(TERMS, name, ScoreTerm, ["maps or judge"])


class ScoreTerm:
    """One term of a score, larger for stranger.

    ``of`` is what it compares with its reconstruction: ``frames``, N x C x H x W in [0, 1]; or
    ``recent_frames``, N x RECENT x C x H x W, N frames on end, each after those before it
    (``recent``); or, for methods that have them, the ``flow`` as the model takes it, N x 3 x H x W
    in [-1, 1] (u, v, magnitude), or the ``probability`` of a pseudo-anomaly, N x 1 x H x W, the
    same at each pixel, and 0.
    """

    of = "frames"
    needs_footage = False  # whether training footage decides its constant
    constant: float | None = None  # what it decided

    def measure(self, frames: Iterable[Tensor], patch: int, ignore: np.ndarray | None) -> float:
        """The constant, above 0, by training frames: batches n x C x H x W in [0, 1]."""
        raise DDLError(
            f"score: {type(self).__name__} has needs_footage, but no method measure; expected one"
        )

    def judge(
        self, frames: Tensor, reconstructions: Tensor, patch: int, ignore: np.ndarray | None = None
    ) -> tuple[Tensor, Tensor]:
        """Scores N and maps N x H x W of ``maps`` and ``scores``; ``ignore`` counts 0 in both."""
        maps = self.maps(frames, reconstructions)
        shape, expected = tuple(maps.shape), (len(frames), *frames.shape[-2:])
        if shape != expected:
            raise DDLError(f"score: maps of {type(self).__name__} gives {shape}, not {expected}")
        maps = without(maps, ignore)
        return self.scores(maps, patch), maps

    def maps(self, frames: Tensor, reconstructions: Tensor) -> Tensor:
        """Error of each pixel, N x H x W float32, of two tensors as ``of`` describes them."""
        raise NotImplementedError

    def scores(self, maps: Tensor, patch: int) -> Tensor:
        """One number per frame from its map: N x H x W -> N, by default the highest patch mean."""
        return patch_scores(maps, patch)


def recent(values: Tensor, before: Tensor | None) -> Tensor:
    """Each frame with those before it: n x C x H x W to n x RECENT x C x H x W, the frame last.

    ``before`` holds the frames just before the first, up to RECENT - 1 of them; where there are
    fewer, as at the start of a clip, the earliest stands for the missing ones.
    """
    known = values if before is None else cat([before, values])
    missing = len(values) + RECENT - 1 - len(known)
    first = known[:1].expand(missing, *known.shape[1:])
    return cat([first, known]).unfold(0, RECENT, 1).movedim(-1, 1)
