"""Safe reading of untrusted files: JSON, YAML and arrays.

Nothing in a file is executed, a small file cannot claim much memory, and any fault of a file raises
a ``DDLError`` that names it. ``expected`` and ``remedy`` are parts of the message: what the file
should be, and what to do.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import yaml

from ddllib.errors import DDLError

MAX_TEXT_BYTES = 1 << 26  # of a JSON or YAML file
MAX_ARRAY_BYTES = 1 << 30  # of all arrays of one .npz


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
    """The plain values of a YAML file; tags, aliases and repeated names are rejected."""
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
        # np.load trusts the shape in the header; a memory map fails where the file is too short.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(array, np.ndarray):
            if not mapped and array.nbytes > MAX_ARRAY_BYTES:
                raise ValueError(f"{array.nbytes} bytes, more than {MAX_ARRAY_BYTES}")
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
        if size > MAX_ARRAY_BYTES:
            raise ValueError(f"it unpacks to {size} bytes, more than {MAX_ARRAY_BYTES}")
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
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise ValueError(f"more than {MAX_TEXT_BYTES} bytes")
        return path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise DDLError(f"{path}: not {expected} ({_reason(error)}); {remedy}") from None


def _check_there(path: Path, expected: str, remedy: str) -> None:
    """Raise unless ``path`` is a regular file: reading a pipe or a device might never end."""
    if not path.is_file():
        raise DDLError(f"{path}: not there; expected {expected}; {remedy}")


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or " ".join(str(error).split())
    return text[:200] or type(error).__name__
