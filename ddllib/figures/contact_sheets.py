"""Contact sheets: one frame of every clip, with its tracks or its abnormal pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ddllib.data import BOX, Prepared
from ddllib.errors import DDLError
from ddllib.figures.flow_colours import flow_window
from ddllib.io.files import writing
from ddllib.io.reading import read_arrays

_REMEDY = "write it by `python -m ddllib show`"


@dataclass(frozen=True)
class Panel:
    """One frame of a sheet.

    ``frame`` is C x H x W uint8; ``boxes`` n x 4, relative (x0, y0, x1, y1); ``tracks`` the n
    track numbers; ``mask`` H x W of 0 and 1, empty (0 x 0) where there is none.
    """

    title: str
    frame: np.ndarray
    boxes: np.ndarray
    tracks: np.ndarray
    mask: np.ndarray


def panels(data: Prepared, limit: int = 48, companion: str = "") -> list[Panel]:
    """One panel per clip, training clips first; at most ``limit`` clips, evenly spaced.

    The frame is the one with most abnormal pixels, else with most tracked objects, else the middle
    one. With the name of a ``companion`` (`data_prep.companions`) only training clips are shown,
    each with its entry: flow as colours, outlines as a mask, in-painted frames as they are. Raises
    ``DDLError`` where it was not made.
    """
    entries = data.companion(companion) if companion else {}
    clips = [("training", n) for n in data.training]
    clips += [("testing", n) for n in data.testing if not companion]
    indices = np.linspace(0, len(clips) - 1, min(limit, len(clips))).round().astype(int)
    chosen = [clips[k] for k in indices]
    return [_panel(data, split, name, entries.get(name)) for split, name in chosen]


def _panel(data: Prepared, split: str, name: str, entries: np.ndarray | None) -> Panel:
    frames = getattr(data, split)[name]
    tracks = data.tracks[(data.tracks["split"] == split) & (data.tracks["clip"] == name)]
    masks = data.masks.get(name) if split == "testing" else None
    index = len(frames) // 2
    if len(tracks):
        index = int(tracks.groupby("frame").size().idxmax())
    if masks is not None and masks.any():
        index = int(masks.sum(axis=(1, 2), dtype=np.int64).argmax())
    rows = tracks[tracks["frame"] == index]
    panel = Panel(
        f"{split} {name}, frame {index}",
        np.array(frames[index]),
        rows[BOX].to_numpy(float),
        rows["track"].to_numpy(int),
        np.zeros((0, 0), np.uint8) if masks is None else np.array(masks[index]),
    )
    return panel if entries is None else _with_entry(panel, entries, index)


def _with_entry(panel: Panel, entries: np.ndarray, index: int) -> Panel:
    """The panel with what a companion has for its frame."""
    entry = np.array(entries[index])
    if entry.ndim == 2:  # an outline
        return replace(panel, mask=entry)
    if entry.dtype == np.uint8:
        return replace(panel, frame=entry)
    fastest = np.percentile(np.hypot(*entries[:, :2].astype(np.float32).swapaxes(0, 1)), 99.9)
    colours = flow_window(entry[:, None], max(float(fastest), 1e-6))[:, 0]
    return replace(panel, frame=np.round(colours * 255).astype(np.uint8))


def save(path: Path | str, sheet: Sequence[Panel]) -> None:
    """Write a sheet as one .npz file, from which it can be drawn without the data."""
    fields = ("frame", "boxes", "tracks", "mask")
    arrays = {f"{k}-{name}": getattr(p, name) for k, p in enumerate(sheet) for name in fields}
    titles = np.array([panel.title for panel in sheet])
    with writing(path) as file:
        np.savez_compressed(file, titles=titles, **arrays)


def load(path: Path | str) -> list[Panel]:
    """A sheet that ``save`` wrote; ``DDLError`` where it is missing or damaged."""
    arrays = read_arrays(Path(path), "a contact sheet", _REMEDY)
    fields = ("frame", "boxes", "tracks", "mask")
    try:
        return [
            Panel(str(title), *(arrays[f"{k}-{name}"] for name in fields))
            for k, title in enumerate(arrays["titles"])
        ]
    except (KeyError, TypeError) as error:
        raise DDLError(f"{path}: not a contact sheet ({error}); {_REMEDY}") from None
