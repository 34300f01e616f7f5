"""What a footage folder holds, held against the facts of the data set that it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data_prep import datasets, layouts
from data_prep.datasets import OWN, DataSet
from data_prep.frames import frame_count, frame_size
from data_prep.labels import Marks, frame_labels, read_labelling
from data_prep.layouts import SPLITS, Footage
from data_prep.masks import abnormal_frames, mask_count
from data_prep.tracking import WINDOW
from ddllib.errors import DDLError

MASKS = "masks"  # the labelling that the pixel masks give
Lengths = Mapping[str, Mapping[str, int | None]]
SHOWN = 4  # faults named in one line


@dataclass(frozen=True)
class Survey:
    """Footage, the frames of each clip as its files state them, and its data set.

    `tests`: frames of every test clip that a label file speaks of, in order, also of a clip that
    is absent or was not chosen.
    """

    footage: Footage
    lengths: Lengths
    dataset: DataSet | None
    tests: Mapping[str, int | None]

    @property
    def name(self) -> str:
        """The data set's name, or the folder's where it is none of the known."""
        return self.dataset.name if self.dataset else self.footage.root.resolve().name


def survey(source: str | Path, dataset: str | None = None, scene: str | None = None) -> Survey:
    """Look through the footage under `source`; nothing but one frame is decoded.

    `dataset`: what it is meant to be, one of `datasets.names()`, or "own" for footage that is
    taken as it is; None recognises it. `scene`: only the clips of this scene, by the part of
    their names before "_". Raises DDLError for a folder that cannot be read as footage.
    """
    footage = layouts.find_footage(source)
    lengths = measure(footage)
    if dataset is None:
        size = size_of(footage)
        found = datasets.identify(lengths if size else labelled(footage), size)
    else:
        found = None if dataset == OWN else datasets.load(dataset)
    tests = found.tests if found else lengths["testing"]
    if found and found.whole:
        footage = footage.only(found.frames)
    if dataset == OWN:  # masks of clips that are not there are no matter then
        footage = footage.only(footage.clips)
    if scene is not None:
        footage = only_scene(footage, scene)
    return Survey(footage, measure_again(lengths, footage), found, tests)


def measure(footage: Footage) -> Lengths:
    return {
        split: {name: frame_count(clip) for name, clip in footage.clips[split].items()}
        for split in SPLITS
    }


def measure_again(lengths: Lengths, footage: Footage) -> Lengths:
    """The lengths of the clips that are left."""
    return {split: {n: lengths[split][n] for n in footage.clips[split]} for split in SPLITS}


def size_of(footage: Footage) -> tuple[int, int] | None:
    """Height and width of the footage's first frame; None without a clip."""
    first = next((clip for split in SPLITS for clip in footage.clips[split].values()), None)
    return frame_size(first) if first else None


def labelled(footage: Footage) -> Lengths:
    """Lengths of the test clips by their label and mask files, where no clip is there."""
    folder = footage.labels.get("test_frame_mask")
    files = sorted(folder.glob("[!.]*.npy")) if folder else []
    marks = read_labelling(folder, {f.stem: None for f in files}) if files else {}
    counts = {name: mask_count(paths) for name, paths in footage.masks.items()}
    return {"training": {}, "testing": counts | {n: m.length for n, m in marks.items()}}


def only_scene(footage: Footage, scene: str) -> Footage:
    """The clips of one scene; DDLError naming the scenes if there is none."""
    chosen = {s: [n for n in footage.clips[s] if layouts.scene_of(n) == scene] for s in SPLITS}
    if not chosen["training"]:
        scenes = ", ".join(sorted({layouts.scene_of(n) for n in footage.clips["training"]}))
        raise DDLError(f"scene: no training clips of scene {scene!r}; expected one of {scenes}")
    return footage.only(chosen)


def faults(found: Survey, whole: bool = True) -> list[str]:
    """What makes the footage another than its data set, one line each.

    Absent clips count only where the `whole` of it is expected.
    """
    if found.dataset is None:
        return []
    lines = [
        f"{split} {name} has {count} frames, expected {stated}"
        if stated is not None
        else f"{split} {name} is no clip of {found.name}"
        for split, name, count, stated in datasets.differences(found.dataset, found.lengths)
    ]
    missing = datasets.absent(found.dataset, found.lengths) if whole else {}
    return lines + [f"{split} absent: {clips}" for split, clips in missing.items()]


def check(found: Survey, whole: bool = True) -> None:
    """Raise DDLError if the footage is not what it should be, or not the `whole` of it."""
    lines, root = faults(found, whole), found.footage.root
    if lines:
        more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
        parts = [n for n in datasets.names() if datasets.load(n).whole == found.dataset]
        ways = [f"--dataset {n} for this part" for n in parts]
        raise DDLError(
            f"{root}: not the whole of {found.name} ({'; '.join(lines[:SHOWN])}{more}); fetch what "
            f"is missing, or give {', '.join([*ways, f'--dataset {OWN} to take it as it is'])}"
        )
    check_clips(found)
    check_masks(found)
    check_mask_counts(found)


def check_clips(found: Survey) -> None:
    """There is something to train on, and no clip is shorter than a window."""
    if not found.footage.clips["training"]:
        raise DDLError(
            f"{found.footage.root}: no training clips found; expected "
            "training/frames/<clip>/<frame>.jpg, training/<clip>.avi or another layout of "
            "`python -m data_prep --help`"
        )
    for split in SPLITS:
        for name, length in found.lengths[split].items():
            if length is not None and length < WINDOW:
                raise DDLError(
                    f"{found.footage.clips[split][name].path}: a clip of {length} frames; expected "
                    f"at least {WINDOW}, a window; remove the clip"
                )


