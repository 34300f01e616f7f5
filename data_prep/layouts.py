"""Where the clips, masks and labels of a footage folder are.

A layout is recognised by its folders, never guessed::

    common        training/frames/<clip>/<frame>.jpg, training/<clip>.avi or
                  training/videos/<clip>.avi; testing/ likewise
    ShanghaiTech  the same with testing/test_frame_mask/ or testing/test_pixel_mask/
    UCSD          Train/TrainNNN/<frame>.tif, Test/TestNNN/<frame>.tif
    Avenue        training_videos/NN.avi, testing_videos/NN.avi
    plain         videos, or folders of frames, with nothing around them:
                  training clips, but for those that labels.csv names

Masks and labels are looked for in the same places in every layout (`find_masks`, `find_labels`).
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from data_prep.labels import clips_named
from ddllib.errors import DDLError

SPLITS = ("training", "testing")
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
VIDEOS = frozenset(
    {".avi", ".mp4", ".m4v", ".mov", ".mkv", ".mpg", ".mpeg", ".webm", ".wmv"}
    | {".ts", ".mts", ".m2ts", ".flv", ".3gp", ".ogv", ".vob", ".asf"}
    | {".264", ".h264", ".265", ".h265", ".hevc", ".mjpeg", ".mjpg", ".m2v", ".divx", ".f4v"}
)
# The folder of each split by layout; a root that holds one of them has that layout.
FOLDERS = {
    "common": {"training": "training", "testing": "testing"},
    "UCSD": {"training": "Train", "testing": "Test"},
    "Avenue": {"training": "training_videos", "testing": "testing_videos"},
}
PLAIN = "plain"
SPELLINGS = {
    "train": "training",
    "training": "training",
    "test": "testing",
    "testing": "testing",
}
CLOCK = re.compile(r"(?:19|20)[0-9]{6}[-_T ]?[0-9]{6}$")  # a name that ends in date and time
UCSD_CLIP = re.compile(r"(?:Train|Test)([0-9]+)")
AVENUE_MASKS = Path("ground_truth_demo", "testing_label_mask")


@dataclass(frozen=True)
class Clip:
    """One clip: a folder of frames (`frames` in order) or a video (`frames` empty).

    Of a video, `rate` frames per second are read, all where it is None.
    """

    split: str
    name: str
    path: Path
    frames: tuple[Path, ...] = ()
    rate: float | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of the clip."""
        return self.frames or (self.path,)


@dataclass(frozen=True)
class Footage:
    """All that a footage folder holds.

    `clips` by split and name; `masks` by test clip: images in the order of the frames, or one
    .npy or .mat file; `labels` by labelling, the name of the file or folder that holds it.
    """

    root: Path
    layout: str
    clips: Mapping[str, Mapping[str, Clip]]
    masks: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    labels: Mapping[str, Path] = field(default_factory=dict)

    def at_rate(self, rate: float | None) -> "Footage":
        """The same footage with so many frames read per second of video; None reads all."""
        clips = {
            split: {name: replace(clip, rate=rate) for name, clip in clips.items()}
            for split, clips in self.clips.items()
        }
        return replace(self, clips=clips)

    def only(self, chosen: Mapping[str, Iterable[str]]) -> "Footage":
        """The same footage without the clips that `chosen` does not name for their split."""
        clips = {
            split: {name: clip for name, clip in self.clips[split].items() if name in names}
            for split, names in chosen.items()
        }
        masks = {name: paths for name, paths in self.masks.items() if name in chosen["testing"]}
        return replace(self, clips=clips, masks=masks)


def scene_of(clip: str) -> str:
    """The scene of a ShanghaiTech clip, the part of its name before "_": "01_0014" is of "01"."""
    return clip.partition("_")[0]


