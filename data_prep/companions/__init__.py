"""Arrays that stand beside the clips of prepared data: optical flow, outlines, in-painted frames.

    companions/<name>/<split>/<clip>.npy    one entry for each frame of the clip
    companions/<name>/<split>/<clip>.json   what it was made from, and its checksum

They depend on the prepared clips and tracks alone. Names:

    flow-tvl1, flow-dis             float16, N x 2 x H x W, see `ddllib.flow`
    silhouettes-background          uint8, N x H x W, 0/1, see `outlines`
    silhouettes-boxes               the same, the boxes filled
    strokes-<preset>                uint8, N x H x W, 0/1, see `strokes`
    inpainted-<in-painter>-<mask>   uint8, N x C x H x W; masks are those of silhouettes or strokes
"""

import hashlib
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from data_prep.companions import inpainting, outlines, strokes
from data_prep.preparing.clips import write_array
from data_prep.preparing.manifest import file_checksum
from ddllib.data import BOX, Prepared, companion_file, load_prepared
from ddllib.errors import DDLError
from ddllib.flow import FLOWS, clip_flow
from ddllib.io.files import write_json
from ddllib.io.reading import read_array

VERSION = 1  # part of every key; another one makes all arrays anew
OUTLINES = {"background": outlines.background, "boxes": outlines.boxes}


def make(folder: Path, name: str, split: str = "training", progress: bool = True) -> None:
    """Make the arrays of this name for all clips of a split, several at once.

    Those that are there and fit the prepared data are kept, so stopped work goes on where it was.
    Raises DDLError for an unknown name.
    """
    data, mask = load_prepared(folder), mask_of(name)
    if mask:
        make(folder, mask, split, progress)
    clips = [clip for clip in getattr(data, split) if not is_made(data, name, split, clip)]
    if not clips:
        return
    # OpenCV lets go of Python's lock (GIL), so threads do, which start at once.
    kind = "processes" if name == "flow-tvl1" else "threads"
    count = min(len(clips), cpu_count())
    workers = Parallel(count, return_as="generator_unordered", prefer=kind)
    done = workers(delayed(write)(Path(folder), name, split, clip) for clip in clips)
    for _ in tqdm(done, name, len(clips), leave=False, unit="clip", disable=not progress):
        pass


def mask_of(name: str) -> str | None:
    """The companion that an in-painted one takes its mask from; None for other kinds.

    Raises DDLError for a name that is none.
    """
    kind, _, rest = name.partition("-")
    known = {
        "flow": FLOWS,
        "silhouettes": OUTLINES,
        "strokes": strokes.PRESETS,
        "inpainted": inpainting.INPAINTERS,
    }
    choice, _, outline = rest.partition("-") if kind == "inpainted" else (rest, "", "")
    if choice not in known.get(kind, ()):
        kinds = ", ".join(known)
        raise DDLError(f"{name}: no array beside clips; expected such as flow-tvl1, one of {kinds}")
    if kind != "inpainted":
        return None
    return outline if outline.startswith("strokes-") else f"silhouettes-{outline}"


def is_made(data: Prepared, name: str, split: str, clip: str) -> bool:
    """Whether the array of a clip is there, whole, and made from the present clip and tracks."""
    path = companion_file(data.folder, name, split, clip)
    try:
        facts = json.loads(path.with_suffix(".json").read_text("utf-8"))
        fits = facts["key"] == key(data, name, split, clip)
        return fits and facts["sha256"] == file_checksum(path)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def key(data: Prepared, name: str, split: str, clip: str) -> str:
    """A checksum of all that the array depends on."""
    content = json.dumps(data.content(split)[clip], sort_keys=True)
    digest = hashlib.sha256(f"{VERSION} {name} {content}".encode())
    if not name.startswith(("flow", "strokes")):
        rows = rows_of(data.tracks, split, clip)
        digest.update(rows[["frame", *BOX]].to_numpy(np.float64).tobytes())
    return digest.hexdigest()


def rows_of(tracks: pd.DataFrame, split: str, clip: str) -> pd.DataFrame:
    return tracks[(tracks["split"] == split) & (tracks["clip"] == clip)]


def write(folder: Path, name: str, split: str, clip: str) -> None:
    """Make the array of one clip."""
    data = load_prepared(folder)
    frames, path = getattr(data, split)[clip], companion_file(folder, name, split, clip)
    entries, shape, kind = entries_of(data, name, split, clip, frames)
    write_array(path, entries, shape, kind)
    facts = {"key": key(data, name, split, clip), "sha256": file_checksum(path)}
    write_json(path.with_suffix(".json"), facts)  # last, as it says that the array is whole


def entries_of(
    data: Prepared, name: str, split: str, clip: str, frames: np.ndarray
) -> tuple[Iterator[np.ndarray], Sequence[int], str]:
    """The entries of the array for each frame, the shape of one, and numpy's name of its type."""
    (kind, _, choice), size = name.partition("-"), frames.shape[2:]
    if kind == "flow":
        return clip_flow(frames, choice), (2, *size), "<f2"
    if kind == "strokes":
        seed = zlib.crc32(f"{split}/{clip}".encode())
        return strokes.masks(len(frames), size, choice, seed), size, "|u1"
    if kind == "silhouettes":
        return OUTLINES[choice](frames, rows_of(data.tracks, split, clip)), size, "|u1"
    place = companion_file(data.folder, mask_of(name), split, clip)
    masks = read_array(place, "an array beside a clip", "prepare the data again", mapped=True)
    paint = inpainting.INPAINTERS[choice.partition("-")[0]]
    pairs = zip(frames, masks, strict=True)
    return (paint(frame, mask) for frame, mask in pairs), frames.shape[1:], "|u1"
