"""Unpack archives safely: no file outside the folder, none overwritten, all files or none."""

import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath

from tqdm import tqdm

from ddllib.errors import DDLError
from ddllib.io.files import disk_faults

BLOCK = 1 << 18
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError)
JUNK = re.compile(r"__MACOSX$|\._|\.DS_Store$")  # files that macOS adds
LONGEST_HEADER = 1 << 20  # bytes; tarfile reads a header of any length into memory
BOMB_BYTES = 1 << 30  # an archive that unpacks to more bytes than this,
BOMB_RATIO = 100  # and to more than this times its own size, is refused
BYTES_PER_MEMBER = 1 << 12  # that a member takes on a disk at least
# The filter for archives of unknown origin; Python before 3.11.4 has none.
FILTER = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
OFFICIAL = "nothing was unpacked, get the archive from its official address"


def unpack(path: Path, folder: Path, progress: bool = True) -> None:
    """Unpack a zip or tar archive (plain or compressed, recognised by its content) into `folder`.

    Files go to a hidden folder first and are moved when all are there; files that macOS adds are
    left out. Raises DDLError, and leaves nothing behind, if the archive is damaged, would write
    outside the folder (names, links), holds devices, needs more bytes than are free, or if an entry
    of that name exists. All links with `..` are refused, since a chain of them can lead outside.
    """
    path, folder = Path(path), Path(folder)
    work = folder / f".{path.name}.unpacking"
    with disk_faults(folder):
        shutil.rmtree(work, ignore_errors=True)  # left by a run that was killed
        work.mkdir(parents=True)
        try:
            unpack_members(path, work, progress)
            for entry in sorted(work.iterdir()):
                if (folder / entry.name).is_dir():
                    (folder / entry.name).rmdir()  # empty: others were refused before
                entry.rename(folder / entry.name)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def unpack_members(path: Path, work: Path, progress: bool) -> None:
    """Unpack into `work`; raises DDLError for a dangerous member and for a damaged archive."""
    with open(path, "rb") as file:
        members = zip_members if file.read(2) == b"PK" else tar_members
    bar = {"desc": path.name, "unit": " files", "disable": not progress}
    room = free = shutil.disk_usage(work).free
    limit = max(BOMB_BYTES, BOMB_RATIO * path.stat().st_size)
    try:
        for name, size, fault, extract in tqdm(members(path), **bar):
            room -= max(size, BYTES_PER_MEMBER)
            if leaves(name):
                fault = "leaves the folder"
            elif free - room > limit:
                fault = f"is where it unpacks to more than {limit} bytes, no sound archive does"
            elif room < 0:
                fault = f"needs {-room} bytes more than are free, make room"
            if fault:
                raise DDLError(f"{path}: member {name!r} {fault}; {OFFICIAL}")
            parts = PurePosixPath(name).parts
            if parts and not any(JUNK.match(part) for part in parts):
                refuse_existing(path, work.parent / parts[0])
                extract(path=work)
    except (*DAMAGE, RuntimeError, ValueError, OSError) as error:
        if getattr(error, "errno", None) is not None:
            raise  # a fault of the disk; damaged gzip and bz2 raise OSError without a number
        raise DDLError(
            f"{path}: damaged, encrypted or no zip or tar archive ({one_line(error)}); rename it "
            f"and run again to fetch it anew, or unpack it by hand into {work.parent}"
        ) from error
    if not any(work.iterdir()):
        raise DDLError(f"{path}: holds no files; {OFFICIAL}")


def refuse_existing(path: Path, target: Path) -> None:
    if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
        raise DDLError(
            f"{target}: exists already, {path} would unpack over it; rename it, or give another "
            "folder"
        )


def leaves(name: str) -> bool:
    """Whether a name is absolute or has `..` in it, on any system."""
    path = PureWindowsPath(name)
    return bool(path.anchor) or ".." in path.parts


def zip_members(path: Path) -> Iterator[tuple[str, int, str, Callable]]:
    """Name, size in bytes, fault ("" if none) and extracting function of each member."""
    try:
        archive = zipfile.ZipFile(path, metadata_encoding="utf-8")  # macOS does not flag its UTF-8
    except UnicodeDecodeError:
        archive = zipfile.ZipFile(path)
    with archive:
        for info in archive.infolist():
            info.filename = info.filename.replace("\\", "/")  # some Windows tools write those
            fault = "is a link" if stat.S_ISLNK(info.external_attr >> 16) else ""
            yield info.filename, info.file_size, fault, partial(archive.extract, info)


class ShortHeaders(tarfile.TarInfo):
    """Members of a tar archive; refuses extended headers that are too long."""

    def _proc_member(self, archive):  # the method that tarfile names for subclasses
        special = not self.isreg() and not self.isdev() and not self.isdir()
        if special and not self.issym() and not self.islnk() and self.size > LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        return super()._proc_member(archive)


def tar_members(path: Path) -> Iterator[tuple[str, int, str, Callable]]:
    """As `zip_members`; raises tarfile's errors, also for an archive that is cut off."""
    with tarfile.open(path, tarinfo=ShortHeaders) as archive:
        for info in archive:
            fault = "is a device" if info.isdev() else ""
            if (info.issym() or info.islnk()) and leaves(info.linkname):
                fault = f"is a link that leaves the folder ({info.linkname!r})"
            elif (info.issym() or info.islnk()) and not FILTER:
                fault = "is a link, which only Python 3.11.4 and later unpack safely"
            if not FILTER:  # as the filter does: no file that runs as its owner
                info.mode = info.mode & 0o755 | (0o700 if info.isdir() else 0o600)
            yield info.name, info.size, fault, partial(archive.extract, info, **FILTER)
        # tarfile takes a bad header for the end and does not check the compressor's checksum, so
        # the end is checked here and the rest is read.
        archive.fileobj.seek(archive.offset)
        if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("the end is missing")
        while archive.fileobj.read(BLOCK):
            pass


def one_line(error) -> str:
    text = str(getattr(error, "reason", None) or error) or type(error).__name__
    return text.splitlines()[0].rstrip(":")