def natural_key(name: str) -> tuple:
    """Sort key under which "frame2" comes before "frame10"; ties fall back to the text."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p], name


def find_footage(root: str | Path) -> Footage:
    """Find clips, masks and labels under `root`; nothing is decoded yet.

    A folder around the data set, as archives bring it, is stepped into; one video alone is a
    training clip. Raises DDLError if no
    layout or more than one is there, a clip is empty or has a gap in its frame numbers, or masks
    do not fit the frames.
    """
    given = Path(root)
    if is_video(given):
        return one_video(given)
    root, layout = find_layout(given)
    base = {split: root / folder for split, folder in FOLDERS.get(layout, {}).items()}
    if layout == PLAIN:
        clips = plain_clips(root)
    else:
        clips = {split: find_clips(base[split], split) for split in SPLITS}
    testing = base.get("testing", root)
    if layout == "common" and any(testing.glob("test_*_mask")):
        layout = "ShanghaiTech"
    masks = find_masks(root, layout, testing, clips["testing"])
    return Footage(root, layout, clips, masks, find_labels(given, root, testing))


def split_folder(root: str | Path, split: str) -> Path:
    """The folder of a split's clips under `root`; where nothing divides them, that of all.

    Raises DDLError as `find_footage` does for a folder of no layout, or of several.
    """
    if is_video(Path(root)):
        return Path(root)
    root, layout = find_layout(Path(root))
    return root if layout == PLAIN else root / FOLDERS[layout][split]


def one_video(path: Path) -> Footage:
    """A single video is a training clip."""
    clip = open_clip(path, "training")
    return Footage(path.parent, PLAIN, {"training": {clip.name: clip}, "testing": {}})


def find_layout(root: Path) -> tuple[Path, str]:
    """The folder that holds the data set, `root` or the only one within, and its layout.

    Raises DDLError for what is no folder, and for a folder of several data sets or mixed layouts.
    """
    if root.is_file():
        raise DDLError(
            f"{root}: its ending is of no video; expected one of {', '.join(sorted(VIDEOS))}; "
            "rename or convert it"
        )
    if not root.is_dir():
        raise DDLError(f"{root}: no such folder; give the folder that holds the footage")
    found = layouts_at(root)
    inside = [] if found or holds_media(root) else data_sets_in(root)
    if len(inside) > 1:
        names = ", ".join(str(p.relative_to(root)) for p in inside)
        raise DDLError(f"{root}: holds more than one data set ({names}); give one of these folders")
    if inside:
        root, found = inside[0], layouts_at(inside[0])
    if len(found) > 1:
        raise DDLError(
            f"{root}: mixes the layouts {' and '.join(found)}; expected one, move the other away"
        )
    if not found:
        check_spelling(root)
    return root, found[0] if found else PLAIN


def below(root: Path) -> list[Path]:
    """The folders in which a data set may lie: not prepared data, nor Avenue's ground truth."""
    return [
        path
        for path in sorted(visible(root))
        if path.name != AVENUE_MASKS.parts[0] and not (path / "tracks.csv").is_file()
    ]


def data_sets_in(root: Path, deep: int = 2) -> list[Path]:
    """Folders of a layout in `root`; archives bring one folder around them, or two."""
    inside = [p for p in below(root) if p.is_dir()]
    found = [p for p in inside if layouts_at(p)]
    if found or deep == 1:
        return found
    return [q for p in inside if not holds_media(p) for q in data_sets_in(p, deep - 1)]


def holds_media(root: Path) -> bool:
    return any(is_video(path) or is_frame_folder(path, root) for path in visible(root))


def check_spelling(root: Path) -> None:
    """A folder called train or Testing is meant as a split, not as a clip."""
    for path in visible(root):
        if path.is_dir() and path.name.lower() in SPELLINGS:
            meant = SPELLINGS[path.name.lower()]
            raise DDLError(f"{path}: not the name of a split here; rename it to {meant}")


def layouts_at(root: Path) -> list[str]:
    """The layouts whose folders are there, spelled as the layout spells them."""
    present = {p.name for p in visible(root) if p.is_dir()}
    return [name for name, folders in FOLDERS.items() if present & set(folders.values())]


def find_clips(base: Path, split: str) -> dict[str, Clip]:
    """Clips of one split in natural order of their names; an absent folder gives none.

    Looked for in the folder itself, in `frames` and in `videos` below it.
    """
    places = (base, base / "frames", base / "videos")
    folders = [p for place in places for p in visible(place) if is_frame_folder(p, base)]
    videos = [p for place in places for p in visible(place) if is_video(p)]
    if folders and videos:
        raise DDLError(
            f"{base}: holds both folders of frames and videos ({videos[0].name}); "
            "expected one of the two, move the other away"
        )
    check_depth(base)
    clips: dict[str, Clip] = {}
    for path in sorted(folders or videos, key=lambda p: natural_key(p.name)):
        clip = open_clip(path, split)
        if clip.name in clips:
            raise DDLError(
                f"{path}: a second clip named {clip.name} ({clips[clip.name].path.name} is the "
                "first); rename one of them"
            )
        clips[clip.name] = clip
    return clips


