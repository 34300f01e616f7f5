"""Run by `data_prep.matlab` in a process of its own: FILE VARIABLE TARGET -> TARGET, an .npz.

It imports nothing of the project, so that it starts at once. The last line on stderr says why it
failed; status 3 says that the file has no such variable, 4 that it is of version 7.3.
"""

import contextlib
import resource
import sys

import numpy as np

MEMORY = 1 << 32  # bytes; what unpacks to more is refused


def plain(cell) -> np.ndarray:
    """A cell as an array that is no pickle; whole numbers below 256 take a byte each."""
    array = np.asarray(cell)
    if array.dtype.kind not in "buif":
        return np.array("no numbers")
    small = array.astype(np.uint8) if np.isfinite(array).all() else array
    return small if (small == array).all() else array


def main(path: str, variable: str, target: str) -> None:
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=[variable])
    except NotImplementedError:
        sys.exit(4)
    if not isinstance(content.get(variable), np.ndarray):
        sys.exit(3)
    cells = content[variable].ravel()
    np.savez(target, **{str(k): plain(cell) for k, cell in enumerate(cells)})


if __name__ == "__main__":
    with contextlib.suppress(OSError, ValueError):  # not every system has these limits
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    main(*sys.argv[1:])
