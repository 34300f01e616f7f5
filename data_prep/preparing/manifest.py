"""The manifest of prepared data: checksums, versions, and the check of a folder against it."""

import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path

from ddllib.data import check_tracks, read_manifest, read_tracks
from ddllib.errors import DDLError

FORMAT = 2
LARGE_FILE = 1 << 26  # bytes; of a larger file only the ends are read for its checksum
PACKAGES = (
    "numpy",
    "opencv-python",
    "av",
    "boxmot",
    "ultralytics",
    "openvino",
    "torch",
    "torchvision",
)


def file_checksum(path: Path) -> str:
    """SHA-256 of a file, as `sha256sum` prints it."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def source_checksum(root: Path, files: Iterable[Path]) -> str:
    """SHA-256 over the names and the bytes of files; a copied folder has the same.

    Of a file above 64 MiB, such as a long video, only the first and last MiB are read; its size and
    the time of its last change are used instead of the rest.
    """
    digest, end = hashlib.sha256(), 1 << 20
    for path in files:
        facts = path.stat()
        name = Path(os.path.relpath(path, root)).as_posix()
        digest.update(f"{name}\0{facts.st_size}\0".encode())
        with open(path, "rb") as file:
            if facts.st_size <= LARGE_FILE:
                digest.update(file.read())
                continue
            digest.update(f"{facts.st_mtime_ns}\0".encode())
            digest.update(file.read(end))
            file.seek(-end, os.SEEK_END)
            digest.update(file.read())
    return digest.hexdigest()


def checksums(out: Path, manifest: dict) -> dict[str, str]:
    """SHA-256 of every file of the prepared folder `out`, by path relative to it.

    Raises DDLError if its manifest lacks one.
    """
    by_path = {
        f"{split}/{name}.npy": record.get("sha256")
        for split, records in manifest["clips"].items()
        for name, record in records.items()
    } | {"tracks.csv": None, **manifest.get("sha256", {})}
    for path, checksum in by_path.items():
        if not isinstance(checksum, str) or ".." in Path(path).parts or Path(path).is_absolute():
            raise DDLError(f"{out / 'manifest.json'}: no checksum of {path}; prepare again")
    return by_path


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape the prepared data."""
    by_name = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            by_name[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return by_name


def verify(out: str | Path) -> dict:
    """Check a prepared folder against its manifest; returns the manifest.

    Raises DDLError for a missing or changed file and for a track outside its clip or frame.
    """
    out = Path(out)
    manifest = read_manifest(out / "manifest.json")
    for name, checksum in checksums(out, manifest).items():
        if not (out / name).is_file():
            raise DDLError(f"{out / name}: missing, though the manifest lists it; prepare again")
        if file_checksum(out / name) != checksum:
            raise DDLError(
                f"{out / name}: changed since it was prepared (SHA-256 differs); "
                "prepare again into another folder"
            )
    check_tracks(out / "tracks.csv", read_tracks(out / "tracks.csv"), manifest)
    return manifest
