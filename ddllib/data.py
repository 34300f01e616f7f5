"""Prepared data: memory-mapped clips, tracks, labels and masks, as ``data_prep`` leaves them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ddllib.errors import DDLError
from ddllib.reading import read_array, read_json

TRACK_COLUMNS = [
    "split", "clip", "frame", "track", "x0", "y0", "x1", "y1", "confidence", "class",
]  # fmt: skip


BOX = ["x0", "y0", "x1", "y1"]
_CHANNELS = (1, 3)  # of prepared clips
_REMEDY = "prepare the data again"


@dataclass
class Prepared:
    """One prepared data set.

    ``training`` and ``testing`` map a clip's name to uint8 frames, N x C x H x W (C is 1 for grey
    footage, 3 for RGB); ``labels`` to N values, 1 for abnormal, by the labelling of that name;
    ``masks`` to N x H x W of 0 and 1, for those test clips that have them.
    ``tracks`` has the columns of ``TRACK_COLUMNS``, boxes relative to the frame in [0, 1].
    """

    folder: Path
    manifest: dict
    training: dict[str, np.ndarray]
    testing: dict[str, np.ndarray]
    tracks: pd.DataFrame
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    labelling: str | None = None

    @property
    def channels(self) -> int:
        """1 for grey footage, 3 for colour."""
        return next(iter(self.training.values())).shape[1]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every frame, in pixels."""
        return self.manifest["height"], self.manifest["width"]

    @property
    def digest(self) -> str:
        """A checksum of everything a run is made from: all clips and the tracks table."""
        content = {split: self.content(split) for split in self.manifest["clips"]}
        clips = json.dumps(content, sort_keys=True).encode()
        table = (self.folder / "tracks.csv").read_bytes()
        return hashlib.sha256(clips + table).hexdigest()[:16]

    @property
    def training_digest(self) -> str:
        """A checksum of what weights are made from: the training clips and their tracks."""
        digest = hashlib.sha256(json.dumps(self.content("training"), sort_keys=True).encode())
        rows = self.tracks[self.tracks["split"] == "training"]
        digest.update(json.dumps(rows["clip"].tolist()).encode())
        digest.update(rows[["frame", "track", *BOX]].to_numpy(np.float64).tobytes())
        return digest.hexdigest()[:16]

    def content(self, split: str) -> dict[str, dict]:
        """The number of frames and the checksum of each clip of ``training`` or ``testing``."""
        return {
            name: {key: facts[key] for key in ("frames", "sha256") if key in facts}
            for name, facts in self.manifest["clips"].get(split, {}).items()
        }

    @property
    def facts(self) -> dict:
        """What a record says of the data, from its source to the coverage by tracks."""
        names = ("source", "dataset", "detector", "tracker", "coverage")
        return {**{name: self.manifest.get(name) for name in names}, "labelling": self.labelling}


def load_prepared(folder: Path | str, labelling: str | None = None) -> Prepared:
    """Open the prepared data in ``folder`` without reading its frames into memory.

    ``labelling`` names one of its labellings; None takes the one chosen when it was prepared.
    Raises ``DDLError`` where the manifest, a clip, the tracks table or that labelling is missing
    or damaged.
    """
    folder = Path(folder)
    manifest = read_manifest(folder / "manifest.json")
    size = manifest["height"], manifest["width"]
    named = {s: dict(sorted(manifest["clips"].get(s, {}).items())) for s in ("training", "testing")}
    clips = {s: _open_all(folder / s, known, _CHANNELS, *size) for s, known in named.items()}
    tracks = read_tracks(folder / "tracks.csv")
    check_tracks(folder / "tracks.csv", tracks, manifest)
    labelling = _find_labelling(folder / "labels", labelling or manifest.get("labelling"))
    tests = named["testing"]
    masked = {n: f for n, f in tests.items() if f"masks/{n}.npy" in manifest.get("sha256", {})}
    labels = _open_all(folder / "labels" / labelling, tests) if labelling else {}
    _check_binary(folder / "labels" / (labelling or ""), labels)
    masks = _open_all(folder / "masks", masked, *size)
    return Prepared(
        folder, manifest, **clips, tracks=tracks, labels=labels, masks=masks, labelling=labelling
    )


def _find_labelling(folder: Path, wanted: str | None) -> str | None:
    """The labelling's name if its folder is there, None where nothing is labelled."""
    known = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if (wanted or known) and wanted not in known:
        raise DDLError(
            f"{folder}: {f'no labelling {wanted!r}' if wanted else 'labellings that differ'}; "
            f"choose by `labelling` one of {', '.join(known) or 'none'}"
        )
    return wanted


