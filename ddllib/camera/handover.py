"""Files in a run's folder that let a copy of it watch on another machine.

A checkpoint holds weights and the settings that shaped them. Watching needs more: the size and rate
of the footage, the patch and mask, scores of normal footage for the threshold, and the background
that shows a change of the scene. They are in ``watching.json`` and ``watching.npz`` beside the
checkpoint. So a watch needs neither prepared data, nor footage, nor the profile.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ddllib.camera.backgrounds import backgrounds
from ddllib.camera.rates import kept_rate
from ddllib.checkpoints import checksum
from ddllib.data import Prepared, spread_frames
from ddllib.devices import PRECISIONS
from ddllib.errors import DDLError
from ddllib.ignore import load_ignore
from ddllib.io.files import disk_faults, write_json, write_whole
from ddllib.io.reading import read_arrays, read_json
from ddllib.paths import shown_place
from ddllib.pipeline import score_normal
from ddllib.runs import Run
from ddllib.settings import VOCABULARY, Settings, load_profile

NAME, ARRAYS = "watching.json", "watching.npz"
BACKGROUND_FRAMES = 120  # taken evenly from all clips
# Settings that no checkpoint holds; files of before scores had terms lack the last one.
VALUES = ("patch", "ignore", "alarms_per_hour", "protocol", "score")
# The other settings of a profile that a watch depends on.
_DATA_SETTINGS = (
    "data",
    "scene",
    "size",
    "frame_rate",
    "channels",
    "precision",
    "threshold_share",
)
_WHAT = "what a run is watched with"
_REMEDY = "copy the run's whole folder again, or remove the file and train again where the data is"


@dataclass(frozen=True)
class Known:
    """What a watch needs to know of the footage that a run was trained on.

    ``size`` is height and width in pixels; ``channels`` 1 or 3; ``rate`` frames per second, None if
    the footage has no times; ``levels`` and ``shapes`` as in ``data.Prepared``. ``background`` is
    K x H x W float32 (``ddllib.camera.backgrounds``); ``ignored`` the mask, H x W bool.
    ``prepared`` is the folder of the prepared data, if it is on this machine.
    """

    size: tuple[int, int]
    channels: int
    training_digest: str
    background: np.ndarray
    rate: float | None = None
    levels: tuple[int, int] | None = None
    shapes: frozenset[tuple[int, int]] = frozenset()
    ignored: np.ndarray | None = None
    prepared: Path | None = None


@dataclass(frozen=True)
class Handover:
    """Contents of the files: facts of the footage, settings ``VALUES``, scores of normal footage.

    ``normal`` holds raw scores by clip, float32 N, of the last ``share`` of each clip. They were
    computed in ``precision`` with ``weights`` (a checksum). ``profile`` holds the profile's values
    at that time.
    """

    known: Known
    values: dict
    normal: dict[str, np.ndarray]
    share: float
    precision: str
    weights: str
    profile: dict

    def has_scores_for(self, settings: Settings, data: Prepared | Known, run: Run) -> bool:
        """Whether the scores are of this patch, mask, terms, share, model and footage.

        If they cannot be computed again, as the footage is not here, another precision will do.
        """
        patch_size = replace(settings, patch=self.values["patch"]).patch_size
        has_footage = not isinstance(data, Known) or data.prepared is not None
        return (
            (patch_size, self.values["score"]) == (settings.patch_size, settings.score)
            and self.share == settings.threshold_share
            and self.known.training_digest == data.training_digest
            and _same(self.known.ignored, ignored(settings, data))
            and (self.precision == run.precision or not has_footage)
            and self.weights == weights_of(run)
        )

    def changed(self, settings: Settings) -> list[str]:
        """Names of settings of a watch that were changed in the profile since the run was trained.

        ``settings`` are the run's; a value that equals the run's own is no change. A missing
        profile counts as unchanged, a mask file with new content as changed.
        """
        try:
            today = load_profile(settings.profile).asdict()
        except DDLError:
            return []
        of_run = {**settings.asdict(), **self.values}
        changed = [
            name
            for name in (*_DATA_SETTINGS, *VALUES)
            if today[name] != self.profile.get(name) and today[name] != of_run[name]
        ]
        return changed + ["ignore"] * ("ignore" not in changed and self._mask_is_redrawn())

    def _mask_is_redrawn(self) -> bool:
        if isinstance(self.values["ignore"], str):
            with contextlib.suppress(DDLError):  # it is not on this machine
                mask = load_ignore(self.values["ignore"], self.known.size)
                return not _same(mask, self.known.ignored)
        return False


def known_of(settings: Settings, data: Prepared) -> Known:
    """The facts of prepared data that a watch needs."""
    return Known(
        data.size,
        data.channels,
        data.training_digest,
        background(data),
        kept_rate(data.manifest),
        data.levels,
        data.shapes,
        load_ignore(settings.ignore, data.size),
        data.folder,
    )


def ignored(settings: Settings, data: Prepared | Known) -> np.ndarray | None:
    """The mask of ignored pixels, H x W bool; None if there is none."""
    return data.ignored if isinstance(data, Known) else load_ignore(settings.ignore, data.size)


def background(data: Prepared | Known) -> np.ndarray:
    """The background pictures of the training footage, K x H x W float32 (``backgrounds``)."""
    if isinstance(data, Known):
        return data.background
    return backgrounds(spread_frames(data.training, BACKGROUND_FRAMES))


def weights_of(run: Run) -> str:
    """A checksum of the weights as they are saved, the same on every device."""
    return checksum(run.model.state_dict())


def leave(settings: Settings, data: Prepared, run: Run, normal: Mapping[str, np.ndarray]) -> None:
    """Write the files into the run's folder; ``normal`` are scores computed with these settings.

    Raises ``DDLError`` if the disk is full or cannot be written to.
    """
    known = known_of(settings, data)
    arrays = {"background": known.background, "names": np.array(list(normal))}
    arrays |= {f"{k}": np.asarray(scores, np.float32) for k, scores in enumerate(normal.values())}
    if known.ignored is not None:
        arrays["ignored"] = known.ignored
    facts = {
        "values": {name: getattr(settings, name) for name in VALUES},
        "threshold_share": settings.threshold_share,
        "precision": run.precision,
        "weights": weights_of(run),
        "size": list(known.size),
        "channels": known.channels,
        "frame_rate": known.rate,
        "levels": known.levels and list(known.levels),
        "shapes": [list(shape) for shape in sorted(known.shapes)],
        "training_digest": known.training_digest,
        "prepared": data.folder.name,
        "profile": load_profile(settings.profile).asdict(),
    }
    path = run.folder / NAME
    with disk_faults(path):  # removed first: a process killed here leaves no pair that mismatches
        path.unlink(missing_ok=True)
    write_whole(run.folder / ARRAYS, partial(np.savez, **arrays))
    write_json(path, {**facts, "arrays": _digest(run.folder / ARRAYS)})


def make_ready(settings: Settings, data: Prepared, run: Run) -> None:
    """Write the files into a trained run's folder and print the command; a chapter's last step.

    The folder can then be copied. Without ``threshold_share`` there are no scores of normal footage
    yet: files of other settings are removed, and the choice of a threshold writes new ones.
    """
    try:
        try:
            files = read(run.folder)
        except DDLError:  # damaged, so written again
            files = None
        values = {name: getattr(settings, name) for name in VALUES}
        if not (files and files.values == values and files.has_scores_for(settings, data, run)):
            if settings.threshold_share:
                leave(settings, data, run, score_normal(settings, data, run))
            else:
                forget(run.folder)
    except (DDLError, OSError) as error:  # no reason to fail: the run itself is complete
        print(f"the run cannot be watched with elsewhere yet: {error}")
    if settings.threshold_share:  # there is normal footage to choose a threshold by
        print(f"to watch with it: python -m ddllib watch --run {_in_the_shell(run.folder)} --help")


def _in_the_shell(folder: Path) -> str:
    """A run's folder as an argument of a shell command, from the project's root."""
    place = shown_place(folder)
    return f'"{place}"' if place.startswith("$DDL_RUNS/") else shlex.quote(place)


def forget(folder: Path) -> None:
    """Remove the files from a run's folder, if they are there."""
    with disk_faults(folder / NAME):
        (folder / NAME).unlink(missing_ok=True)
        (folder / ARRAYS).unlink(missing_ok=True)


