"""Frame labels and pixel masks of the test clips in the prepared form."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data_prep.clips import write_array
from data_prep.labels import Marks, frame_labels
from data_prep.layouts import Footage, masks_place
from data_prep.masks import mask_to_working_size, read_masks
from data_prep.survey import MASKS, Survey
from ddllib.errors import DDLError
from ddllib.files import writing


def truth_files(footage: Footage) -> list[Path]:
    """Every file that labels and masks depend on, in a fixed order."""
    files = [path for paths in footage.masks.values() for path in paths]
    for path in footage.labels.values():
        files += sorted(path.glob("[!.]*.npy")) if path.is_dir() else [path]
    return files


def write_truth(
    found: Survey, marks: dict[str, dict[str, Marks]], records: dict, size, work: Path
) -> dict[str, dict[str, np.ndarray]]:
    """Write labels and masks of the test clips; returns the labels by labelling and clip."""
    labels: dict[str, dict[str, np.ndarray]] = {}
    for labelling, clips in marks.items():
        path = found.footage.labels[labelling]
        labels[labelling] = {
            n: frame_labels(path, n, clips[n], length(r))[kept(r)] for n, r in records.items()
        }
    by_masks = {
        name: write_masks(found, name, records[name], size, work)
        for name in found.footage.masks
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
    """The frames of a clip's files, of which a frame rate may keep fewer."""
    return record.get("read", record["frames"])


def kept(record: Mapping) -> list[int]:
    """The numbers of the frames that were kept."""
    return record.get("kept", list(range(record["frames"])))


def write_masks(found: Survey, name: str, record: Mapping, size, work: Path) -> np.ndarray:
    """Write the masks of one clip at the working size; returns 0/1 per frame, uint8 (N,).

    A frame is abnormal if its full-size mask has any pixel, also one lost in resizing.
    """
    abnormal: list[bool] = []
    paths, chosen = found.footage.masks[name], set(kept(record))

    def shrunk():
        for number, mask in enumerate(read_masks(paths)):
            abnormal.append(bool(mask.any()))
            if number in chosen:
                yield mask_to_working_size(mask, size)

    write_array(work / "masks" / f"{name}.npy", shrunk(), size)
    if (count := len(abnormal)) != length(record):
        place = masks_place(paths)
        clip = found.footage.clips["testing"][name].path.name
        raise DDLError(
            f"{place}: {count} masks for {length(record)} frames of {clip}; expected one mask per "
            "frame"
        )
    return np.array(abnormal, np.uint8)[kept(record)]


def choose_labelling(found: Survey, labels: Mapping) -> str | None:
    """The labelling that counts where a reader names none.

    The data set's official one, else the first label file, else the masks. None where nothing is
    labelled, and where label files disagree: then the reader has to choose.
    """
    official = found.dataset.labelling if found.dataset else None
    if official in labels:
        return official
    files = [name for name in labels if name != MASKS] or list(labels)
    facts = compare_labellings({name: labels[name] for name in files}, files[0] if files else None)
    return None if any(f["differs"] for f in facts.values()) else next(iter(facts), None)


def compare_labellings(labels: Mapping, chosen: str | None) -> dict[str, dict[str, int | None]]:
    """Abnormal frames by each labelling, and the frames on which it differs from the chosen."""
    joined = {name: np.concatenate(list(clips.values())) for name, clips in labels.items()}
    return {
        name: {
            "abnormal": int(v.sum()),
            "differs": int((v != joined[chosen]).sum()) if chosen else None,
        }
        for name, v in joined.items()
    }
