"""Survey a footage folder and compare it with the facts of its data set."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data_prep.footage import datasets, layouts
from data_prep.footage.datasets import OWN, DataSet
from data_prep.footage.folders import ELSEWHERE
from data_prep.footage.frames import check_whole, frame_count, frame_size
from data_prep.footage.glancing import at_own_levels
from data_prep.footage.labels import Marks, frame_labels, read_labelling, vectors_in
from data_prep.footage.layouts import SPLITS, Footage
from data_prep.footage.mask_checks import check_masks_fit, check_pixels, notes_on_masks
from data_prep.footage.masks import abnormal_frames, mask_count
from ddllib.data import WINDOW
from ddllib.errors import DDLError

MASKS = "masks"  # the labelling that the pixel masks give
Lengths = Mapping[str, Mapping[str, int | None]]
MAX_SHOWN = 4  # faults or notes that one message names


@dataclass(frozen=True)
class Survey:
    """Footage, the length of each clip as its files state it, and its data set.

    `tests`: frames of every test clip that a label file has labels for, in order, also of a clip
    that is missing or was not chosen.
    """

    footage: Footage
    lengths: Lengths
    dataset: DataSet | None
    tests: Mapping[str, int | None]

    @property
    def name(self) -> str:
        """The name of the data set; if it is not a known one, of the folder."""
        return self.dataset.name if self.dataset else self.footage.root.resolve().name


def survey(
    source: str | Path,
    dataset: str | None = None,
    scene: str | None = None,
    thorough: bool = False,
) -> Survey:
    """Survey the footage under `source`; only one frame is decoded.

    `dataset`: the expected data set, one of `datasets.names()`, or "own" for footage of no known
    data set; None recognises it. `scene`: only the clips of this scene, the part of their names
    before "_". `thorough`: read every packet of a video to count its frames; this is always done
    for labelled test clips. Raises DDLError for a folder that cannot be read as footage.
    """
    footage = layouts.find_footage(source)
    lengths = measure(footage, thorough)
    if dataset is None:
        size = size_of(footage)
        facts = datasets.identify(lengths if size else labelled(footage), size)
    else:
        facts = None if dataset == OWN else datasets.load(dataset)
    tests = facts.tests if facts else lengths["testing"]
    if facts and facts.whole:
        footage = footage.only(facts.frames)
    if dataset == OWN:  # masks of missing clips are ignored
        footage = footage.only(footage.clips)
    if scene is not None:
        footage = only_scene(footage, scene)
    return Survey(footage, measure_again(lengths, footage), facts, tests)


def measure(footage: Footage, thorough: bool) -> Lengths:
    has_labels = {"training": False, "testing": bool(footage.labels)}
    return {
        split: {
            name: frame_count(clip, thorough or has_labels[split])
            for name, clip in footage.clips[split].items()
        }
        for split in SPLITS
    }


def measure_again(lengths: Lengths, footage: Footage) -> Lengths:
    """The lengths of the clips that remain in the footage."""
    return {split: {n: lengths[split][n] for n in footage.clips[split]} for split in SPLITS}


def size_of(footage: Footage) -> tuple[int, int] | None:
    """Height and width of the footage's first frame; None without a clip."""
    first = next((clip for split in SPLITS for clip in footage.clips[split].values()), None)
    return frame_size(first) if first else None


def labelled(footage: Footage) -> Lengths:
    """Lengths of the test clips by their label and mask files, for footage without clips."""
    folder = footage.labels.get("test_frame_mask")
    names = vectors_in(folder) if folder else ()
    marks = read_labelling(folder, dict.fromkeys(names)) if names else {}
    counts = {name: mask_count(paths) for name, paths in footage.masks.items()}
    return {"training": {}, "testing": counts | {n: m.length for n, m in marks.items()}}


def only_scene(footage: Footage, scene: str) -> Footage:
    """The clips of one scene; DDLError naming the scenes if there is none."""
    chosen = {s: [n for n in footage.clips[s] if layouts.scene_of(n) == scene] for s in SPLITS}
    if not chosen["training"]:
        scenes = ", ".join(sorted({layouts.scene_of(n) for n in footage.clips["training"]}))
        raise DDLError(f"scene: no training clips of scene {scene!r}; expected one of {scenes}")
    return footage.only(chosen)


