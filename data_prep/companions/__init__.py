"""Arrays that stand beside the clips of prepared data: optical flow, outlines, in-painted frames.

    companions/<name>/<split>/<clip>.npy    one entry for each frame of the clip
    companions/<name>/<split>/<clip>.json   what it was made from, and its checksum

They depend on the prepared clips and tracks alone. Names:

    flow-tvl1, flow-dis             float16, N x 2 x H x W, see `ddllib.flow`
    silhouettes-background          uint8, N x H x W, 0/1, see `outlines`
    silhouettes-yolo                the same, by a network, see `segmentation`; needs the footage
    silhouettes-boxes               the same, the boxes filled
    strokes-<preset>                uint8, N x H x W, 0/1, see `strokes`
    inpainted-<in-painter>-<mask>   uint8, N x C x H x W; masks are those of silhouettes or strokes
"""

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from data_prep.companions import outlines, strokes
from data_prep.companions.inpainting import INPAINTERS
from data_prep.companions.segmentation import segmenter
from data_prep.footage.frames import read_frames
from data_prep.footage.layouts import Clip, Footage
from data_prep.preparing.clips import write_array
from data_prep.preparing.manifest import file_checksum
from data_prep.tracks.detectors.weights import find_local, weights_checksum
from ddllib.data import BOX, Prepared, companion_file, load_prepared
from ddllib.errors import DDLError
from ddllib.flow import FLOWS, clip_flow
from ddllib.io.files import write_json
from ddllib.io.reading import read_array

YOLO = "yolo"
VERSION = 1  # part of every key; another one makes all arrays anew
OUTLINES = {"background": outlines.background, "boxes": outlines.boxes, YOLO: outlines.background}


def make(
    folder: Path,
    name: str,
    split: str = "training",
    progress: bool = True,
    footage: Callable[[], Footage] | None = None,
) -> None:
    """Make the arrays of this name for all clips of a split, several at once.

    Those that are there and fit the prepared data are kept, so stopped work goes on where it was.
    `footage` gives what the data was prepared from; silhouettes-yolo needs it. Raises DDLError for
    an unknown name, and for what that kind needs and is not here.
    """
    data, mask = load_prepared(folder), mask_of(name)
    if mask:
        make(folder, mask, split, progress, footage)
    clips = [clip for clip in getattr(data, split) if not is_made(data, name, split, clip)]
    if not clips:
        return
    originals, kind = originals_for(name, split, footage), together(name)
    count = min(len(clips), cpu_count()) if kind else 1
    workers = Parallel(count, return_as="generator_unordered", prefer=kind)
    results = workers(
        delayed(write)(Path(folder), name, split, clip, originals.get(clip)) for clip in clips
    )
    for _ in tqdm(results, name, len(clips), leave=False, unit="clip", disable=not progress):
        pass


def originals_for(
    name: str, split: str, footage: Callable[[], Footage] | None
) -> Mapping[str, Clip]:
    """The clips of the footage by name, for a kind of array that needs them; else none.

    Raises DDLError where they are needed and not given.
    """
    if name != f"silhouettes-{YOLO}":
        return {}
    if footage is None:
        raise DDLError(f"{name}: needs the footage; give it, or use silhouettes: background")
    return footage().clips[split]


def together(name: str) -> str | None:
    """What works on several clips at once; see `inpainting.base.Inpainter`.

    OpenCV lets go of Python's lock (GIL), so threads do, which start at once.
    """
    if name.startswith("inpainted"):
        return INPAINTERS[inpainter_of(name)].together
    if name == f"silhouettes-{YOLO}":
        return None  # the network uses all cores itself
    return "processes" if name == "flow-tvl1" else "threads"


def inpainter_of(name: str) -> str:
    """The in-painter in an array's name; raises DDLError where there is none of that name."""
    rest = name.partition("-")[2]
    fitting = [known for known in INPAINTERS if rest.startswith(f"{known}-")]
    if not fitting:
        raise DDLError(f"{name}: no in-painter of that name; expected {', '.join(INPAINTERS)}")
    return max(fitting, key=len)


def mask_of(name: str) -> str | None:
    """The companion that an in-painted one takes its mask from; None for other kinds.

    Raises DDLError for a name that is none.
    """
    kind, _, choice = name.partition("-")
    known = {"flow": FLOWS, "silhouettes": OUTLINES, "strokes": strokes.PRESETS}
    if kind == "inpainted":
        outline = choice.removeprefix(f"{inpainter_of(name)}-")
        mask = outline if outline.startswith("strokes-") else f"silhouettes-{outline}"
        mask_of(mask)
        return mask
    if choice not in known.get(kind, ()):
        kinds = ", ".join([*known, "inpainted"])
        raise DDLError(
            f"{name}: no array beside clips has this name; expected a kind ({kinds}) and a choice, "
            "such as flow-tvl1"
        )
    return None


def is_made(data: Prepared, name: str, split: str, clip: str) -> bool:
    """Whether the array of a clip is there, whole, and made from the present clip and tracks."""
    path = companion_file(data.folder, name, split, clip)
    try:
        facts = json.loads(path.with_suffix(".json").read_text("utf-8"))
        fits = facts["key"] == key(data, name, split, clip)
        fits &= network_of(name) in (None, facts.get("network"))
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
    if name.startswith("inpainted"):
        digest.update(INPAINTERS[inpainter_of(name)]().identity().encode())
    return digest.hexdigest()


def network_of(name: str) -> str | None:
    """The checksum of the weights that draw the outlines; None if there are none, here or at all.

    Without them arrays that are there are taken as they are.
    """
    weights = find_local("yolo-seg") if name.endswith(f"-{YOLO}") else None
    return weights and weights_checksum(weights)


def rows_of(tracks: pd.DataFrame, split: str, clip: str) -> pd.DataFrame:
    return tracks[(tracks["split"] == split) & (tracks["clip"] == clip)]


def write(folder: Path, name: str, split: str, clip: str, original: Clip | None = None) -> None:
    """Make the array of one clip; `original` is the clip of the footage where it is needed."""
    data = load_prepared(folder)
    frames, path = getattr(data, split)[clip], companion_file(folder, name, split, clip)
    entries, shape, kind = entries_of(data, name, split, clip, frames)
    if original:
        entries = segmenter().outlines(
            read_frames(original, colour=True), rows_of(data.tracks, split, clip), entries
        )
    write_array(path, entries, shape, kind)
    facts = {"key": key(data, name, split, clip), "network": network_of(name)}
    facts["sha256"] = file_checksum(path)
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
    inpainter, pairs = INPAINTERS[inpainter_of(name)](), zip(frames, masks, strict=True)
    entries = (
        inpainter.fill(frame, mask, zlib.crc32(f"{split}/{clip}/{t}".encode()))
        for t, (frame, mask) in enumerate(pairs)
    )
    return entries, frames.shape[1:], "|u1"
