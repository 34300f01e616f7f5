"""Prepared data as ``data_prep`` writes it: memory-mapped clips, tracks, labels and masks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ddllib.errors import DDLError
from ddllib.io.reading import read_array, read_json

TRACK_COLUMNS = [
    "split", "clip", "frame", "track", "x0", "y0", "x1", "y1", "confidence", "class",
]  # fmt: skip


BOX = ["x0", "y0", "x1", "y1"]
WINDOW = 3  # frames of a window by default, the T of DDL
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
    def levels(self) -> tuple[int, int] | None:
        """The values mapped to 0 and 255 in 16-bit footage; None for 8-bit footage."""
        levels = self.manifest.get("levels")
        return tuple(levels) if levels else None

    @property
    def shapes(self) -> frozenset[tuple[int, int]]:
        """Heights and widths of the training footage before it was resized, as far as known."""
        records = self.manifest["clips"].get("training", {}).values()
        return frozenset(tuple(r["shape"]) for r in records if "shape" in r)

    @property
    def digest(self) -> str:
        """A checksum of all clips and the tracks table, on which a run depends."""
        content = {split: self.content(split) for split in self.manifest["clips"]}
        clips = json.dumps(content, sort_keys=True).encode()
        table = (self.folder / "tracks.csv").read_bytes()
        return hashlib.sha256(clips + table).hexdigest()[:16]

    @property
    def training_digest(self) -> str:
        """A checksum of the training clips and their tracks, on which weights depend."""
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

    def companion(self, name: str, split: str = "training") -> dict[str, np.ndarray]:
        """The arrays by clip that ``data_prep.companions`` wrote under that name, N x ... each.

        Raises ``DDLError`` where one is missing or does not have an entry for each frame.
        """
        arrays, clips = {}, getattr(self, split)
        for clip, frames in clips.items():
            path = companion_file(self.folder, name, split, clip)
            arrays[clip] = read_array(path, "an array beside a clip", _REMEDY, mapped=True)
            sizes = arrays[clip].shape[:1] + arrays[clip].shape[-2:]
            if sizes != frames.shape[:1] + frames.shape[-2:]:
                raise DDLError(f"{path}: {sizes}, its clip has {frames.shape}; {_REMEDY}")
        return arrays

    @property
    def facts(self) -> dict:
        """What a record says of the data, from its source to the coverage by tracks."""
        names = ("source", "dataset", "detector", "tracker", "coverage")
        return {**{name: self.manifest.get(name) for name in names}, "labelling": self.labelling}


def spread_frames(clips: Mapping[str, np.ndarray], count: int) -> list[np.ndarray]:
    """``count`` frames, C x H x W, drawn evenly from clips N x C x H x W laid end to end."""
    ends = np.cumsum([len(clip) for clip in clips.values()])
    frames, arrays = [], list(clips.values())
    for position in np.linspace(0, ends[-1] - 1, min(count, ends[-1]), dtype=int):
        k = int(np.searchsorted(ends, position, side="right"))
        frames.append(arrays[k][position - ends[k]])  # a negative index: from the clip's end
    return frames


def spread_pieces(clips: Mapping[str, np.ndarray], length: int, count: int) -> list[np.ndarray]:
    """At most ``count`` pieces of ``length`` frames, evenly spread, that do not overlap.

    A clip shorter than that, N x C x H x W, is a piece of its own.
    """
    pieces = [
        clip[start : start + length]
        for clip in clips.values()
        for start in range(0, max(len(clip) - length, 0) + 1, length)
    ]
    chosen = np.linspace(0, len(pieces) - 1, min(count, len(pieces)), dtype=int)
    return [pieces[k] for k in chosen]


def companion_file(folder: Path, name: str, split: str, clip: str) -> Path:
    """Where the array of this name beside a clip of prepared data lies."""
    return folder / "companions" / name / split / f"{clip}.npy"


def load_prepared(folder: Path | str, labelling: str | None = None) -> Prepared:
    """Open the prepared data in ``folder`` without reading its frames into memory.

    ``labelling`` names one of its labellings; None takes the one chosen when it was prepared.
    Raises ``DDLError`` where the manifest, a clip, the tracks table or that labelling is missing
    or damaged.
    """
    folder = Path(folder)
    manifest = read_manifest(folder / "manifest.json")
    size = manifest["height"], manifest["width"]
    facts = {s: dict(sorted(manifest["clips"].get(s, {}).items())) for s in ("training", "testing")}
    clips = {s: _open_all(folder / s, records, _CHANNELS, *size) for s, records in facts.items()}
    tracks = read_tracks(folder / "tracks.csv")
    check_tracks(folder / "tracks.csv", tracks, manifest)
    labelling = _find_labelling(folder / "labels", labelling or manifest.get("labelling"))
    tests = facts["testing"]
    with_masks = {n: f for n, f in tests.items() if f"masks/{n}.npy" in manifest.get("sha256", {})}
    labels = _open_all(folder / "labels" / labelling, tests) if labelling else {}
    _check_binary(folder / "labels" / (labelling or ""), labels)
    masks = _open_all(folder / "masks", with_masks, *size)
    return Prepared(
        folder, manifest, **clips, tracks=tracks, labels=labels, masks=masks, labelling=labelling
    )


def _find_labelling(folder: Path, name: str | None) -> str | None:
    """The labelling's name if its folder is there, None where nothing is labelled."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if (name or names) and name not in names:
        raise DDLError(
            f"{folder}: {f'no labelling {name!r}' if name else 'labellings that differ'}; "
            f"choose by `labelling` one of {', '.join(names) or 'none'}"
        )
    return name


