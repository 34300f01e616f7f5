"""What training footage decides about a score: constants and scales of terms.

They depend on the footage that the run was trained on, the patch, the terms and the ignored pixels,
and on no test clip. They are kept in the run's folder. A copied folder has them, so that it scores
elsewhere without the footage.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Mapping

import numpy as np
import torch

from ddllib.data import Prepared, spread_frames, spread_pieces
from ddllib.errors import DDLError
from ddllib.io.files import write_json
from ddllib.io.reading import read_json
from ddllib.runs import Run
from ddllib.score_terms.base import RECENT
from ddllib.scoring import CHUNK, Scorer, as_input
from ddllib.settings import Settings
from ddllib.training import training_clips

NAME = "calibration.json"
MEASURED = 1000  # training frames at most, evenly spread, that decide about terms
QUARTILES = 1.349  # from the first to the third, in standard deviations of a normal distribution


def calibrate(scorer: Scorer, settings: Settings, data, run: Run) -> None:
    """Give a scorer what footage decides about its terms: what the run keeps, or measured now.

    ``data`` is prepared data, or what a watch knows of it (``camera.handover.Known``), which has no
    footage. Raises ``DDLError`` where they are needed and neither kept nor measurable.
    """
    if not scorer.terms.needs_calibration:
        return
    known, key = _kept(run), _key(scorer, settings, data)
    if key not in known:
        if not isinstance(data, Prepared):
            raise DDLError(
                f"{run.folder}: keeps no constants for the score {scorer.score!r} by patches of "
                f"{scorer.patch}; run chapter 5 with these settings where the footage is, and copy "
                "the folder again"
            )
        clips, _ = training_clips(settings, data)
        measure(scorer, {n: clip for n, clip in clips.items() if len(clip)})
        known[key] = scorer.terms.calibration
        if run.folder:
            with contextlib.suppress(DDLError, OSError):  # a folder that cannot be written to
                write_json(run.folder / NAME, known)
    scorer.terms.calibrate(known[key])


def measure(scorer: Scorer, clips: Mapping[str, np.ndarray]) -> None:
    """Let normal footage decide about terms: clips, uint8 N x C0 x H x W, by name.

    A term's own constant comes first (``ScoreTerm.measure``). Then, if terms are ``scaled``, each
    is by the median of its scores and the distance between their quartiles, which a few strange
    training frames do not move. Raises ``DDLError`` where no clip has a window to score.
    """
    frames, channels = spread_frames(clips, MEASURED), scorer.model.channels
    for _, term in scorer.terms.values():
        if term.needs_footage:
            parts = (np.stack(frames[k : k + CHUNK]) for k in range(0, len(frames), CHUNK))
            inputs = (as_input(part, channels, scorer.device) for part in parts)
            term.constant = float(term.measure(inputs, scorer.patch, scorer.ignore))
            if not 0 < term.constant < math.inf:
                fault = f"{type(term).__name__} measures {term.constant}"
                raise DDLError(f"score: {fault}; expected a number above 0, to divide by")
    if scorer.terms.scaled:
        curves = _normal_curves(scorer, clips)
        scorer.terms.scales = {name: level_and_spread(values) for name, values in curves.items()}


def _normal_curves(scorer: Scorer, clips: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each term's scores of pieces of clips, evenly spread, about MEASURED frames in all."""
    skipped = RECENT - 1  # of a piece, whose first frames lack those before them
    length = scorer.model.temporal - 1 + skipped + CHUNK
    curves: dict[str, list[np.ndarray]] = {name: [] for name in scorer.terms}
    for piece in spread_pieces(clips, length, MEASURED // CHUNK):
        if len(piece) < scorer.model.temporal:
            continue
        parts = [batch.terms for batch in scorer.score_batches(piece)]
        for name, values in curves.items():
            values.append(torch.cat([terms[name] for terms in parts])[skipped:].cpu().numpy())
    return {name: np.concatenate([[], *values]) for name, values in curves.items()}


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


def _kept(run: Run) -> dict[str, dict[str, dict]]:
    """What the run's folder keeps, by key; nothing where the file is missing or damaged."""
    if not run.folder or not (run.folder / NAME).is_file():
        return {}
    try:
        content = read_json(run.folder / NAME, "constants of a score", "remove it")
    except DDLError as error:
        print(f"{error}: measured anew")
        return {}
    known = {key: _in_this_form(value) for key, value in content.items()}
    return {key: value for key, value in known.items() if _is_calibration(value)}


def _in_this_form(value):
    """A calibration as it is kept now; once there were constants alone, a number each."""
    if not isinstance(value, dict):
        return value
    return {n: {"constant": part} if type(part) is float else part for n, part in value.items()}


def _is_calibration(value) -> bool:
    """Whether this is what ``Terms.calibration`` gives; files of earlier versions are not."""
    return isinstance(value, dict) and all(map(_is_of_a_term, value.values()))


def _is_of_a_term(parts) -> bool:
    if not isinstance(parts, dict) or parts.keys() - {"constant", "scale"}:
        return False
    scale = parts.get("scale", [0.0, 1.0])
    if not isinstance(scale, list) or len(scale) != 2:
        return False
    level, *positive = [*scale, parts.get("constant", 1.0)]
    are_numbers = all(type(n) is float and math.isfinite(n) for n in (level, *positive))
    return are_numbers and min(positive) > 0


def _key(scorer: Scorer, settings: Settings, data) -> str:
    """A checksum of all that the constants depend on."""
    terms, share = scorer.terms, settings.threshold_share
    names = sorted(n for n, (_, term) in terms.items() if term.needs_footage or terms.scaled)
    text = f"{names} {scorer.patch} {data.training_digest} {settings.held_out} {share}"
    text += " scaled" * terms.scaled
    digest = hashlib.sha256(text.encode())
    digest.update(b"" if scorer.ignore is None else np.packbits(scorer.ignore).tobytes())
    return digest.hexdigest()[:16]
