"""The terms of one score: weighed, brought to one scale if that is asked for, and added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from torch import Tensor

from ddllib.score_terms.base import TERMS, ScoreTerm
from ddllib.weighted import weighted


class ScoreBatch(NamedTuple):
    """Scores n and maps n x H x W of frames, and the scores of each term."""

    scores: Tensor
    maps: Tensor
    terms: dict[str, Tensor]


class Terms(dict[str, tuple[float, ScoreTerm]]):
    """The terms that ``score`` names, by name, each with its weight.

    With ``scaled`` terms are first brought to one scale: ``scales`` holds the level and the spread
    of each on normal footage. Raises ``DDLError`` for a name that is no term.
    """

    def __init__(self, score: str, scaled: bool = False):
        weights = weighted("score", score, TERMS, "terms of ddllib.score_terms")
        super().__init__({name: (weight, TERMS[name]()) for name, weight in weights.items()})
        self.scaled = scaled
        self.scales: dict[str, tuple[float, float]] = {}

    @property
    def needs_calibration(self) -> bool:
        """Whether training footage decides about a term (``ddllib.calibration``)."""
        return self.scaled or any(term.needs_footage for _, term in self.values())

    @property
    def calibration(self) -> dict[str, dict]:
        """What training footage decided about each term, its ``constant`` and its ``scale``."""
        decided: dict[str, dict] = {}
        for name, (_, term) in self.items():
            if term.constant is not None:
                decided.setdefault(name, {})["constant"] = term.constant
            if name in self.scales:
                decided.setdefault(name, {})["scale"] = list(self.scales[name])
        return decided

    def calibrate(self, decided: Mapping[str, Mapping]) -> None:
        """Take what training footage decided, before the first frame is scored."""
        for name, parts in decided.items():
            self[name][1].constant = parts.get("constant")
            if "scale" in parts:
                self.scales[name] = tuple(parts["scale"])

    def judge(
        self, pairs: Mapping[str, tuple[Tensor, Tensor]], patch: int, ignore: np.ndarray | None
    ) -> ScoreBatch:
        """The sum of scaled terms; ``pairs`` are what is there and its reconstruction.

        They are named by ``ScoreTerm.of``. ``patch`` and ``ignore`` are those of ``Scorer``.
        """
        scores, maps, curves = 0, 0, {}
        for name, (weight, term) in self.items():
            level, spread = self.scales.get(name, (0.0, 1.0))
            curves[name], term_maps = term.judge(*pairs[term.of], patch, ignore)
            scores = scores + weight * (curves[name] - level) / spread
            maps = maps + weight * term_maps / spread
        return ScoreBatch(scores, maps, curves)