def check_masks(found: Survey) -> None:
    """Masks speak of known test clips; where there are any, all have them but in UCSD Ped1."""
    masks, clips = found.footage.masks, found.footage.clips["testing"]
    for name in sorted(masks.keys() - found.tests.keys(), key=layouts.natural_key):
        place = layouts.masks_place(masks[name])
        raise DDLError(f"{place}: masks without a test clip; remove them or add the clip")
    missing = [name for name in clips if name not in masks]
    if masks and missing and found.footage.layout != "UCSD":
        raise DDLError(
            f"{layouts.masks_place(next(iter(masks.values())))}: others have masks, but not test "
            f"clip {missing[0]}; expected masks of every test clip"
        )


def check_mask_counts(found: Survey) -> None:
    """Each test clip of known length has one mask per frame."""
    for name, length in found.lengths["testing"].items():
        paths = found.footage.masks.get(name, ())
        # A .mat file would have to be read whole; its masks are counted when they are prepared.
        counted = paths and paths[0].suffix.lower() != ".mat"
        if counted and length is not None and mask_count(paths) != length:
            raise DDLError(
                f"{layouts.masks_place(paths)}: {mask_count(paths)} masks for {length} frames of "
                f"{found.footage.clips['testing'][name].path.name}; expected one mask per frame"
            )


def read_labels(found: Survey) -> dict[str, dict[str, Marks]]:
    """The marks of the test clips that are there, by labelling; pixel masks are left aside.

    Raises DDLError for a label file that does not fit them.
    """
    marked = {}
    for labelling, path in found.footage.labels.items():
        marks = read_labelling(path, found.tests)
        for name, length in found.lengths["testing"].items():
            if name not in marks:
                raise DDLError(f"{path}: no labels for test clip {name}; expected one for each")
            if length is not None:
                frame_labels(path, name, marks[name], length)
        marked[labelling] = {name: marks[name] for name in found.lengths["testing"]}
    return marked


def report(found: Survey) -> list[str]:
    """All that is found and all that differs from the data set's facts, in lines to read."""
    name = f"{found.name} ({found.dataset.title})" if found.dataset else "none of the known"
    lines = [f"layout: {found.footage.layout}; data set: {name}"]
    lines += [split_line(found, split) for split in SPLITS]
    counts = abnormal_counts(found)
    for labelling, clips in counts.items():
        total = sum(frames for _, frames in clips.values())
        abnormal = sum(count for count, _ in clips.values())
        lines.append(
            f"labels {labelling}: {abnormal} of {total} frames abnormal, {len(clips)} clips"
        )
    differing = [*faults(found), *label_faults(found, counts), *refusals(found)]
    lines += [f"differs: {line}" for line in dict.fromkeys(differing)]
    return lines + ([f"note: {found.dataset.note}"] if found.dataset and found.dataset.note else [])


def refusals(found: Survey) -> list[str]:
    """What preparation would refuse of the clips that are there, as far as it shows undecoded."""
    lines, nothing = [], found.dataset and not found.footage.clips["training"]
    # That all clips are absent is told already.
    for step in (check_masks, check_mask_counts, read_labels, *(() if nothing else [check_clips])):
        try:
            step(found)
        except DDLError as error:
            lines.append(str(error))
    return lines


def split_line(found: Survey, split: str) -> str:
    """Clips and frames of one split, and how many the data set has."""
    lengths = found.lengths[split].values()
    clips, frames = len(lengths), sum(n or 0 for n in lengths)
    if not found.dataset:
        unknown = sum(n is None for n in lengths)
        more = f"; of {unknown} the number of frames is not stated" * bool(unknown)
        return f"{split}: {clips} clips, {frames} frames{more}"
    stated = found.dataset.total(split)
    return f"{split}: {clips} of {stated[0]} clips, {frames} of {stated[1]} frames"


def abnormal_counts(found: Survey) -> dict[str, dict[str, tuple[int, int]]]:
    """(abnormal frames, frames) by labelling and test clip, also of clips that are absent."""
    tests = found.tests or labelled(found.footage)["testing"]
    wanted = found.dataset.frames["testing"] if found.dataset else tests
    vectors = {
        labelling: {
            name: frame_labels(path, name, marks, marks.length or tests[name])
            for name, marks in read_labelling(path, tests).items()
            if (marks.length or tests[name]) and name in wanted
        }
        for labelling, path in found.footage.labels.items()
    }
    if found.footage.masks:
        masks = found.footage.masks
        vectors[MASKS] = {name: abnormal_frames(paths) for name, paths in masks.items()}
    return {
        labelling: {name: (int(v.sum()), len(v)) for name, v in clips.items()}
        for labelling, clips in vectors.items()
    }


def label_faults(found: Survey, counts: Mapping[str, Mapping[str, tuple[int, int]]]) -> list[str]:
    """Test clips whose abnormal frames are not as many as the data set's facts say."""
    stated = found.dataset.abnormal if found.dataset else {}
    lines = []
    for labelling, clips in counts.items():
        # One labelling in the facts holds for every file; several are told apart by name.
        known = stated.get(labelling, {}) if len(stated) > 1 else next(iter(stated.values()), {})
        lines += [
            f"testing {name} has {count} abnormal frames by {labelling}, expected {known[name]}"
            for name, (count, _) in clips.items()
            if known.get(name, count) != count
        ]
    return lines