def faults(contents: Survey, whole: bool = True) -> list[str]:
    """The differences between the footage and its data set, one line each.

    Missing clips are faults only if the `whole` data set is expected.
    """
    if contents.dataset is None:
        return []
    lines = [
        f"{split} {name} has {count} frames, expected {official}"
        if official is not None
        else f"{split} {name} is no clip of {contents.name}"
        for split, name, count, official in datasets.differences(contents.dataset, contents.lengths)
    ]
    missing = datasets.absent(contents.dataset, contents.lengths) if whole else {}
    return lines + [f"{split} absent: {clips}" for split, clips in missing.items()]


def check(contents: Survey, whole: bool = True) -> None:
    """Raise DDLError if the footage differs from its data set or cannot be used.

    With `whole` missing clips are an error, too.
    """
    lines, root = faults(contents, whole), contents.footage.root
    if lines:
        more = f"; and {len(lines) - MAX_SHOWN} more" if len(lines) > MAX_SHOWN else ""
        parts = [n for n in datasets.names() if datasets.load(n).whole == contents.dataset]
        options = [f"--dataset {n} for this part" for n in parts]
        options.append(f"--dataset {OWN} to take it as it is")
        raise DDLError(
            f"{root}: not the whole of {contents.name} ({'; '.join(lines[:MAX_SHOWN])}{more}); "
            f"fetch what is missing, or give {', '.join(options)}"
        )
    check_clips(contents)
    check_masks(contents)
    check_mask_pixels(contents, quick=True)
    check_mask_counts(contents)


def check_clips(contents: Survey) -> None:
    """Raise DDLError if there is no training clip, or if a clip is shorter than a window."""
    notes = some_notes(contents.footage)
    if not contents.footage.clips["training"]:
        raise DDLError(
            f"{contents.footage.root}: no training clips found; expected "
            "training/frames/<clip>/<frame>.jpg, training/<clip>.avi or another layout of "
            f"`python -m data_prep --help`{'; ' * bool(notes)}{'; '.join(notes)}"
        )
    for split in SPLITS:
        for name, length in contents.lengths[split].items():
            if length is not None and length < WINDOW:
                raise DDLError(
                    f"{contents.footage.clips[split][name].path}: a clip of {length} frames; "
                    f"expected at least {WINDOW}, a window; {ELSEWHERE}"
                )


def check_masks(contents: Survey) -> None:
    """Raise DDLError for masks without a test clip, and if only some test clips have masks.

    The latter is right in UCSD Ped1.
    """
    masks, clips = contents.footage.masks, contents.footage.clips["testing"]
    for name in sorted(masks.keys() - contents.tests.keys(), key=layouts.natural_key):
        raise DDLError(
            f"{layouts.masks_place(masks[name])}: masks without a test clip; expected one of "
            f"{', '.join(contents.tests) or 'none'}; rename them or add the clip"
        )
    missing = [name for name in clips if name not in masks]
    if masks and missing and contents.footage.layout != "UCSD":
        raise DDLError(
            f"{layouts.masks_place(next(iter(masks.values())))}: others have masks, but not test "
            f"clip {missing[0]}; expected masks of every test clip"
        )


def check_mask_counts(contents: Survey) -> None:
    """Raise DDLError unless each test clip of known length has one mask per frame."""
    for name, length in contents.lengths["testing"].items():
        paths = contents.footage.masks.get(name, ())
        # A .mat file would have to be read whole; its masks are counted during preparation.
        countable = paths and paths[0].suffix.lower() != ".mat"
        if countable and length is not None and mask_count(paths) != length:
            raise DDLError(
                f"{layouts.masks_place(paths)}: {mask_count(paths)} masks for {length} frames of "
                f"{contents.footage.clips['testing'][name].path.name}; expected one mask per frame"
            )


def check_mask_pixels(contents: Survey, quick: bool = False) -> None:
    """Raise DDLError for masks of another shape than the frames, or with ambiguous values."""
    masks, clips = contents.footage.masks, contents.footage.clips["testing"]
    check_masks_fit(masks, clips, contents.lengths["testing"])
    check_pixels(masks, clips, quick)


def read_labels(contents: Survey) -> dict[str, dict[str, Marks]]:
    """The marks of the existing test clips by labelling, without pixel masks.

    Raises DDLError for a label file that does not match the clips.
    """
    by_labelling = {}
    for labelling, path in contents.footage.labels.items():
        marks = read_labelling(path, contents.tests)
        for name, length in contents.lengths["testing"].items():
            if name not in marks:
                raise DDLError(f"{path}: no labels for test clip {name}; expected one for each")
            if length is not None:
                frame_labels(path, name, marks[name], length)
        by_labelling[labelling] = {name: marks[name] for name in contents.lengths["testing"]}
    return by_labelling


