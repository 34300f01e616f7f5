"""Prepared data: memory-mapped clips, tracks, labels and masks, as ``data_prep`` leaves them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ddllib.errors import DDLError

TRACK_COLUMNS = [
    "split", "clip", "frame", "track", "x0", "y0", "x1", "y1", "confidence", "class",
]  # fmt: skip


@dataclass
class Prepared:
    """One prepared data set.

    ``training`` and ``testing`` map a clip's name to uint8 frames, N x C x H x W (C is 1 for grey
    footage, 3 for RGB); ``labels`` to N values, 1 for abnormal; ``masks`` to N x H x W of 0 and 1.
    ``tracks`` has the columns of ``TRACK_COLUMNS``, boxes relative to the frame in [0, 1].
    """

    folder: Path
    manifest: dict
    training: dict[str, np.ndarray]
    testing: dict[str, np.ndarray]
    tracks: pd.DataFrame
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    masks: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every frame, in pixels."""
        return self.manifest["height"], self.manifest["width"]

    @property
    def digest(self) -> str:
        """A checksum of everything a run is made from: all clips and the tracks table."""
        clips = json.dumps(self.manifest["clips"], sort_keys=True).encode()
        table = (self.folder / "tracks.csv").read_bytes()
        return hashlib.sha256(clips + table).hexdigest()[:16]

    @property
    def facts(self) -> dict:
        """What a record says of the data: source, detector, tracker and coverage."""
        return {
            key: self.manifest.get(key) for key in ("source", "detector", "tracker", "coverage")
        }


def load_prepared(folder: Path | str) -> Prepared:
    """Open the prepared data in ``folder`` without reading its frames into memory.

    Raises ``DDLError`` where the manifest, a clip or the tracks table is missing or damaged.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder / "manifest.json")
    clips = {
        split: {
            name: _open_clip(folder / split / f"{name}.npy", facts["frames"])
            for name, facts in sorted(manifest["clips"].get(split, {}).items())
        }
        for split in ("training", "testing")
    }
    tests = manifest["clips"].get("testing", {})
    return Prepared(
        folder,
        manifest,
        **clips,
        tracks=read_tracks(folder / "tracks.csv"),
        labels=_open_if_there(folder / "labels", tests),
        masks=_open_if_there(folder / "masks", tests),
    )


def read_tracks(path: Path) -> pd.DataFrame:
    """The tracks table; clip names stay text."""
    if not path.is_file():
        raise DDLError(f"{path}: not there; expected the tracks table; prepare the data again")
    tracks = pd.read_csv(path, dtype={"split": str, "clip": str}, keep_default_na=False)
    missing = [name for name in TRACK_COLUMNS if name not in tracks.columns]
    if missing:
        raise DDLError(
            f"{path}: column {missing[0]!r} is missing; expected {','.join(TRACK_COLUMNS)}; "
            "prepare the data again"
        )
    return tracks


def _read_manifest(path: Path) -> dict:
    if not path.is_file():
        raise DDLError(f"{path}: not there; expected prepared data; run `python -m data_prep`")
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise DDLError(f"{path}: not JSON ({error}); prepare the data again") from None


def _open_clip(path: Path, frames: int) -> np.ndarray:
    try:
        clip = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DDLError(f"{path}: cannot be read ({error}); prepare the data again") from None
    if len(clip) != frames:
        raise DDLError(
            f"{path}: {len(clip)} frames, manifest.json says {frames}; prepare the data again"
        )
    return clip


def _open_if_there(folder: Path, clips: dict) -> dict[str, np.ndarray]:
    if not folder.is_dir():
        return {}
    return {name: _open_clip(folder / f"{name}.npy", clips[name]["frames"]) for name in clips}
