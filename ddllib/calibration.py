"""What training footage decides about a score: constants and scales of terms.

They depend on the footage that the run was trained on, the patch, the terms and the ignored pixels,
and on no test clip. They are kept in the run's folder. A copied folder has them, so that it scores
elsewhere without the footage.
"""

from __future__ import annotations

import contextlib
import hashlib
import math

import numpy as np

from ddllib.data import Prepared
from ddllib.errors import DDLError
from ddllib.io.files import write_json
from ddllib.io.reading import read_json
from ddllib.runs import Run
from ddllib.scoring import Scorer
from ddllib.settings import Settings
from ddllib.training import training_clips

NAME = "calibration.json"


def calibrate(scorer: Scorer, settings: Settings, data, run: Run) -> None:
    """Give a scorer what footage decides about its terms: what the run keeps, or measured now.

    ``data`` is prepared data, or what a watch knows of it (``camera.handover.Known``), which has no
    footage. Raises ``DDLError`` where they are needed and neither kept nor measurable.
    """
    if not scorer.needs_calibration:
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
        scorer.measure({n: clip for n, clip in clips.items() if len(clip)})
        known[key] = scorer.calibration
        if run.folder:
            with contextlib.suppress(DDLError, OSError):  # a folder that cannot be written to
                write_json(run.folder / NAME, known)
    scorer.calibrate(known[key])


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
    """Whether this is what ``Scorer.calibration`` gives; files of earlier versions are not."""
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
    names = sorted(
        name for name, (_, term) in scorer.terms.items() if term.needs_footage or scorer.scaled
    )
    share = settings.threshold_share
    text = f"{names} {scorer.patch} {data.training_digest} {settings.held_out} {share}"
    text += " scaled" * scorer.scaled
    digest = hashlib.sha256(text.encode())
    digest.update(b"" if scorer.ignore is None else np.packbits(scorer.ignore).tobytes())
    return digest.hexdigest()[:16]