def report(contents: Survey) -> list[str]:
    """The contents of the footage and all differences from the data set's facts, in lines."""
    name = (
        f"{contents.name} ({contents.dataset.title})" if contents.dataset else "none of the known"
    )
    lines = [f"layout: {contents.footage.layout}; data set: {name}"]
    lines += [split_line(contents, split) for split in SPLITS]
    counts = abnormal_counts(contents)
    for labelling, clips in counts.items():
        total = sum(frames for _, frames in clips.values())
        abnormal = sum(count for count, _ in clips.values())
        lines.append(
            f"labels {labelling}: {abnormal} of {total} frames abnormal, {len(clips)} clips"
        )
    differences = [*faults(contents), *label_faults(contents, counts), *refusals(contents)]
    lines += [f"differs: {line}" for line in dict.fromkeys(differences)]
    notes = [*some_notes(contents.footage), *notes_on_masks(contents.footage.masks)]
    notes += [contents.dataset.note] if contents.dataset and contents.dataset.note else []
    return lines + [f"note: {note}" for note in notes]


def some_notes(footage: Footage) -> list[str]:
    """The first few notes of what was passed over."""
    more = len(footage.notes) - MAX_SHOWN
    return [*footage.notes[:MAX_SHOWN], *([f"passed over {more} more"] if more > 0 else [])]


def refusals(contents: Survey) -> list[str]:
    """Why preparation would refuse the existing clips, as far as it can be found now."""
    lines, no_clips = [], contents.dataset and not contents.footage.clips["training"]
    # `faults` reports already that all clips are missing.
    steps = [check_masks, check_mask_pixels, check_mask_counts, read_labels]
    for step in steps if no_clips else [*steps, check_clips]:
        try:
            step(contents)
        except DDLError as error:
            lines.append(str(error))
    return lines + broken_clips(contents.footage)


def broken_clips(footage: Footage) -> list[str]:
    """A line for each clip that breaks off or holds a picture that cannot be used."""
    lines = []
    try:
        footage = at_own_levels(footage)
    except DDLError:
        pass  # a picture that cannot be read is reported with its clip below
    for clip in footage.all_clips():
        try:
            check_whole(clip)
        except DDLError as error:
            lines.append(str(error))
    return lines


def split_line(contents: Survey, split: str) -> str:
    """Clips and frames of one split, and how many the data set has."""
    lengths = contents.lengths[split].values()
    clips, frames = len(lengths), sum(n or 0 for n in lengths)
    if not contents.dataset:
        unknown = sum(n is None for n in lengths)
        more = f"; of {unknown} the number of frames is not stated" * bool(unknown)
        return f"{split}: {clips} clips, {frames} frames{more}"
    official = contents.dataset.total(split)
    return f"{split}: {clips} of {official[0]} clips, {frames} of {official[1]} frames"


def abnormal_counts(contents: Survey) -> dict[str, dict[str, tuple[int, int]]]:
    """(abnormal frames, frames) by labelling and test clip, also of missing clips."""
    tests = contents.tests or labelled(contents.footage)["testing"]
    names = contents.dataset.frames["testing"] if contents.dataset else tests
    vectors = {
        labelling: {
            name: frame_labels(path, name, marks, marks.length or tests[name])
            for name, marks in read_labelling(path, tests).items()
            if (marks.length or tests[name]) and name in names
        }
        for labelling, path in contents.footage.labels.items()
    }
    if contents.footage.masks:
        masks = contents.footage.masks
        vectors[MASKS] = {name: abnormal_frames(paths) for name, paths in masks.items()}
    return {
        labelling: {name: (int(v.sum()), len(v)) for name, v in clips.items()}
        for labelling, clips in vectors.items()
    }


def label_faults(
    contents: Survey, counts: Mapping[str, Mapping[str, tuple[int, int]]]
) -> list[str]:
    """Test clips with another number of abnormal frames than in the data set's facts."""
    official = contents.dataset.abnormal if contents.dataset else {}
    lines = []
    for labelling, clips in counts.items():
        # A single labelling in the facts is for files of any name; several are found by name.
        facts = (
            official.get(labelling, {}) if len(official) > 1 else next(iter(official.values()), {})
        )
        lines += [
            f"testing {name} has {count} abnormal frames by {labelling}, expected {facts[name]}"
            for name, (count, _) in clips.items()
            if facts.get(name, count) != count
        ]
    return lines