def read_tracks(path: Path) -> pd.DataFrame:
    """The tracks table; clip names stay text."""
    if not path.is_file():
        raise DDLError(f"{path}: not there; expected the tracks table; {_REMEDY}")
    integers, texts = dict.fromkeys(["frame", "track", "class"], int), {"split": str, "clip": str}
    numbers = dict.fromkeys([*BOX, "confidence"], float)
    try:
        # Clip names such as "01" and "NA" must stay text.
        tracks = pd.read_csv(path, dtype={**texts, **integers, **numbers}, keep_default_na=False)
    except Exception as error:  # pandas raises many types, e.g. for too large numbers
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
    faults = {
        "names a clip that is not prepared": np.isnan(length),
        "lies outside its clip": (tracks["frame"] < 0) | (tracks["frame"] >= length),
        "leaves the frame or is empty": ~inside
        | (boxes[:, 2] <= boxes[:, 0])
        | (boxes[:, 3] <= boxes[:, 1]),
        "repeats a track in one frame": tracks.duplicated(["split", "clip", "frame", "track"]),
    }
    for fault, rows in faults.items():
        if np.any(rows):
            raise DDLError(f"{path}: line {int(np.argmax(rows)) + 2} {fault}; {_REMEDY}")


def read_manifest(path: Path) -> dict:
    """The manifest of prepared data: sizes, and per split and clip the number of frames."""
    manifest = read_json(path, "a manifest of prepared data", "run `python -m data_prep prepare`")
    fault = _fault(manifest)
    if fault:
        raise DDLError(f"{path}: not a manifest of prepared data ({fault}); {_REMEDY}")
    return manifest


def _fault(manifest: dict) -> str | None:
    """What is wrong with the content of a manifest; None if nothing is."""
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
    for split, records in clips.items():
        if not isinstance(records, dict):
            return f"no clips in {split}"
        for name, facts in records.items():
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
    """A memory-mapped uint8 array; each entry of ``shape`` is a length or the allowed lengths."""
    array = read_array(path, "an array of prepared data", _REMEDY, mapped=True)
    allowed = [lengths if isinstance(lengths, tuple) else (lengths,) for lengths in shape]
    pairs = zip(array.shape, allowed, strict=False)
    fits = array.ndim == len(allowed) and all(length in lengths for length, lengths in pairs)
    if not fits or array.dtype != np.uint8:
        raise DDLError(
            f"{path}: {array.dtype} of shape {array.shape}, manifest.json says uint8 of {shape}; "
            f"{_REMEDY}"
        )
    return array


def _open_all(folder: Path, clips: dict, *shape) -> dict[str, np.ndarray]:
    """The arrays of clips by name; ``shape`` has the axes after the first, the frames."""
    return {
        name: _open_array(folder / f"{name}.npy", (facts["frames"], *shape))
        for name, facts in clips.items()
    }


def _check_binary(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    for name, values in arrays.items():
        if values.size and values.max() > 1:
            raise DDLError(f"{folder / name}.npy: expected 0 and 1 only; {_REMEDY}")