def read(folder: Path) -> Handover | None:
    """Read the files in a run's folder; None if there are none.

    Raises ``DDLError`` for files that are damaged or were edited.
    """
    path = folder / NAME
    if not path.exists():
        return None
    facts = read_json(path, _WHAT, _REMEDY)
    arrays = read_arrays(folder / ARRAYS, _WHAT, _REMEDY)
    if facts.get("arrays") != _digest(folder / ARRAYS):
        raise DDLError(f"{folder / ARRAYS}: not the one that {NAME} is of; {_REMEDY}")
    fault = _fault(facts) or _fault_of_arrays(arrays, facts)
    if fault:
        raise DDLError(f"{path}: not {_WHAT} ({fault}); {_REMEDY}")
    try:
        replace(Settings(), **facts["values"])
    except DDLError as error:
        raise DDLError(f"{path}: {error}; {_REMEDY}") from None
    place = folder.resolve().parent / facts["prepared"]
    known = Known(
        tuple(facts["size"]),
        facts["channels"],
        facts["training_digest"],
        arrays["background"],
        facts["frame_rate"],
        tuple(facts["levels"]) if facts["levels"] else None,
        frozenset(map(tuple, facts["shapes"])),
        arrays.get("ignored"),
        place if (place / "manifest.json").is_file() else None,
    )
    normal = {str(name): arrays[f"{k}"] for k, name in enumerate(arrays["names"])}
    names = ("threshold_share", "precision", "weights", "profile")
    values = {"score": Settings().score, **facts["values"]}
    return Handover(known, values, normal, *(facts[name] for name in names))


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _same(first: np.ndarray | None, second: np.ndarray | None) -> bool:
    if first is None or second is None:
        return first is second
    return np.array_equal(first, second)


