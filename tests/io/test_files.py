"""Files are whole or absent, and a disk's fault is one line."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from ddllib.errors import DDLError
from ddllib.io.files import disk_faults, write_whole, writing

NOISE = np.random.default_rng(0).random(200_000)  # 1.6 MB that no compression makes smaller

WRITERS = {
    "bytes": lambda file: file.write(NOISE.tobytes()),
    "npy": lambda file: np.save(file, NOISE),
    "npz": lambda file: np.savez_compressed(file, first=NOISE, second=NOISE),
    "torch": lambda file: torch.save({"a": torch.from_numpy(NOISE)}, file),
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("room", [0, 700_000])
def test_a_full_disk_is_one_line_and_keeps_the_earlier_file(disk, kind, room):
    path = disk.folder / "kept"
    path.write_bytes(b"earlier")
    with (
        disk.full(room),
        pytest.raises(DDLError, match=r"kept: cannot be written \(.*\); .* and run again") as error,
    ):
        write_whole(path, WRITERS[kind])
    assert "\n" not in str(error.value)
    assert path.read_bytes() == b"earlier"
    assert [p.name for p in disk.folder.iterdir()] == ["kept"]
    write_whole(path, WRITERS[kind])
    assert path.stat().st_size > 1_000_000


def test_a_fault_of_the_writer_is_not_taken_for_one_of_the_disk(tmp_path):
    with pytest.raises(ValueError, match="of its own"), writing(tmp_path / "new"):
        raise ValueError("of its own")
    with pytest.raises(KeyboardInterrupt), writing(tmp_path / "new"):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_read_is_not_told_as_written(tmp_path):
    with pytest.raises(FileNotFoundError, match="source"), writing(tmp_path / "out" / "new"):
        (tmp_path / "source").read_bytes()


def test_a_place_below_a_file_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DDLError, match="file/new: cannot be written .*through a file"):
        write_whole(tmp_path / "file" / "new", WRITERS["bytes"])


def test_a_read_only_place_asks_for_another(tmp_path):
    with (
        pytest.raises(DDLError, match="Read-only file system.; choose a folder you may write to"),
        disk_faults(tmp_path),
    ):
        raise OSError(30, "Read-only file system")


def test_halves_of_writers_that_are_gone_are_removed(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    halves = [tmp_path / f"a.json.{pid}.tmp" for pid in (process.pid, os.getppid(), "x")]
    other = tmp_path / f"b.json.{process.pid}.tmp"
    for half in (*halves, other):
        half.touch()
        os.utime(half, (1e9, 1e9))
    young = tmp_path / f"a.json.{process.pid}0.tmp"  # perhaps another machine's
    young.touch()
    write_whole(tmp_path / "a.json", lambda file: file.write(b"{}"))
    assert [half.exists() for half in halves] == [False, True, True]
    assert other.exists() and young.exists()
