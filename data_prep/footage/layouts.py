"""Find the clips, masks and labels of a footage folder.

The layout is recognised by the names of folders, never guessed::

    common        training/frames/<clip>/<frame>.jpg, training/<clip>.avi or
                  training/videos/<clip>.avi; testing/ likewise
    ShanghaiTech  the same with testing/test_frame_mask/ or testing/test_pixel_mask/
    UCSD          Train/TrainNNN/<frame>.tif, Test/TestNNN/<frame>.tif
    Avenue        training_videos/NN.avi, testing_videos/NN.avi
    UBnormal      SceneN/<video>.mp4 with lists of the videos of each split (`ubnormal`)
    plain         videos, or folders of frames, without folders of splits:
                  training clips, except those that labels.csv names

Clips may be nested deeper, as video recorders keep them (`trees`): <date>/<hour>/00.mp4 is then
the clip <date>_<hour>_00. A TIFF file of several pages is a clip, too. The places of masks and
labels are the same in every layout (`ground_truth`).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from data_prep.footage.folders import (
    FOLDERS,
    IMAGES,
    TRUTH,
    VIDEOS,
    entries,
    has_media,
    is_system,
    is_video,
    layouts_by_name,
    look_through,
    product_at,
    visible,
)
from data_prep.footage.ground_truth import (
    AVENUE_MASKS,
    find_labels,
    find_masks,
    masks_place,
    table_at,
)
from data_prep.footage.labels import clips_named
from data_prep.footage.naming import natural_key, plain_name
from data_prep.footage.trees import (
    Clip,
    clips_of,
    find_clips,
    is_stack,
    loose_images,
    open_clip,
)
from data_prep.footage.ubnormal import LABELLING, LAYOUT, is_ubnormal, ubnormal_clips
from ddllib.errors import DDLError

__all__ = [
    "FOLDERS", "IMAGES", "PLAIN", "SPLITS", "VIDEOS", "Clip", "Footage", "find_clips",
    "find_footage", "find_layout", "masks_place", "natural_key", "open_clip", "scene_of",
    "split_folder", "visible",
]  # fmt: skip

SPLITS = ("training", "testing")
PLAIN = "plain"
SPELLINGS = {
    "train": "training",
    "training": "training",
    "test": "testing",
    "testing": "testing",
}
MAX_NAMED = 8  # clips that a message names


@dataclass(frozen=True)
class Footage:
    """The contents of a footage folder.

    `clips` by split and name; `masks` by test clip: images in the order of the frames, or one
    .npy or .mat file; `labels` by labelling, the name of the file or folder that holds it; `notes`
    name the files and folders that were passed over.
    """

    root: Path
    layout: str
    clips: Mapping[str, Mapping[str, Clip]]
    masks: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    labels: Mapping[str, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def all_clips(self) -> list[Clip]:
        """Every clip, those of training first."""
        return [clip for split in SPLITS for clip in self.clips[split].values()]

    def at_rate(self, rate: float | None) -> "Footage":
        """The same footage with so many frames read per second of video; None reads all."""
        return self._with(rate=rate)

    def at_levels(self, levels: tuple[int, int] | None) -> "Footage":
        """The same footage with frames of 16 bits scaled by `levels` (`levels.levels_of`)."""
        return self._with(levels=levels)

    def _with(self, **facts) -> "Footage":
        clips = {
            split: {name: replace(clip, **facts) for name, clip in clips.items()}
            for split, clips in self.clips.items()
        }
        return replace(self, clips=clips)

    def only(self, chosen: Mapping[str, Iterable[str]]) -> "Footage":
        """The same footage with only the clips that `chosen` names, by split."""
        clips = {
            split: {name: clip for name, clip in self.clips[split].items() if name in names}
            for split, names in chosen.items()
        }
        masks = {name: paths for name, paths in self.masks.items() if name in chosen["testing"]}
        return replace(self, clips=clips, masks=masks)


def find_footage(root: str | Path) -> Footage:
    """Find clips, masks and labels under `root`; nothing is decoded yet.

    If `root` is a folder around the data set, as from an archive, the data set inside is used; a
    single video, or a single file of several pictures, is a training clip. Raises DDLError if there
    is no layout or more than one, a clip is empty or has a gap in its frame numbers, or masks do
    not match the frames.
    """
    place = Path(root)
    if is_one_clip(place):
        return one_clip(place)
    root, layout = find_layout(place)
    if product := product_at(root, sure=True):
        raise DDLError(f"{root}: {product}, no footage; expected footage; give the folder of that")
    base = {split: root / folder for split, folder in FOLDERS.get(layout, {}).items()}
    if layout == PLAIN:
        clips, notes = plain_clips(root)
    elif layout == LAYOUT:
        clips, notes = ubnormal_clips(root)
        return Footage(root, layout, clips, labels={LABELLING: root}, notes=tuple(notes))
    else:
        clips, notes = split_clips(base)
        notes += beside(root, [path.name for path in base.values()])
    if root != place:
        notes += beside(place, root.relative_to(place).parts[:1])
    testing = base.get("testing", root)
    if layout == "common" and any(testing.glob("test_*_mask")):
        layout = "ShanghaiTech"
    masks = find_masks(root, layout, testing, clips["testing"])
    return Footage(root, layout, clips, masks, find_labels(place, root, testing), tuple(notes))


def split_folder(root: str | Path, split: str) -> Path:
    """The folder of a split's clips under `root`; in a layout without such folders `root`.

    Raises DDLError as `find_footage` does for a folder of no layout, or of several.
    """
    if is_one_clip(Path(root)):
        return Path(root)
    root, layout = find_layout(Path(root))
    return root / FOLDERS[layout][split] if layout in FOLDERS else root


def is_one_clip(path: Path) -> bool:
    return is_video(path) or is_stack(path)


def one_clip(path: Path) -> Footage:
    """Footage of a single video, a training clip."""
    clip = open_clip(path, "training")
    return Footage(path.parent, PLAIN, {"training": {clip.name: clip}, "testing": {}})


def find_layout(root: Path) -> tuple[Path, str]:
    """The folder that holds the data set, `root` or the only one inside it, and its layout.

    Raises DDLError for a path that is no folder, and for several data sets or mixed layouts.
    """
    if root.is_file():
        raise DDLError(
            f"{root}: its ending is of no video; expected one of {', '.join(sorted(VIDEOS))}; "
            "rename or convert it"
        )
    if not root.is_dir():
        raise DDLError(f"{root}: no such folder; give the folder that holds the footage")
    layouts = layouts_at(root)
    inside = [] if layouts or holds_media(root) else data_sets_in(root)
    if len(inside) > 1:
        names = ", ".join(str(p.relative_to(root)) for p in inside)
        raise DDLError(f"{root}: holds more than one data set ({names}); give one of these folders")
    if inside:
        root, layouts = inside[0], layouts_at(inside[0])
    if len(layouts) > 1:
        raise DDLError(
            f"{root}: mixes the layouts {' and '.join(layouts)}; expected one; give each a folder "
            "of its own"
        )
    if not layouts:
        check_spelling(root)
    return root, layouts[0] if layouts else PLAIN


def layouts_at(root: Path) -> list[str]:
    """The layouts that a folder has, by the names of what it holds."""
    return layouts_by_name(root) + [LAYOUT] * is_ubnormal(root)


def below(root: Path) -> list[Path]:
    """The entries that may hold a data set, without prepared data and Avenue's ground truth."""
    return [
        path
        for path in sorted(visible(root))
        if path.name != AVENUE_MASKS.parts[0] and not (path / "tracks.csv").is_file()
    ]


