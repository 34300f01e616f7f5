"""File names of frames and clips: their order, and the meaning of the numbers in them."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ddllib.errors import DDLError

END = re.compile(r"([0-9]+)$")
# Date and time, 20240101120000 or 2024-01-01_12-00-00, and seconds since 1970.
STAMP = re.compile(
    r"(?<![0-9])(?:19|20)[0-9]{2}[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:0[1-9]|[12][0-9]|3[01])"
    r"[-_T. ]{0,3}(?:[01][0-9]|2[0-3])[-_.:h]?[0-5][0-9][-_.:m]?(?:[0-5][0-9]|60)"
)
EPOCH = re.compile(r"(?<![0-9])1[0-9]{9}(?:[0-9]{3}){0,3}(?![0-9])")
DAYTIME = re.compile(
    r"(?<![0-9])((?:[01][0-9]|2[0-3])[-_.:h]?[0-5][0-9][-_.:m]?[0-5][0-9])(?![0-9])"
)
YEAR_LAST = re.compile(r"(?<![0-9])([0-9]{2})([-_.])([0-9]{2})\2((?:19|20)[0-9]{2})(?![0-9])")
EVENT = re.compile(r"[0-9]+[-_. ]+")  # an event's number before the time; it restarts with a camera
FRACTION = re.compile(r"[.,]([0-9]+)")
ONE_O_CLOCK = 10000  # written 010000; a lower number of six digits may be a count


def plain_name(name: str) -> str:
    """A name in composed Unicode (NFC); macOS writes "é" as two characters."""
    return unicodedata.normalize("NFC", name)


def natural_key(name: str) -> tuple:
    """Sort key under which "frame2" comes before "frame10"; ties fall back to the text."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p], name


def clip_key(name: str) -> tuple:
    """Sort key of a clip's name; an event's number before date and time is ignored."""
    stamp = STAMP.search(name)
    number = stamp and EVENT.fullmatch(name[: stamp.start()])
    return natural_key(name[number.end() :] if number else name)


def stem_of(path: Path) -> str:
    """A file's name without its ending, in composed Unicode for comparisons."""
    return plain_name(path.stem)


def in_order(files: Iterable[Path]) -> tuple[Path, ...]:
    """Files in the order of the time in their names if all have one, else in natural order.

    The ending is ignored: 235950.jpg comes before 235950-1.jpg. Raises DDLError for ambiguous
    dates.
    """
    files = list(files)
    stems = [stem_of(path) for path in files]
    keys = _time_keys(stems) or _year_last_keys(files, stems) or [natural_key(s) for s in stems]
    order = sorted(range(len(files)), key=lambda k: (keys[k], natural_key(files[k].name)))
    return tuple(files[k] for k in order)


def _time_keys(stems: Sequence[str]) -> list[tuple] | None:
    """Sort keys by date and time; None unless all of the names have such a time."""
    for pattern in (STAMP, EPOCH):
        matches = [pattern.search(stem) for stem in stems]
        if all(matches):
            return [_time_key(stem, match) for stem, match in zip(stems, matches, strict=True)]
    return None


def _time_key(stem: str, match: re.Match) -> tuple:
    before, rest = stem[: match.start()], stem[match.end() :]
    before = "" if EVENT.fullmatch(before) else before
    fraction = FRACTION.match(rest)  # 12.5 s come after 12.123 s
    rest = rest[fraction.end() :] if fraction else rest
    time = int(re.sub(r"[^0-9]", "", match[0]))
    return natural_key(before), time, fraction[1] if fraction else "", natural_key(rest)


def _year_last_keys(files: Sequence[Path], stems: Sequence[str]) -> list[tuple] | None:
    """Sort keys of names with dates such as 31-01-2024; None unless all have one."""
    matches = [YEAR_LAST.search(stem) for stem in stems]
    if not all(matches):
        return None
    rests = [natural_key(YEAR_LAST.sub("", stem, 1)) for stem in stems]
    readings = []  # sort keys with the day first, and with the month first, if they are dates
    for month, day in ((3, 1), (1, 3)):
        dates = [(int(m[4]), int(m[month]), int(m[day])) for m in matches]
        if all(1 <= m <= 12 and 1 <= d <= 31 for _, m, d in dates):
            readings.append(list(zip(dates, rests, strict=True)))
    orders = [sorted(range(len(keys)), key=keys.__getitem__) for keys in readings]
    if len(readings) == 2 and orders[0] != orders[1]:
        raise DDLError(
            f"{files[0]}: day or month may come first in its date; expected the year first, such "
            "as 2024-01-31; rename the files"
        )
    return readings[0] if readings else None


def frame_number(path: Path) -> str:
    """The number at the end of a frame's name without leading zeros; without one the name."""
    digits = END.search(path.stem)
    return str(int(digits[1])) if digits else stem_of(path)


