"""Frame labels and pixel masks of the test clips in the prepared form."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data_prep.footage.labels import Marks, files_of, frame_labels
from data_prep.footage.layouts import Footage, masks_place
from data_prep.footage.masks import mask_to_working_size, read_masks
from data_prep.footage.survey import MASKS, Survey
from data_prep.preparing.clips import write_array
from ddllib.errors import DDLError
from ddllib.io.files import writing


def truth_files(footage: Footage) -> list[Path]:
    """Every file that labels and masks depend on, in a fixed order."""
    files = [path for paths in footage.masks.values() for path in paths]
    for path in footage.labels.values():
        files += files_of(path)
    return files


def write_truth(
    contents: Survey, marks: dict[str, dict[str, Marks]], records: dict, size, work: Path
) -> dict[str, dict[str, np.ndarray]]:
    """Write labels and masks of the test clips; returns the labels by labelling and clip."""
    labels: dict[str, dict[str, np.ndarray]] = {}
    for labelling, clips in marks.items():
        path = contents.footage.labels[labelling]
        labels[labelling] = {
            n: frame_labels(path, n, clips[n], length(r))[kept(r)] for n, r in records.items()
        }
    by_masks = {
        name: write_masks(contents, name, records[name], size, work)
        for name in contents.footage.masks
        if name in records
    }
    if by_masks and by_masks.keys() == records.keys():
        labels[MASKS] = by_masks
    for labelling, clips in labels.items():
        for name, values in clips.items():
            with writing(work / "labels" / labelling / f"{name}.npy") as file:
                np.save(file, values, allow_pickle=False)
    return labels


def length(record: Mapping) -> int:
    """The number of frames in a clip's files; a frame rate may keep fewer."""
    return record.get("read", record["frames"])


def kept(record: Mapping) -> list[int]:
    """The numbers of the frames that were kept."""
    return record.get("kept", list(range(record["frames"])))


def write_masks(contents: Survey, name: str, record: Mapping, size, work: Path) -> np.ndarray:
    """Write the masks of one clip at the working size; returns 0/1 per frame, uint8 (N,).

    A frame is abnormal if its full-size mask has any pixel, even if resizing loses it.
    """
    abnormal: list[bool] = []
    paths, kept_numbers = contents.footage.masks[name], set(kept(record))

    def shrunk():
        for number, mask in enumerate(read_masks(paths)):
            abnormal.append(bool(mask.any()))
            if number in kept_numbers:
                yield mask_to_working_size(mask, size)

    write_array(work / "masks" / f"{name}.npy", shrunk(), size)
    if (count := len(abnormal)) != length(record):
        place = masks_place(paths)
        clip = contents.footage.clips["testing"][name].path.name
        raise DDLError(
            f"{place}: {count} masks for {length(record)} frames of {clip}; expected one mask per "
            "frame"
        )
    return np.array(abnormal, np.uint8)[kept(record)]


def choose_labelling(contents: Survey, labels: Mapping) -> str | None:
    """The default labelling.

    It is the data set's official one, else the first label file, else the masks. None if there are
    no labels, or if label files disagree: then the user has to choose.
    """
    official = contents.dataset.labelling if contents.dataset else None
    if official in labels:
        return official
    files = [name for name in labels if name != MASKS] or list(labels)
    facts = compare_labellings({name: labels[name] for name in files}, files[0] if files else None)
    return None if any(f["differs"] for f in facts.values()) else next(iter(facts), None)


def compare_labellings(labels: Mapping, chosen: str | None) -> dict[str, dict[str, int | None]]:
    """For each labelling the number of abnormal frames, and of those unlike the chosen one."""
    joined = {name: np.concatenate(list(clips.values())) for name, clips in labels.items()}
    return {
        name: {
            "abnormal": int(v.sum()),
            "differs": int((v != joined[chosen]).sum()) if chosen else None,
        }
        for name, v in joined.items()
    }