def data_sets_in(root: Path, deep: int = 2) -> list[Path]:
    """Folders with a layout in `root` or one level deeper, as archives add one or two folders."""
    inside = [p for p in below(root) if p.is_dir()]
    data_sets = [p for p in inside if layouts_at(p)]
    if data_sets or deep == 1:
        return data_sets
    return [q for p in inside if not holds_media(p) for q in data_sets_in(p, deep - 1)]


def holds_media(root: Path) -> bool:
    """Whether a folder holds videos or folders of frames; this project's products do not count."""
    return any(is_video(path) or is_frame_folder(path, root) for path in visible(root))


def is_frame_folder(path: Path, base: Path) -> bool:
    """Whether a folder is a clip: any folder in `frames`; in `base` only one that holds images."""
    if not path.is_dir() or path.name.endswith("_gt") or path.name == "masks":
        return False
    if path.parent.name == "frames":
        return True
    images = path.parent == base and any(p.suffix.lower() in IMAGES for p in visible(path))
    return images and not product_at(path)


def check_spelling(root: Path) -> None:
    """Raise DDLError for a folder called train or Testing: it is a misspelt split, not a clip."""
    for path in visible(root):
        if path.is_dir() and path.name.lower() in SPELLINGS:
            correct = SPELLINGS[path.name.lower()]
            raise DDLError(f"{path}: not the name of a split here; rename it to {correct}")