def read_tracks(path: Path) -> pd.DataFrame:
    """The tracks table; clip names stay text."""
    if not path.is_file():
        raise DDLError(f"{path}: not there; expected the tracks table; {_REMEDY}")
    whole, text = dict.fromkeys(["frame", "track", "class"], int), {"split": str, "clip": str}
    numbers = dict.fromkeys([*BOX, "confidence"], float)
    try:
        # Text columns are kept as text: "01" is no number, a clip may be called "NA".
        tracks = pd.read_csv(path, dtype={**text, **whole, **numbers}, keep_default_na=False)
    except Exception as error:  # beside ValueError: numbers too large, lines without an end
        raise DDLError(f"{path}: not a table ({error}); {_REMEDY}") from None
    missing = [name for name in TRACK_COLUMNS if name not in tracks.columns]
    if missing:
        raise DDLError(
            f"{path}: column {missing[0]!r} is missing; expected {','.join(TRACK_COLUMNS)}; "
            f"{_REMEDY}"
        )
    return tracks


def check_tracks(path: Path, tracks: pd.DataFrame, manifest: dict) -> None:
    """Each box lies in a frame of a known clip, and a track has one box per frame."""
    lengths = {
        (split, name): facts["frames"]
        for split, clips in manifest["clips"].items()
        for name, facts in clips.items()
    }
    clips = pd.Series(zip(tracks["split"], tracks["clip"], strict=True), dtype=object)
    length = clips.map(lengths).to_numpy(float)
    boxes = tracks[BOX].to_numpy()
    inside = ((boxes >= 0) & (boxes <= 1)).all(axis=1)  # false for NaN too
    checks = {
        "names a clip that is not prepared": np.isnan(length),
        "lies outside its clip": (tracks["frame"] < 0) | (tracks["frame"] >= length),
        "leaves the frame or is empty": ~inside
        | (boxes[:, 2] <= boxes[:, 0])
        | (boxes[:, 3] <= boxes[:, 1]),
        "repeats a track in one frame": tracks.duplicated(["split", "clip", "frame", "track"]),
    }
    for what, bad in checks.items():
        if np.any(bad):
            raise DDLError(f"{path}: line {int(np.argmax(bad)) + 2} {what}; {_REMEDY}")


def read_manifest(path: Path) -> dict:
    """The manifest of prepared data: sizes, and per split and clip the number of frames."""
    manifest = read_json(path, "a manifest of prepared data", "run `python -m data_prep prepare`")
    fault = _fault(manifest)
    if fault:
        raise DDLError(f"{path}: not a manifest of prepared data ({fault}); {_REMEDY}")
    return manifest


def kept_rate(manifest: dict) -> float | None:
    """Frames per second of the prepared training clips by their times; None where none tells them.

    Those of images do not, nor those that were prepared before times were kept.
    """
    timed = [
        facts for facts in manifest["clips"].get("training", {}).values() if "seconds" in facts
    ]
    if not timed:
        return None
    return sum(facts["frames"] for facts in timed) / sum(facts["seconds"] for facts in timed)


def _fault(manifest: dict) -> str | None:
    """What in a manifest could not be written by a preparation."""
    for name in ("height", "width"):
        if not _is_count(manifest.get(name)):
            return f"{name} is {manifest.get(name)!r}"
    if not isinstance(manifest.get("sha256", {}), dict):
        return "no checksums"
    if not isinstance(manifest.get("labelling"), str | None):
        return "labelling is no name"
    clips = manifest.get("clips")
    if not isinstance(clips, dict) or not set(clips) <= {"training", "testing"}:
        return "no clips"
    for split, known in clips.items():
        if not isinstance(known, dict):
            return f"no clips in {split}"
        for name, facts in known.items():
            if not name or Path(name).name != name:
                return f"a clip named {name!r}"
            if not isinstance(facts, dict) or not _is_count(facts.get("frames")):
                return f"no number of frames of {split} {name}"
            if not _is_duration(facts.get("seconds", 1)):
                return f"{split} {name} lasts {facts['seconds']!r} seconds"
    return None


def _is_count(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31


def _is_duration(value) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < value < 1 << 31


def _open_array(path: Path, shape: tuple[int | tuple[int, ...], ...]) -> np.ndarray:
    """A memory-mapped uint8 array of one of the shapes that ``shape`` allows."""
    array = read_array(path, "an array of prepared data", _REMEDY, mapped=True)
    allowed = [sides if isinstance(sides, tuple) else (sides,) for sides in shape]
    fits = array.ndim == len(allowed) and all(map(_among, array.shape, allowed))
    if not fits or array.dtype != np.uint8:
        raise DDLError(
            f"{path}: {array.dtype} of shape {array.shape}, manifest.json says uint8 of {shape}; "
            f"{_REMEDY}"
        )
    return array


def _among(side: int, allowed: tuple[int, ...]) -> bool:
    return side in allowed


def _open_all(folder: Path, clips: dict, *shape) -> dict[str, np.ndarray]:
    """The arrays of clips by name; the first axis is that of the frames, ``shape`` the others."""
    return {
        name: _open_array(folder / f"{name}.npy", (facts["frames"], *shape))
        for name, facts in clips.items()
    }


def _check_binary(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    for name, values in arrays.items():
        if values.size and values.max() > 1:
            raise DDLError(f"{folder / name}.npy: expected 0 and 1 only; {_REMEDY}")
