"""Check before any work whether the masks of test clips are plausible."""

from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np

from data_prep.footage.frames import frame_size
from data_prep.footage.layouts import Clip, masks_place
from data_prep.footage.masks import examine, in_words, is_jpeg, open_array
from ddllib.errors import DDLError

MasksOf = Mapping[str, Sequence[Path]]


def check_masks_fit(masks: MasksOf, clips: Mapping[str, Clip], lengths: Mapping) -> None:
    """Raise DDLError for masks of another size than their frames, or with axes in another order."""
    checked_any = False
    for name in [name for name in clips if name in masks]:
        paths = masks[name]
        # A MATLAB file has to be read whole; the others of a data set are like the first.
        if paths[0].suffix.lower() == ".mat" and checked_any:
            continue
        checked_any = True
        if fault := misfit(shape_of(paths), lengths.get(name), frame_size(clips[name])):
            raise DDLError(f"{masks_place(paths)}: {fault}")


def shape_of(paths: Sequence[Path]) -> tuple[int, int, int]:
    """The number, height and width of a clip's masks; the first three axes of an array."""
    if paths[0].suffix.lower() == ".npy":
        return open_array(paths[0]).shape[:3]
    meaning = examine(paths)
    return len(meaning.shares), *meaning.size


def check_pixels(masks: MasksOf, clips: Mapping[str, Clip], quick: bool) -> None:
    """Raise DDLError for masks whose values are ambiguous or look inverted.

    A `quick` check leaves MATLAB files out, since each has to be read whole, and reads only some
    masks of a large array.
    """
    meanings = {
        name: examine(paths, quick)
        for name, paths in masks.items()
        if name in clips and not (quick and paths[0].suffix.lower() == ".mat")
    }
    jpeg = next((masks[name] for name in meanings if is_jpeg(masks[name][0])), None)
    if jpeg and not any(meaning.shares.any() for meaning in meanings.values()):
        raise DDLError(
            f"{masks_place(jpeg)}: no mask has a mark; expected some; JPEG loses marks of small "
            "values such as 1; save them anew with 0 for normal and 255 for abnormal pixels, as PNG"
        )
    full = [name for name, meaning in meanings.items() if is_inverted(meaning.shares)]
    # Masks without a normal pixel may be right for one clip, but not for every clip.
    inverted = [n for n in full if meanings[n].shares.min() < 1 or len(full) == len(meanings)]
    if inverted:
        raise DDLError(
            f"{masks_place(masks[inverted[0]])}: most pixels of every mask are marked; expected 0 "
            "for normal and another value for abnormal pixels; if they are turned round, save them "
            "as 255 - mask; if whole frames are meant, give labels.csv instead of masks"
        )


def is_inverted(shares: np.ndarray) -> bool:
    """Whether masks seem to mark normal pixels: none is empty, and half of them mark over 50 %."""
    return bool(shares.min() > 0 and np.median(shares) > 0.5)


def notes_on_masks(masks: MasksOf) -> list[str]:
    """A note on how the values of masks are read: one line, or none."""
    notes = [note for paths in masks.values() if (note := examine(paths).note)]
    more = f"; so in {len(notes) - 1} more clips" if len(notes) > 1 else ""
    return [notes[0] + more] if notes else []


def misfit(shape: tuple[int, int, int], length: int | None, frame: tuple[int, int]) -> str | None:
    """What is wrong with masks of a shape for `length` frames of a size (height, width).

    None if the aspect ratio is right: such masks were only resized. Their number is not checked.
    """
    if alike(shape[1:], frame):
        return None
    if alike(shape[:0:-1], frame):
        return (
            f"transposed masks: {in_words(shape[1:])}, but the frames have {in_words(frame)}; "
            "expected height x width as the frames; exchange the two axes of each (in Python "
            "mask.T) and save them again"
        )
    for order in permutations(range(3)):
        count, *size = (shape[axis] for axis in order)
        if count == length and alike(size, frame):
            return (
                f"masks of shape {shape} for {length} frames of {in_words(frame)}; expected frames "
                f"x height x width; save numpy.transpose(masks, {order})"
            )
    return (
        f"masks of {in_words(shape[1:])}, but the frames have {in_words(frame)}; expected the "
        "frames' size, or its proportions; save them in the frames' size"
    )


def alike(size: Sequence[int], frame: tuple[int, int]) -> bool:
    """Whether two sizes have the same aspect ratio, apart from rounding to whole pixels."""
    return abs(size[0] * frame[1] - size[1] * frame[0]) < max(frame)