def check_numbering(frames: Sequence[Path]) -> None:
    """Raise DDLError if a number is missing among counted frames: it would shift every label.

    Times at the end of the names, and numbers of shots within a second, are no such count.
    """
    stems = [stem_of(path) for path in frames]
    ends = [END.search(stem) for stem in stems]
    unnumbered = [path for path, end in zip(frames, ends, strict=True) if not end]
    if len(unnumbered) == len(frames):
        return
    if unnumbered:
        raise DDLError(
            f"{unnumbered[0]}: no number at the end of its name, as others have; expected frames "
            "alone in the folder of a clip; keep it in a folder elsewhere, outside the footage"
        )
    before = [stem[: end.start()] for stem, end in zip(stems, ends, strict=True)]
    digits = [end[1] for end in ends]
    timed = _end_in_time(stems) or _is_clock(digits)
    numbers = [text if timed else int(text) for text in digits]
    _check_twice(frames, list(zip(before, numbers, strict=True)))
    if timed:
        return
    if len(set(before)) > 1 and not _all_by_time(stems):
        _check_second_pictures(frames, stems, before)
    if _is_count(numbers, one=len(set(before)) == 1):
        _check_gaps(frames, np.diff(numbers))


def _end_in_time(stems: Sequence[str]) -> bool:
    """Whether all names end in a time, with the fraction of a second or without."""
    for pattern in (STAMP, EPOCH):
        matches = [pattern.search(stem) for stem in stems]
        if all(matches):
            rests = [s[m.end() :] for s, m in zip(stems, matches, strict=True)]
            return all(re.fullmatch(r"[.,]?[0-9]*", rest) for rest in rests)
    return False


def _is_clock(digits: Sequence[str]) -> bool:
    """Whether all numbers are times: 120059, 120100 of the day, 0059, 0100 minutes and seconds.

    A count beyond a hundred also has numbers that end in 60 to 99. Within one minute times and
    counts look the same; then they are taken for counts.
    """
    if {len(text) for text in digits} not in ({4}, {6}):
        return False
    pairs = [[int(text[k : k + 2]) for k in range(0, len(text), 2)] for text in digits]
    valid = all(p[-1] < 60 and p[-2] < 60 and (len(p) == 2 or p[0] < 24) for p in pairs)
    return valid and pairs[0][:-1] != pairs[-1][:-1]


def _all_by_time(stems: Sequence[str]) -> bool:
    """Whether all names hold a time; then a number after it may count shots within a second."""
    if any(all(pattern.search(stem) for stem in stems) for pattern in (STAMP, EPOCH)):
        return True
    matches = [DAYTIME.search(stem) for stem in stems]
    times = [int(re.sub(r"[^0-9]", "", match[1])) for match in matches if match]
    return len(times) == len(stems) and max(times) >= ONE_O_CLOCK


def _check_twice(frames: Sequence[Path], names: Sequence[tuple]) -> None:
    """Raise DDLError for two files of one number, such as 005.jpg and 005.png."""
    first: dict[tuple, Path] = {}
    for path, name in zip(frames, names, strict=True):
        if name in first:
            raise DDLError(
                f"{path}: a second frame of the same number, as {first[name].name}; expected one "
                "file for each number; rename it, or keep it in a folder elsewhere, outside the "
                "footage"
            )
        first[name] = path


def _check_second_pictures(
    frames: Sequence[Path], stems: Sequence[str], before: Sequence[str]
) -> None:
    """Raise DDLError for a second picture such as 005-1 beside 005: it would shift the labels."""
    by_stem = dict(zip(stems, frames, strict=True))
    for path, text in zip(frames, before, strict=True):
        if text[-1:] in ("-", "_", ".", " ") and (first := by_stem.get(text[:-1])):
            raise DDLError(
                f"{path}: named as a second picture of {first.name}; expected one file for each "
                "number; number the frames anew if it is a frame, else keep it in a folder "
                "elsewhere, outside the footage"
            )


def _is_count(numbers: Sequence[int], one: bool) -> bool:
    """Whether frames are counted one by one.

    `one`: all names have the same text before the number. Otherwise most steps must be 1. If the
    smallest step is above 1, the clip was sampled and no number is missing.
    """
    steps = np.diff(numbers)
    if not len(steps) or steps.min() != 1:
        return False
    return one or (steps == 1).sum() > len(steps) / 2


def _check_gaps(frames: Sequence[Path], steps: np.ndarray) -> None:
    if steps.max() > 1:
        last = frames[int(np.argmax(steps > 1))]
        raise DDLError(
            f"{last.parent}: frame missing after {last.name}; expected numbers without a "
            "gap, restore the frame or number the frames anew"
        )
