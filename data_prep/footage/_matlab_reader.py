"""Run by `matlab` in a process of its own: FILE VARIABLE TARGET -> TARGET, an .npz.

Cells of one shape and type are written as one array, `stack`, which is read much faster; other
cells are written by their numbers.

It imports nothing of the project, so that it starts quickly. The last line on stderr is the error;
status 3 says that the file has no such variable, 4 that it is of version 7.3, 5 that the variable
is no cell array.
"""

import contextlib
import resource
import sys

import numpy as np

MEMORY_LIMIT = 1 << 32  # bytes of this process; a file that unpacks to more is refused


def plain(cell) -> np.ndarray:
    """A cell as an array of numbers or text, so that no pickle is needed; uint8 where it fits."""
    array = np.asarray(cell)
    if array.dtype.kind not in "buif":
        return np.array("no numbers")
    if array.dtype == np.uint8 or not np.isfinite(array).all():
        return array
    small = array.astype(np.uint8)
    return small if (small == array).all() else array


def main(path: str, variable: str, target: str) -> None:
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=[variable])
    except NotImplementedError:
        sys.exit(4)
    if not isinstance(content.get(variable), np.ndarray):
        sys.exit(3)
    if content[variable].dtype != object:
        sys.exit(5)
    cells = [plain(cell) for cell in content[variable].ravel()]
    if len({(cell.shape, cell.dtype) for cell in cells}) == 1:
        np.savez(target, stack=np.stack(cells))
    else:
        np.savez(target, **{str(k): cell for k, cell in enumerate(cells)})


if __name__ == "__main__":
    with contextlib.suppress(OSError, ValueError):  # not every system has these limits
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    main(*sys.argv[1:])
