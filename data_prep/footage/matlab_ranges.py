"""Read ranges from cells of a MATLAB file, which may be 2 x n or n x 2.

A cell of 2 x n has first frames in its upper row and last frames in the lower; one of n x 2 has a
range in each row. Both are common. A 2 x 2 cell can be read both ways, but its numbers decide:
ranges of one clip do not overlap and do not end before they begin, and only one way of reading
gives such ranges. All cells of a file are read the same way.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ddllib.errors import DDLError

COLUMNS, ROWS = "2 x n", "n x 2"
REMEDY = "save every cell as 2 x n, first frames above last frames"


def ranges_of_cells(path: Path, cells: Mapping[str, np.ndarray]) -> dict[str, list]:
    """One-based inclusive ranges by clip; an empty cell is a clip without anomalies.

    Raises DDLError if a cell holds no ranges, or if they are ambiguous.
    """
    shapes = {name: ways_of(path, name, cell) for name, cell in cells.items()}
    in_columns = [name for name, possible in shapes.items() if possible == {COLUMNS}]
    in_rows = [name for name, possible in shapes.items() if possible == {ROWS}]
    if in_columns and in_rows:
        raise DDLError(
            f"{path}: clip {in_columns[0]} has ranges as {COLUMNS}, but clip {in_rows[0]} as "
            f"{ROWS}; expected one of the two; {REMEDY}"
        )
    unreadable = [name for name, possible in shapes.items() if not possible]
    if unreadable and not (in_columns or in_rows):
        name = unreadable[0]
        raise DDLError(
            f"{path}: clip {name}: {cells[name].tolist()} can be read as {COLUMNS} or {ROWS}, but "
            f"neither gives two ranges that do not overlap; correct it, and {REMEDY}"
        )
    return {
        name: [] if not cell.size else np.asarray(cell if in_rows else cell.T).tolist()
        for name, cell in cells.items()
    }


def ways_of(path: Path, name: str, cell: np.ndarray) -> set[str]:
    """The shapes, 2 x n or n x 2, that a cell can be read as; empty if neither gives ranges."""
    if not cell.size:
        return {COLUMNS, ROWS}
    whole = cell.dtype.kind in "iuf" and np.isfinite(cell).all() and not np.any(cell % 1)
    if not whole or cell.ndim != 2 or 2 not in cell.shape:
        raise DDLError(
            f"{path}: clip {name}: expected 2 x n whole numbers (first and last "
            f"frames), found shape {cell.shape}; {REMEDY}"
        )
    if cell.shape != (2, 2):
        return {COLUMNS if len(cell) == 2 else ROWS}
    if np.array_equal(cell, cell.T):
        return {COLUMNS, ROWS}
    return {shape for shape, ranges in ((COLUMNS, cell.T), (ROWS, cell)) if follow(ranges)}


def follow(ranges: np.ndarray) -> bool:
    """Whether ranges, n x 2 in any order, do not end before they begin and do not overlap."""
    ends = ranges[np.argsort(ranges[:, 0])].ravel()
    return bool(np.all(ranges[:, 0] <= ranges[:, 1]) and np.all(ends[1:-1:2] < ends[2::2]))