def check_depth(base: Path) -> None:
    """Videos in a folder of their own would be overlooked; so would masks that lie loose."""
    for folder in visible(base):
        if folder.is_dir() and folder.name != "videos" and any(map(is_video, visible(folder))):
            raise DDLError(f"{folder}: videos too deep in folders; move them into {base}")
        if folder.name == "masks" and any(p.suffix.lower() in IMAGES for p in visible(folder)):
            raise DDLError(f"{folder}: loose masks; expected masks/<clip>/<frame>.png")


def is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEOS and path.is_file()


def is_frame_folder(path: Path, base: Path) -> bool:
    """Whether a folder is a clip: any below `frames`, but beside it only one that holds images."""
    if not path.is_dir() or path.name.endswith("_gt") or path.name == "masks":
        return False
    if path.parent.name == "frames":
        return True
    return path.parent == base and any(p.suffix.lower() in IMAGES for p in visible(path))


def open_clip(path: Path, split: str) -> Clip:
    """The clip of a folder or video. UCSD's TrainNNN and TestNNN get the common name, NN."""
    if not path.is_dir():
        return Clip(split, path.stem, path)
    frames = find_images(path)
    check_numbering(frames)
    official = UCSD_CLIP.fullmatch(path.name)
    return Clip(split, f"{int(official[1]):02d}" if official else path.name, path, frames)


def plain_clips(root: Path) -> dict[str, dict[str, Clip]]:
    """Clips of a folder without splits; those that its labels.csv names are for testing."""
    clips = find_clips(root, "training")
    if not clips and any(p.suffix.lower() in IMAGES for p in visible(root)):
        clips = {root.resolve().name: open_clip(root, "training")}
    labels = table_at(root)
    labelled = clips_named(labels) if labels else set()
    for name in sorted(labelled - clips.keys()) if clips else ():
        meant = f", without its ending: {Path(name).stem}" if Path(name).stem in clips else ""
        raise DDLError(
            f"{labels}: no clip {name!r} there; expected one of {', '.join(clips) or 'none'}{meant}"
        )
    return {
        "training": {n: c for n, c in clips.items() if n not in labelled},
        "testing": {n: replace(c, split="testing") for n, c in clips.items() if n in labelled},
    }


def _leads_somewhere(entry: os.DirEntry) -> bool:
    """To a file or a folder; a link that leads to itself is an error of its own."""
    try:
        return entry.is_file() or entry.is_dir()
    except OSError:
        return False


def visible(folder: Path) -> list[Path]:
    """Entries of a folder without hidden ones (`._001.tif` of macOS is no frame).

    Raises DDLError for a name that cannot be shown, and for what is neither file nor folder.
    """
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if not entry.name.startswith(".")]
    for entry in found:
        if any("\udc80" <= letter <= "\udcff" for letter in entry.name):
            raise DDLError(f"{folder}: the name {ascii(entry.name)} is not UTF-8; rename it")
        if not entry.name.isprintable():
            raise DDLError(f"{folder}: the name {entry.name!r} has control characters; rename it")
        if not _leads_somewhere(entry):  # reading a pipe would never end
            raise DDLError(f"{entry.path}: a broken link, a pipe or a device; remove it")
    return [folder / entry.name for entry in found]


def find_images(folder: Path) -> tuple[Path, ...]:
    """Images of a folder in natural order of their names; none is an error."""
    images = [p for p in visible(folder) if p.suffix.lower() in IMAGES]
    if not images:
        raise DDLError(
            f"{folder}: no images in it; expected frames such as 000.jpg, or remove "
            "the empty folder"
        )
    return tuple(sorted(images, key=lambda p: natural_key(p.name)))


def frame_number(path: Path) -> str:
    """The number at the end of a frame's name without leading zeros; the name where none is."""
    digits = re.search(r"([0-9]+)$", path.stem)
    return str(int(digits[1])) if digits else path.stem


