"""Scoring: one score and one error map per frame from a trained model (paper, section 3.4)."""

from __future__ import annotations

import hashlib
import math
import mmap
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ddllib.data import spread_frames, spread_pieces
from ddllib.devices import device_of
from ddllib.errors import DDLError
from ddllib.fast.accelerate import for_scoring
from ddllib.score_terms.base import RECENT, make_terms, recent

CHUNK, GPU_CHUNK = 16, 64  # frames at a time; GPU_CHUNK is for bfloat16 on a GPU
MEASURED = 1000  # training frames at most, evenly spread, that decide about terms
QUARTILES = 1.349  # from the first to the third, in standard deviations of a normal distribution

Pair = tuple[Tensor, Tensor]  # what is there and its reconstruction, n x C x H x W each


class ClipScores(NamedTuple):
    """Raw scores of a clip, float32 N, larger for stranger, and the curve of each term."""

    scores: np.ndarray
    terms: dict[str, np.ndarray]


class ScoreBatch(NamedTuple):
    """Scores n and maps n x H x W of frames, and the scores of each term."""

    scores: Tensor
    maps: Tensor
    terms: dict[str, Tensor]


class Scorer:
    """Computes one score and one error map for every frame.

    ``model`` takes windows as DDL's do: B x C x N x H x W in [0, 1] to B x C x (N - T + 1) x H x W,
    the reconstruction of frame T // 2 of each window; its T is ``model.temporal``, its C
    ``model.channels``. A score is the weighted sum of the terms named by ``score``
    (``ddllib.score_terms``), over patches of side ``patch`` in pixels; with ``scaled`` terms are
    first brought to one scale by their scores of normal footage. Pixels marked in ``ignore``,
    H x W, count 0 in maps and scores. ``precision`` is float32 or bfloat16. The scorer
    works on a copy of the model, on the same device.
    """

    def __init__(
        self,
        model: nn.Module,
        patch: int,
        precision: str = "float32",
        ignore: np.ndarray | None = None,
        score: str = "distance",
        scaled: bool = False,
    ):
        self.model = for_scoring(model, precision)
        self.patch, self.precision, self.ignore, self.score = patch, precision, ignore, score
        self.scaled = scaled
        self.terms = make_terms(score)
        self.scales: dict[str, tuple[float, float]] = {}  # level and spread of terms, to scale by

    @property
    def before(self) -> int:
        """The number of frames of a window before the one that it scores, T // 2."""
        return self.model.temporal // 2

    @property
    def delay(self) -> int:
        """The number of frames of a window after the one that it scores, T - 1 - T // 2."""
        return self.model.temporal - 1 - self.before

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return device_of(self.model)

    @property
    def identity(self) -> str:
        """A checksum of weights, patch, precision, terms and mask, on which scores depend."""
        digest = hashlib.sha256(f"{self.patch} {getattr(torch, self.precision)}".encode())
        digest.update(b"" if self.score == "distance" else self.score.encode())
        digest.update(repr(self.calibration).encode() if self.calibration else b"")
        for name, value in self.model.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        digest.update(b"" if self.ignore is None else np.packbits(self.ignore).tobytes())
        return digest.hexdigest()

    @property
    def needs_calibration(self) -> bool:
        """Whether training footage decides about a term (``ddllib.calibration``)."""
        needs_constant = any(term.needs_footage for _, term in self.terms.values())
        return needs_constant or self.scaled

    @property
    def calibration(self) -> dict[str, dict]:
        """What training footage decided about each term, its ``constant`` and its ``scale``."""
        decided: dict[str, dict] = {}
        for name, (_, term) in self.terms.items():
            if term.constant is not None:
                decided.setdefault(name, {})["constant"] = term.constant
            if name in self.scales:
                decided.setdefault(name, {})["scale"] = list(self.scales[name])
        return decided

    def calibrate(self, decided: Mapping[str, Mapping]) -> None:
        """Take what ``measure`` found, before the first frame is scored."""
        for name, parts in decided.items():
            self.terms[name][1].constant = parts.get("constant")
            if "scale" in parts:
                self.scales[name] = tuple(parts["scale"])

    def measure(self, clips: Mapping[str, np.ndarray]) -> None:
        """Let normal footage decide about terms: clips, uint8 N x C0 x H x W, by name.

        A term's own constant comes first (``ScoreTerm.measure``). Then, if terms are ``scaled``,
        that is by the median of their scores and the distance between the quartiles, which a few
        strange training frames do not move.
        """
        frames = spread_frames(clips, MEASURED)
        for _, term in self.terms.values():
            if term.needs_footage:
                parts = (frames[k : k + CHUNK] for k in range(0, len(frames), CHUNK))
                inputs = (as_input(np.stack(p), self.model.channels, self.device) for p in parts)
                term.constant = float(term.measure(inputs, self.patch, self.ignore))
                if not 0 < term.constant < math.inf:
                    raise DDLError(
                        f"score: {type(term).__name__} measures {term.constant}; expected a "
                        "number above 0, to divide by"
                    )
        if self.scaled:
            curves = self._normal_curves(clips)
            self.scales = {name: level_and_spread(values) for name, values in curves.items()}

    def _normal_curves(self, clips: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Each term's scores of pieces of clips, evenly spread, about MEASURED frames in all."""
        skipped = RECENT - 1  # of a piece, whose first frames lack those before them
        length = self.model.temporal - 1 + skipped + CHUNK
        curves: dict[str, list[np.ndarray]] = {name: [] for name in self.terms}
        for piece in spread_pieces(clips, length, MEASURED // CHUNK):
            if len(piece) < self.model.temporal:
                continue
            parts = [batch.terms for batch in self.score_batches(piece)]
            for name, values in curves.items():
                values.append(torch.cat([terms[name] for terms in parts])[skipped:].cpu().numpy())
        return {name: np.concatenate([[], *values]) for name, values in curves.items()}

    def judge(self, **pairs: tuple[Tensor, Tensor]) -> ScoreBatch:
        """The scores of n frames by pairs of what is there and its reconstruction.

        ``frames`` are n x C x H x W in [0, 1] both, other pairs are named by ``ScoreTerm.of``.
        Each term is scaled by ``scales``.
        """
        scores, maps, curves = 0, 0, {}
        for name, (weight, term) in self.terms.items():
            level, spread = self.scales.get(name, (0.0, 1.0))
            curves[name], term_maps = term.judge(*pairs[term.of], self.patch, self.ignore)
            scores = scores + weight * (curves[name] - level) / spread
            maps = maps + weight * term_maps / spread
        return ScoreBatch(scores, maps, curves)

    def rebuild(
        self, frames: np.ndarray, chunk: int | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Reconstruct a clip window by window; yields chunks of (X^t, f(X)), n x C x H x W each.

        ``frames`` is uint8 N x C0 x H x W; all chunks together hold the N - T + 1 frames that have
        a window. ``chunk`` (16 frames; in bfloat16 on a GPU, 64) bounds the memory for any length.
        Raises ``DDLError`` for a clip shorter than the model's window.
        """
        self._check_length(frames)
        temporal = self.model.temporal
        is_fast_gpu = self.device.type == "cuda" and self.precision == "bfloat16"
        chunk = chunk or (GPU_CHUNK if is_fast_gpu else CHUNK)
        for start in range(0, len(frames) - temporal + 1, chunk):
            window_frames = frames[start : start + chunk + temporal - 1]
            with torch.inference_mode():
                x = as_input(window_frames, self.model.channels, self.device)
                y = self.model(self._in_model_precision(x).transpose(0, 1)[None])[0].transpose(0, 1)
            yield x[self.before : len(x) - self.delay], y
            _release_pages(frames)

    def _check_length(self, frames: np.ndarray) -> None:
        """Raise ``DDLError`` for a clip shorter than a window."""
        if len(frames) < self.model.temporal:
            raise DDLError(
                f"a clip has {len(frames)} frames; expected at least {self.model.temporal}, a "
                "window"
            )

    def _in_model_precision(self, x: Tensor) -> Tensor:
        """Frames in the precision of the model's first layer, if it has any weights."""
        return x.to(next(self.model.parameters(), x).dtype)

    def score_batches(
        self, frames: np.ndarray, companions: Mapping[str, np.ndarray] | None = None
    ) -> Iterator[ScoreBatch]:
        """The frames of a clip that have a window, judged in chunks (``clip``)."""
        before = None
        for pair in self.rebuild(frames):
            with torch.inference_mode():
                chunk = self.judge(**self._pairs(pair, before))
            yield chunk
            before = following(pair, before)

    def _pairs(self, pair: Pair, before: Pair | None) -> dict[str, Pair]:
        """What terms compare, of frames and their reconstructions; ``before`` is what was last."""
        pairs = {"frames": pair}
        if any(term.of == "recent_frames" for _, term in self.terms.values()):
            pairs["recent_frames"] = tuple(map(recent, pair, before or (None, None)))
        return pairs

    def clip(
        self,
        frames: np.ndarray,
        on_maps: Callable[[int, np.ndarray], None] | None = None,
        companions: Mapping[str, np.ndarray] | None = None,
    ) -> ClipScores:
        """Every frame of a clip scored, uint8 N x C0 x H x W.

        Frames at either end, which have no window, take the nearest score. ``on_maps(first, maps)``
        is called with each chunk's maps, n x H x W, beginning at frame ``first``. ``companions``
        are arrays beside the clip by role; one that is not given is computed.
        """
        curves, frame = {"": [], **{name: [] for name in self.terms}}, self.before
        for scores, maps, terms in self.score_batches(frames, companions):
            for name, values in {"": scores, **terms}.items():
                curves[name].append(values.cpu())
            if on_maps:
                on_maps(frame, maps.cpu().numpy())
            frame += len(scores)
        curves = {
            name: self._with_edges(torch.cat(parts).numpy()) for name, parts in curves.items()
        }
        return ClipScores(curves.pop(""), curves)

    def clips(self, clips: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Raw scores, float32 N, of every clip, uint8 N x C0 x H x W, by its name."""
        return {name: self.clip(frames).scores for name, frames in clips.items()}

    def _with_edges(self, values: np.ndarray) -> np.ndarray:
        return np.pad(values, (self.before, self.delay), mode="edge")


def following(pair: Pair, before: Pair | None) -> Pair:
    """What to keep of frames and reconstructions for the next: the last RECENT - 1 of each."""
    parts = zip(before, pair, strict=True) if before else ((values,) for values in pair)
    return tuple(torch.cat(part)[1 - RECENT :] for part in parts)


def level_and_spread(values: np.ndarray) -> tuple[float, float]:
    """The median of scores, and a standard deviation made of their quartiles; 1 if they are equal.

    Raises ``DDLError`` where there is no score.
    """
    if not len(values):
        raise DDLError(
            "scaled_terms: no training clip is as long as a window, and terms have no scale; set "
            "it to false"
        )
    low, median, high = np.quantile(values.astype(np.float64), (0.25, 0.5, 0.75))
    return float(median), float((high - low) / QUARTILES or values.std() or 1)


def as_input(frames: np.ndarray, channels: int, device: torch.device | str = "cpu") -> Tensor:
    """uint8 N x C0 x H x W -> float N x C x H x W in [0, 1]; grey becomes equal channels."""
    x = torch.from_numpy(np.array(frames)).to(device).float() / 255
    return x.expand(-1, channels, -1, -1)


def _release_pages(frames: np.ndarray) -> None:
    """Release the memory of a memory-mapped clip's pages that were read."""
    mapped = getattr(frames, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def score_clip(
    model: nn.Module,
    frames: np.ndarray,
    patch: int,
    precision: str = "float32",
    on_maps: Callable[[int, np.ndarray], None] | None = None,
    ignore: np.ndarray | None = None,
) -> np.ndarray:
    """One raw score per frame of a clip, uint8 N x C0 x H x W -> float32 N (``Scorer.clip``)."""
    return Scorer(model, patch, precision, ignore).clip(frames, on_maps).scores
