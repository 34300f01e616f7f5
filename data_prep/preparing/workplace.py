"""The folder that preparation works in, and the move of finished parts to their place."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from data_prep.preparing.manifest import FORMAT, checksums, file_checksum
from ddllib.data import read_manifest
from ddllib.errors import DDLError
from ddllib.io.files import write_json
from ddllib.io.reading import read_array

PARTS = ("training", "testing", "labels", "masks", "tracks.csv")


def read_finished(out: Path, plan: Mapping) -> dict | None:
    """The manifest of an earlier run of the same request if all its arrays are there.

    The contents of arrays are not read (`verify` does that), only their lengths.
    """
    manifest = read_earlier(out)
    same = manifest and all(manifest.get(name) == value for name, value in plan.items())
    same = same and {s: {*clips} for s, clips in manifest["clips"].items()} == {
        split: {*clips} for split, clips in plan["footage"].items()
    }
    complete = same and all((out / path).is_file() for path in checksums(out, manifest))
    usable = complete and all(
        _describes(record, out / split / f"{name}.npy")
        for split, clips in manifest["clips"].items()
        for name, record in clips.items()
    )
    return manifest if usable else None


def read_earlier(out: Path) -> dict | None:
    """The manifest of an earlier preparation in this format, whatever its request was.

    None if there is none, or if no preparation has written it: then nothing can be reused.
    """
    try:
        manifest = read_manifest(out / "manifest.json")
        checksums(out, manifest)
    except DDLError:
        return None
    return manifest if manifest.get("format") == FORMAT and manifest["clips"] else None


def check_target(source: Path, out: Path) -> None:
    """Raise DDLError for a folder with footage or foreign files: only prepared data is replaced."""
    if out.resolve() in (source.resolve(), *source.resolve().parents):
        raise DDLError(f"{out}: holds the footage itself; give another folder for prepared data")
    manifest = out / "manifest.json"
    ours = is_ours(manifest) or (out / ".partial" / "records").is_dir()
    if not ours and any((out / part).exists() for part in (*PARTS, manifest.name)):
        damaged = " (manifest.json here is damaged or of other work)" * manifest.exists()
        raise DDLError(
            f"{out}: holds files that preparation would replace but did not write; "
            f"give an empty folder{damaged}"
        )


def is_ours(path: Path) -> bool:
    """Whether a manifest was written by a preparation, of this form or an earlier one."""
    try:
        return {"format", "fingerprint"} <= json.loads(path.read_text("utf-8")).keys()
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


def locked(out: Path):
    """Lock the folder against other preparations."""
    (out / ".partial").mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / ".lock", timeout=0)
    try:
        return lock.acquire()
    except Timeout as error:
        raise DDLError(f"{out}: another preparation works in it; wait for its end") from error


def record_file(work: Path, split: str, name: str) -> Path:
    return work / "records" / split / f"{name}.json"


def clear(work: Path, keys: Mapping[str, Mapping[str, str]]) -> None:
    """Remove all files from the work folder except whole clips with the right key."""
    kept_files = set()
    for split, clips in keys.items():
        for name, key in clips.items():
            record, array = record_file(work, split, name), work / split / f"{name}.npy"
            if is_whole(record, array, key):
                kept_files.update((record, array))
    for path in [p for p in work.rglob("*") if p.is_file() and p not in kept_files]:
        path.unlink()


def is_whole(record: Path, array: Path, key: str) -> bool:
    """Whether a clip's record is for this key and its array is the one recorded.

    The checksum also finds an array of which a power cut lost some bytes.
    """
    try:
        facts = json.loads(record.read_text("utf-8"))
        return facts["key"] == key and file_checksum(array) == facts["sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def reuse(out: Path, work: Path, keys: Mapping[str, Mapping[str, str]]) -> None:
    """Link the clips of an earlier preparation that have the right key into the work folder."""
    for split, clips in (read_earlier(out) or {"clips": {}})["clips"].items():
        for name, record in clips.items():
            array, target = out / split / f"{name}.npy", work / split / f"{name}.npy"
            matches = name in keys[split] and keys[split][name] == record.get("key")
            if not matches or target.exists() or not _describes(record, array):
                continue
            if file_checksum(array) != record["sha256"]:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            link(array, target)
            write_json(record_file(work, split, name), record)


def _describes(record: Mapping, array: Path) -> bool:
    """Whether an array exists and has the number of frames in its record."""
    try:
        frames = len(read_array(array, "frames", "", mapped=True))
    except (DDLError, TypeError):  # TypeError: a single value has no length
        return False
    read, numbers = record.get("read", frames), record.get("kept")
    if record["frames"] != frames or not isinstance(read, int) or read < frames:
        return False
    return numbers is None or _are_numbers(numbers, frames, read)


def _are_numbers(numbers, count: int, end: int) -> bool:
    """Whether these are `count` frame numbers below `end`, each larger than the one before."""
    if (
        not isinstance(numbers, list)
        or len(numbers) != count
        or any(type(k) is not int for k in numbers)
    ):
        return False
    return all(a < b for a, b in zip([-1, *numbers], [*numbers, end], strict=True))


def link(array: Path, target: Path) -> None:
    """The same file under a second name, or a copy where the file system has no links."""
    try:
        os.link(array, target)
    except OSError:
        shutil.copy2(array, target)


def move_into_place(work: Path, out: Path, manifest: dict) -> None:
    """Move the finished parts into `out`; the manifest is written last, as readers need it."""
    (out / "manifest.json").unlink(missing_ok=True)
    for part in PARTS:
        target = out / part
        if target.is_dir():
            shutil.rmtree(target)
        if (work / part).exists():
            os.replace(work / part, target)
    if hasattr(os, "sync"):
        os.sync()  # the manifest must not reach the disk before the files that it lists
    write_json(out / "manifest.json", manifest)
    shutil.rmtree(work)


def other_checksums(work: Path) -> dict[str, str]:
    """SHA-256 of the tracks table and of each label and mask file, by path."""
    files = [work / "tracks.csv", *sorted(work.glob("labels/*/*")), *sorted(work.glob("masks/*"))]
    return {f.relative_to(work).as_posix(): file_checksum(f) for f in files}