def check_numbering(frames: Sequence[Path]) -> None:
    """Frames counted one by one must have no hole: a lost file would shift every label."""
    numbers = [frame_number(p) for p in frames]
    odd = [p for p, number in zip(frames, numbers, strict=True) if not number.isdecimal()]
    if len(odd) == len(frames):
        return
    if odd:
        raise DDLError(f"{odd[0]}: no number at the end of its name, as others have; remove it")
    steps = np.diff([int(n) for n in numbers])
    if len(steps) and steps.min() == 0:
        twice = frames[int(np.argmin(steps)) + 1]
        raise DDLError(f"{twice}: a second frame of the same number; remove one of them")
    # A smallest step above 1 is a sampled clip or a time stamp, not a count.
    if all(CLOCK.search(p.stem) for p in frames):
        return
    if len(steps) and steps.min() == 1 and steps.max() > 1:
        before = frames[int(np.argmax(steps > 1))]
        raise DDLError(
            f"{before.parent}: frame missing after {before.name}; expected numbers without a "
            "gap, restore the frame or number the frames anew"
        )


def find_masks(
    root: Path, layout: str, testing: Path, clips: Mapping[str, Clip]
) -> dict[str, tuple[Path, ...]]:
    """Pixel masks by test clip, also of clips that are not there.

    ::

        testing/masks/<clip>/<frame>.png    one image per frame, with its name
        testing/test_pixel_mask/<clip>.npy  N x H x W
        ground_truth_demo/testing_label_mask/N_label.mat
                                            beside the videos or one level up
        Test/TestNNN_gt/001.bmp or frame001.bmp
    """
    masks: dict[str, tuple[Path, ...]] = {}
    for folder in visible(testing / "masks"):
        if folder.is_dir():
            masks[folder.name] = find_images(folder)
    for folder in visible(testing):
        if folder.name.endswith("_gt") and (official := UCSD_CLIP.fullmatch(folder.name[:-3])):
            masks[f"{int(official[1]):02d}"] = find_images(folder)
    for file in visible(testing / "test_pixel_mask"):
        if file.suffix == ".npy":
            masks[file.stem] = (file,)
    for place in (root, root.parent) if layout == "Avenue" else (root,):
        for file in visible(place / AVENUE_MASKS):
            if number := re.fullmatch(r"([0-9]+)_label", file.stem):
                masks.setdefault(f"{int(number[1]):02d}", (file,))
    for name, clip in clips.items():
        if clip.frames and name in masks:
            check_mask_names(masks[name], clip)
    return dict(sorted(masks.items(), key=lambda item: natural_key(item[0])))


def masks_place(masks: Sequence[Path]) -> Path:
    """What to name in a message about a clip's masks: their folder, or the one file."""
    return masks[0].parent if masks[0].suffix.lower() in IMAGES else masks[0]


def check_mask_names(masks: Sequence[Path], clip: Clip) -> None:
    """Each frame of a folder clip has a mask of its own number and the other way round."""
    if masks[0].suffix.lower() not in IMAGES:
        return
    frames, marked = map(frame_number, clip.frames), set(map(frame_number, masks))
    odd = sorted(marked ^ set(frames), key=natural_key)
    if len(masks) == len(clip.frames) and not odd:
        return
    detail = f"; first without a partner: {odd[0]}" if odd else ""
    raise DDLError(
        f"{masks[0].parent}: {len(masks)} masks for {len(clip.frames)} frames{detail}; "
        "expected one mask per frame with the frame's number"
    )


def table_at(place: Path) -> Path | None:
    """The labels.csv of a folder, None where it has none; DDLError for a folder of that name."""
    table = place / "labels.csv"
    if table.is_dir():
        raise DDLError(f"{table}: a folder; expected a table of labels; rename it")
    return table if table.is_file() else None


def find_labels(given: Path, root: Path, testing: Path) -> dict[str, Path]:
    """Every labelling of the test clips, by the name of the file or folder that holds it.

    Files lie in the folder that was given, or in the data set's own where that is another.
    """
    places = dict.fromkeys((given, root))
    found = [p for place in places for p in visible(place) if p.suffix.lower() in (".mat", ".npy")]
    found += [p for p in visible(testing) if p.suffix == ".m"]
    found += filter(None, map(table_at, dict.fromkeys((*places, testing))))
    found += [p for p in (testing / "test_frame_mask",) if p.is_dir()]
    labels: dict[str, Path] = {}
    for path in sorted(found, key=lambda p: natural_key(p.name)):
        if path.name in labels:
            raise DDLError(f"{path}: labels too, like {labels[path.name]}; remove one of them")
        labels[path.name] = path
    return labels
