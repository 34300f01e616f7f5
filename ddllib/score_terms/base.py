"""The base class of score terms: frames and reconstructions to maps and numbers."""

from __future__ import annotations

from torch import Tensor

from ddllib import registry
from ddllib.patches import patch_scores
from ddllib.weighted import weighted

TERMS: dict[str, type[ScoreTerm]] = {}


def term(name: str):
    """Class decorator: register a term under the name used in ``settings.score``."""
    return registry.register(TERMS, name)


class ScoreTerm:
    """One term of a score, larger for stranger.

    ``of`` is what it compares with its reconstruction: ``frames``, or, for methods that have them,
    the ``flow`` as the model takes it, N x 3 x H x W in [-1, 1] (u, v, magnitude), or the
    ``probability`` of a pseudo-anomaly, N x 1 x H x W, the same at each pixel, and 0.
    """

    of = "frames"

    def maps(self, frames: Tensor, reconstructions: Tensor) -> Tensor:
        """Error of each pixel: N x C x H x W twice, in [0, 1], to N x H x W float32."""
        raise NotImplementedError

    def scores(self, maps: Tensor, patch: int) -> Tensor:
        """One number per frame from its map: N x H x W -> N, by default the highest patch mean."""
        return patch_scores(maps, patch)


def make_terms(score: str) -> dict[str, tuple[float, ScoreTerm]]:
    """The terms that ``score`` names, each with its weight."""
    weights = weighted("score", score, TERMS, "terms of ddllib.score_terms")
    return {name: (weight, TERMS[name]()) for name, weight in weights.items()}