def _fault(facts: dict) -> str | None:
    """The first fact that ``leave`` cannot have written; None if all are valid."""
    checks = {
        "values": lambda v: isinstance(v, dict) and set(VALUES[:-1]) <= v.keys() <= set(VALUES),
        "threshold_share": lambda v: _is_number(v) and 0 <= v <= 1,
        "precision": PRECISIONS.__contains__,
        "weights": lambda v: isinstance(v, str),
        "size": lambda v: _is_pair(v) and all(side % 16 == 0 and side <= 4096 for side in v),
        "channels": lambda v: _is_count(v) and v in (1, 3),
        "frame_rate": lambda v: v is None or (_is_number(v) and v > 0),
        "levels": lambda v: v is None or _are_levels(v),
        "shapes": lambda v: isinstance(v, list) and all(map(_is_pair, v)),
        "training_digest": lambda v: isinstance(v, str),
        "prepared": lambda v: isinstance(v, str) and v.isprintable() and Path(v).name == v,
        "profile": lambda v: isinstance(v, dict) and v.keys() <= VOCABULARY,
    }
    for name, is_valid in checks.items():
        value = facts.get(name)
        if name not in facts or not is_valid(value):
            return f"{name} is {str(value)[:80]!r}"
    return None


def _fault_of_arrays(arrays: dict[str, np.ndarray], facts: dict) -> str | None:
    size, names = tuple(facts["size"]), arrays.get("names", np.zeros(0))
    pictures = arrays.get("background", np.zeros(0))
    mask = arrays.get("ignored")
    fits = pictures.ndim == 3 and pictures.shape[1:] == size and len(pictures)
    if not (fits and _are_finite(pictures)):
        return "its background does not fit"
    if mask is not None and (mask.dtype != bool or mask.shape != size or mask.all()):
        return "its mask does not fit"
    if names.ndim != 1 or names.dtype.kind != "U" or not len(set(names.tolist())) == len(names):
        return "its scores have no names"
    scores = [arrays.get(f"{k}", np.zeros(0)) for k in range(len(names))]
    if not scores or not all(s.ndim == 1 and len(s) and _are_finite(s) for s in scores):
        return "its scores are no finite numbers"
    return None


def _are_finite(values: np.ndarray) -> bool:
    return values.dtype == np.float32 and bool(np.isfinite(values).all())


def _is_number(value) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


def _is_count(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31


def _is_pair(value) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_count, value))


def _are_levels(value) -> bool:
    integers = isinstance(value, list) and len(value) == 2 and all(type(v) is int for v in value)
    return integers and 0 <= value[0] < value[1] < 1 << 16
