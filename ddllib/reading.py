"""Files that others may have written: JSON, YAML and arrays, read without trust.

Nothing that is read is executed, a small file cannot claim much memory, and whatever is wrong with
a file ends in one ``DDLError`` that names it. ``expected`` and ``remedy`` are the words of its
message: what the file should be, and what to do.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import yaml

from ddllib.errors import DDLError

TEXT = 1 << 26  # bytes of a JSON or YAML file at most
ARRAYS = 1 << 30  # bytes of the arrays of one .npz at most


class _PlainLoader(yaml.SafeLoader):
    """Plain values only: no tags, no aliases (ten lines of them can stand for a billion values)."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.YAMLError(f"an alias (*name) in line {mark.line + 1}; write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        for k, name in enumerate(names):
            if name in names[:k]:
                raise yaml.YAMLError(f"{name!r} stands twice")
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node):
        value = super().construct_yaml_int(node)
        if abs(value) >= 1 << 63:
            raise yaml.YAMLError(f"a number too large in line {node.start_mark.line + 1}")
        return value


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_yaml_int)


def read_yaml(path: Path) -> object:
    """The plain values of a YAML file; tags, aliases and a name that stands twice are refused."""
    text = _text(path, "plain YAML", "correct it")
    try:
        return yaml.load(text, _PlainLoader)  # a SafeLoader
    except Exception as error:  # beside YAMLError: bad dates, too deep nesting
        raise DDLError(f"{path.name}: not plain YAML ({_reason(error)}); correct it") from None


def read_json(path: Path, expected: str, remedy: str) -> dict:
    """The object that a JSON file holds."""
    text = _text(path, expected, remedy)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DDLError(f"{path}: not JSON ({_reason(error)}); {remedy}") from None
    if not isinstance(content, dict):
        raise DDLError(f"{path}: not {expected}; {remedy}")
    return content


def read_array(path: Path, expected: str, remedy: str, mapped: bool = False) -> np.ndarray:
    """The one array of a .npy file, ``mapped`` instead of read into memory if asked for."""
    _check_there(path, expected, remedy)
    try:
        # Numpy believes a header's shape and takes the memory; the map finds the file too short.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(array, np.ndarray):
            if not mapped and array.nbytes > ARRAYS:
                raise ValueError(f"{array.nbytes} bytes, more than {ARRAYS}")
            return array if mapped else np.array(array)
        array.close()
        reason = "several arrays"
    except Exception as error:  # damaged headers make numpy raise almost anything
        reason = _reason(error)
    raise DDLError(f"{path}: not {expected} ({reason}); {remedy}")


def read_arrays(path: Path, expected: str, remedy: str) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name, none of Python objects."""
    _check_there(path, expected, remedy)
    try:
        with zipfile.ZipFile(path) as members:
            size = sum(member.file_size for member in members.infolist())
        if size > ARRAYS:
            raise ValueError(f"it unpacks to {size} bytes, more than {ARRAYS}")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError("it holds a file that is no array")
        return arrays
    except (
        Exception
    ) as error:  # damaged archives make zipfile, zlib and numpy raise almost anything
        raise DDLError(f"{path}: not {expected} ({_reason(error)}); {remedy}") from None


def _text(path: Path, expected: str, remedy: str) -> str:
    _check_there(path, expected, remedy)
    try:
        if path.stat().st_size > TEXT:
            raise ValueError(f"more than {TEXT} bytes")
        return path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise DDLError(f"{path}: not {expected} ({_reason(error)}); {remedy}") from None


def _check_there(path: Path, expected: str, remedy: str) -> None:
    """It is a file: reading a pipe or a device would never end."""
    if not path.is_file():
        raise DDLError(f"{path}: not there; expected {expected}; {remedy}")


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or " ".join(str(error).split())
    return text[:200] or type(error).__name__
