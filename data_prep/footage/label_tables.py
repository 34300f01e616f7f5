"""labels.csv in the forms in which spreadsheets and scripts save it.

Fields are separated by commas, semicolons or tabs; the text is UTF-8, or UTF-16 with a byte order
mark; numbers may be 10.0 or 10,0. Columns of other names are remarks. More ranges of a clip stand
in rows of their own, in further columns named first and last, or after the header's last column.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.footage.naming import plain_name
from ddllib.errors import DDLError

COLUMNS = ("clip", "first", "last")
DELIMITERS = ",;\t|"
COLUMN = re.compile(r"(clip|first|last)[ _.]?([0-9]{0,3})")
# Three zeros are refused: 1.000 is 1 in some countries and 1000 in others.
WHOLE = re.compile(r"([+-]?[0-9]{1,99})(?:[.,](?:0{1,2}|0{4,}))?")
ALONE = "give each range a row of its own"


@dataclass(frozen=True)
class Row:
    """A row of the table: line number, clip, ranges as written; a normal clip has no ranges."""

    line: int
    clip: str
    ranges: list[tuple[int, int]]


@dataclass(frozen=True)
class Header:
    """Indices of the columns: clip, pairs of first and last, and the end of the named columns."""

    clip: int
    pairs: Sequence[tuple[int, int]]
    end: int
    remarks: bool  # whether other columns have names


def read_rows(path: Path) -> list[Row]:
    """The rows of labels.csv; raises DDLError with the line for a row that is not understood."""
    try:
        text = text_of(path)
        lines = text.lstrip().splitlines() or [""]
        delimiter = delimiter_of(lines[0])
        if lines[0].lower().startswith("sep="):  # Excel's way to state the delimiter
            text = text.lstrip()[len(lines[0]) :]
            lines = text.lstrip().splitlines() or [""]
        table = csv.reader(
            io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
        )
        rows = [(table.line_num, [field.strip() for field in row]) for row in table]
    except (UnicodeError, csv.Error) as error:
        raise DDLError(f"{path}: not a readable CSV file ({error}); save it as UTF-8") from error
    rows = [(line, row) for line, row in rows if any(row)]
    header = header_of(path, rows[0][1] if rows else [])
    return [row_of(path, line, fields, header) for line, fields in rows[1:]]


def text_of(path: Path) -> str:
    data = path.read_bytes()
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    return data.decode(encoding).lstrip("\ufeff")


def delimiter_of(line: str) -> str:
    """The delimiter that splits the header into the most known columns."""
    if line.lower().startswith("sep=") and line[4:5] in [*DELIMITERS]:
        return line[4]
    names = {d: {name_of(part) for part in line.split(d)} for d in DELIMITERS}
    return max(DELIMITERS, key=lambda d: len(names[d].intersection(COLUMNS)))


def name_of(field: str) -> str:
    return field.strip().strip('"').strip().lower()


def header_of(path: Path, fields: Sequence[str]) -> Header:
    names = [name_of(field) for field in fields]
    places: dict[str, list[tuple[int, int]]] = {name: [] for name in COLUMNS}
    for place, name in enumerate(names):
        if column := COLUMN.fullmatch(name):
            places[column[1]].append((int(column[2] or 0), place))
    if missing := [name for name in COLUMNS if not places[name]]:
        raise DDLError(
            f"{path}: no column {', '.join(missing)}; expected the header {','.join(COLUMNS)}"
        )
    first, last = ([place for _, place in sorted(places[name])] for name in ("first", "last"))
    if len(places["clip"]) > 1 or len(first) != len(last):
        raise DDLError(
            f"{path}: the header {','.join(names)} has columns that do not pair; expected one clip "
            f"and a last to each first; {ALONE} under {','.join(COLUMNS)}"
        )
    end = max((k + 1 for k, name in enumerate(names) if name), default=0)
    used = {places["clip"][0][1], *first, *last}
    remarks = any(name and place not in used for place, name in enumerate(names))
    return Header(places["clip"][0][1], list(zip(first, last, strict=True)), end, remarks)


def row_of(path: Path, line: int, fields: list[str], header: Header) -> Row:
    place, fields = f"{path}: line {line}", fields + [""] * (header.end - len(fields))
    pairs = [(fields[first], fields[last]) for first, last in header.pairs]
    pairs += surplus_pairs(place, fields[header.end :], header)
    ranges = [range_of(place, *pair) for pair in pairs if any(pair)]
    # One range is checked against the clip's length later; of several the order shows mistakes.
    if len(ranges) > 1 and not follow_one_another(ranges):
        text = ", ".join(f"{first} to {last}" for first, last in ranges)
        raise DDLError(f"{place}: {text} are no ranges that follow one another; {ALONE}")
    return Row(line, plain_name(fields[header.clip]), ranges)


def follow_one_another(ranges: Sequence[tuple[int, int]]) -> bool:
    ends = [-1, *(end for pair in ranges for end in pair)]
    steps = [after - before for before, after in zip(ends, ends[1:], strict=False)]
    return min(steps) >= 0 and min(steps[::2]) > 0


def surplus_pairs(place: str, surplus: list[str], header: Header) -> list[tuple[str, str]]:
    """Fields after the last column as further pairs of first and last."""
    while surplus and not surplus[-1]:
        surplus = surplus[:-1]
    pairs = list(zip(surplus[::2], surplus[1::2], strict=False))
    whole = all(WHOLE.fullmatch(field) for pair in pairs if any(pair) for field in pair)
    if surplus and (header.remarks or len(surplus) % 2 or not whole):
        raise DDLError(
            f"{place}: more fields than the header has columns ({', '.join(surplus)}); expected "
            f"pairs of first and last, if any; put remarks in quotes, and {ALONE}"
        )
    return pairs


def range_of(place: str, first: str, last: str) -> tuple[int, int]:
    matches = [WHOLE.fullmatch(field) for field in (first, last)]
    if not all(matches):
        raise DDLError(
            f"{place}: first and last must be whole numbers, found {first!r} and {last!r}; correct "
            "them"
        )
    return int(matches[0][1]), int(matches[1][1])


def clips_named(path: Path) -> set[str]:
    """The clips that a labels.csv names."""
    return {row.clip for row in read_rows(path)}


def ranges_by_clip(path: Path, clips: Mapping[str, object]) -> dict[str, list[tuple[int, int]]]:
    """The ranges of each of these clips; empty for a clip that the table does not name."""
    ranges: dict[str, list[tuple[int, int]]] = {name: [] for name in clips}
    by_plain_name = {plain_name(name): name for name in clips}
    for row in read_rows(path):
        if row.clip not in by_plain_name:
            raise DDLError(
                f"{path}: line {row.line}: no test clip {row.clip!r}; expected one of "
                f"{', '.join(clips) or 'none'}; correct the name, or add the clip"
            )
        ranges[by_plain_name[row.clip]] += row.ranges
    return ranges