def split_clips(base: Mapping[str, Path]) -> tuple[dict[str, dict[str, Clip]], list[str]]:
    """Clips of each split's folder, and notes of what is passed over there."""
    clips, notes = {}, []
    for split, folder in base.items():
        tree = look_through(folder)
        clips[split] = clips_of(tree, split)
        notes += [*tree.notes, *loose_images(tree)]
    return clips, notes


def plain_clips(root: Path) -> tuple[dict[str, dict[str, Clip]], list[str]]:
    """Clips of a folder without splits, and notes; clips that labels.csv names are test clips."""
    tree = look_through(root)
    clips = clips_of(tree, "training")
    if not clips and tree.folders[0].images:
        clips = {plain_name(root.resolve().name): open_clip(root, "training")}
    else:
        tree.notes += loose_images(tree)
    labels = table_at(root)
    labelled = {plain_name(name) for name in clips_named(labels)} if labels else set()
    for name in sorted(labelled - clips.keys()) if clips else ():
        hint = f", without its ending: {Path(name).stem}" if Path(name).stem in clips else ""
        more = ", ..." * (len(clips) > MAX_NAMED)
        raise DDLError(
            f"{labels}: no clip {name!r} there; expected one of "
            f"{', '.join([*clips][:MAX_NAMED])}{more}{hint}"
        )
    return {
        "training": {n: c for n, c in clips.items() if n not in labelled},
        "testing": {n: replace(c, split="testing") for n, c in clips.items() if n in labelled},
    }, tree.notes


def beside(place: Path, taken: Collection[str]) -> Iterator[str]:
    """A note for each video and each folder of footage beside the names in `taken`."""
    for entry in entries(place):
        path = entry.path
        if path.name in taken or TRUTH.fullmatch(path.name):
            continue
        if not entry.is_folder and entry.ending in VIDEOS:
            yield f"passed over {path}: beside {', '.join(taken)}; give it by itself"
        elif entry.is_folder and (reason := reason_beside(path, taken)):
            yield f"passed over {path}: {reason}"


def reason_beside(path: Path, taken: Collection[str]) -> str | None:
    """The reason for a note about a folder that is passed over; None if it holds no footage."""
    if is_system(path):
        return "a folder of the system, no footage"
    try:
        if product := product_at(path):
            return f"{product}, no footage"
        return f"beside {', '.join(taken)}; give it by itself" if has_media(path) else None
    except DDLError as error:  # no reason to fail: the folder is not used
        return f"beside {', '.join(taken)} ({error})"


def scene_of(clip: str) -> str:
    """The scene of a ShanghaiTech clip, the part of its name before "_": "01_0014" is of "01".

    For a clip in nested folders it is the first folder.
    """
    return clip.partition("_")[0]
