"""MATLAB files (version 5 to 7.2), read in a process of their own.

SciPy's reader is compiled code that a damaged file can crash; then only that process ends.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from ddllib.errors import DDLError
from ddllib.io.reading import read_arrays

READER = Path(__file__).with_name("_matlab_reader.py")
TIMEOUT_S = 300  # seconds for reading one file


def load_cells(path: Path, variable: str, expected: str) -> list[np.ndarray]:
    """The cells of one variable as arrays; a cell that holds no numbers is one of text.

    Raises DDLError for a file that is no MATLAB file, lacks the variable, crashes its reader or
    needs more than 4 GiB.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "cells.npz"
        # -P keeps the reader's folder off the module path: SciPy has modules of the same names.
        command = [sys.executable, "-P", str(READER), str(path.resolve()), variable, str(target)]
        try:
            process = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise DDLError(f"{path}: not read within {TIMEOUT_S} s; fetch it again") from None
        if process.returncode == 3:
            raise DDLError(f"{path}: holds no variable `{variable}`; expected {expected}")
        if process.returncode == 4:
            raise DDLError(f"{path}: a MATLAB 7.3 file; save it again with `save -v7`")
        if process.returncode == 5:
            raise DDLError(f"{path}: `{variable}` is no cell array; expected {expected}")
        if process.returncode:
            lines = process.stderr.strip().splitlines() or ["its reader crashed"]
            raise DDLError(f"{path}: not a readable MATLAB file ({lines[-1]}); fetch it again")
        cells = read_arrays(target, "the cells of a MATLAB file", "fetch it again")
    return list(cells["stack"]) if "stack" in cells else [cells[str(k)] for k in range(len(cells))]
