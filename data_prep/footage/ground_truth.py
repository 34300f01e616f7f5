"""Find masks and labels of the test clips; their places are the same in every layout."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from data_prep.footage.folders import DEEPEST, ELSEWHERE, IMAGES, visible
from data_prep.footage.naming import frame_number, natural_key, plain_name, stem_of
from data_prep.footage.trees import BETWEEN, UCSD_CLIP, Clip, find_images
from ddllib.errors import DDLError

AVENUE_MASKS = Path("ground_truth_demo", "testing_label_mask")


def find_masks(
    root: Path, layout: str, testing: Path, clips: Mapping[str, Clip]
) -> dict[str, tuple[Path, ...]]:
    """Pixel masks by test clip, also of clips that are missing.

    ::

        testing/masks/<clip>/<frame>.png    one image per frame, with its name
        testing/test_pixel_mask/<clip>.npy  N x H x W
        ground_truth_demo/testing_label_mask/N_label.mat
                                            beside the videos or one level up
        Test/TestNNN_gt/001.bmp or frame001.bmp
    """
    masks = dict(mask_folders(testing / "masks"))
    for folder in visible(testing):
        if folder.name.endswith("_gt") and (official := UCSD_CLIP.fullmatch(folder.name[:-3])):
            masks[f"{int(official[1]):02d}"] = find_images(folder)
    for file in visible(testing / "test_pixel_mask"):
        if file.suffix == ".npy":
            masks[stem_of(file)] = (file,)
    for place in (root, root.parent) if layout == "Avenue" else (root,):
        for file in visible(place / AVENUE_MASKS):
            if number := re.fullmatch(r"([0-9]+)_label", file.stem):
                masks.setdefault(f"{int(number[1]):02d}", (file,))
    for name, clip in clips.items():
        if clip.frames and name in masks:
            check_mask_names(masks[name], clip)
    return dict(sorted(masks.items(), key=lambda item: natural_key(item[0])))


def mask_folders(place: Path) -> Iterator[tuple[str, tuple[Path, ...]]]:
    """Folders of masks by the names of their clips; they are nested like the clips."""
    if any(path.suffix.lower() in IMAGES for path in visible(place)):
        raise DDLError(f"{place}: loose masks; expected masks/<clip>/<frame>.png")
    first: dict[str, Path] = {}
    for parts, folder in sorted(folders_of_masks(place, ())):
        name = BETWEEN.join(parts)
        if name in first:
            raise DDLError(
                f"{folder}: masks of {name} a second time, as in {first[name]}; expected one "
                "folder for each clip; rename one of them"
            )
        first[name] = folder
        yield name, find_images(folder)


def folders_of_masks(place: Path, parts: tuple[str, ...]) -> Iterator[tuple[tuple, Path]]:
    """The folders with images and the empty ones, each with the names of the folders above it."""
    for folder in visible(place) if len(parts) < DEEPEST else ():
        if folder.is_dir():
            names, contents = (*parts, plain_name(folder.name)), visible(folder)
            images = any(path.suffix.lower() in IMAGES for path in contents)
            # At the top an empty folder has lost its images, which is an error later. Deeper ones
            # may be empty: a recorder's hour without footage.
            if images or (not parts and not any(map(Path.is_dir, contents))):
                yield names, folder
            yield from folders_of_masks(folder, names)


def masks_place(masks: Sequence[Path]) -> Path:
    """The path to name in a message about a clip's masks: their folder, or the one file."""
    return masks[0].parent if masks[0].suffix.lower() in IMAGES else masks[0]


def check_mask_names(masks: Sequence[Path], clip: Clip) -> None:
    """Raise DDLError unless frames and masks of a folder clip have the same numbers.

    If numbers repeat, as in names with a time and a count within the second, whole names are
    compared. For pages of one file only the number of masks is checked.
    """
    if masks[0].suffix.lower() not in IMAGES:
        return
    frames = [*map(stem_of, clip.frames)]
    mask_names, unmatched = [*map(stem_of, masks)], []
    if not clip.paged and mask_names != frames:
        numbers = [*map(frame_number, clip.frames)]
        if len(set(numbers)) == len(numbers):
            frames, mask_names = numbers, [*map(frame_number, masks)]
        unmatched = sorted({*mask_names} ^ {*frames}, key=natural_key)
    if len(masks) == len(clip.frames) and not unmatched:
        return
    detail = f"; first without a partner: {unmatched[0]}" if unmatched else ""
    raise DDLError(
        f"{masks[0].parent}: {len(masks)} masks for {len(clip.frames)} frames{detail}; "
        "expected one mask per frame with the frame's number"
    )


def table_at(place: Path) -> Path | None:
    """The labels.csv in a folder, or None; raises DDLError for a folder of that name."""
    table = place / "labels.csv"
    if table.is_dir():
        raise DDLError(f"{table}: a folder; expected a table of labels; rename it")
    return table if table.is_file() else None


def find_labels(given: Path, root: Path, testing: Path) -> dict[str, Path]:
    """Every labelling of the test clips, by the name of the file or folder that holds it.

    Files are searched in the folder that the user named and in the data set's own folder `root`.
    """
    places = dict.fromkeys((given, root))
    paths = [p for place in places for p in visible(place) if p.suffix.lower() in (".mat", ".npy")]
    paths += [p for p in visible(testing) if p.suffix == ".m"]
    paths += filter(None, map(table_at, dict.fromkeys((*places, testing))))
    paths += [p for p in (testing / "test_frame_mask",) if p.is_dir()]
    labels: dict[str, Path] = {}
    for path in sorted(paths, key=lambda p: natural_key(p.name)):
        if path.name in labels:
            raise DDLError(
                f"{path}: labels too, like {labels[path.name]}; expected one file of that name; "
                f"rename one of them, or {ELSEWHERE}"
            )
        labels[path.name] = path
    return labels
