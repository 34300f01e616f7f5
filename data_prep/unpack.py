"""Archives unpacked safely: nothing leaves the folder, nothing is overwritten, all or nothing."""

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
from ddllib.files import disk_faults

BLOCK = 1 << 18
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError)
JUNK = re.compile(r"__MACOSX$|\._|\.DS_Store$")  # what macOS adds
HEADER = 1 << 20  # bytes; tarfile reads a header of any length into memory
BLOAT = 100  # how many times its own size an archive may unpack to, beyond
SMALL = 1 << 30  # bytes
LEAST = 1 << 12  # bytes that a member takes of a disk at least
OFFICIAL = "nothing was unpacked, get the archive from its official address"


def unpack(path: Path, folder: Path, progress: bool = True) -> None:
    """Unpack a zip or tar archive (plain or compressed, told by its content) into `folder`.

    All goes to a hidden folder there first and is moved out when whole; what macOS adds is left
    out. Raises DDLError, and leaves nothing behind, if the archive is damaged, would write outside
    the folder (names, links), holds devices, needs more bytes than are free, or if an entry of
    that name exists. Links with `..` are refused even if they stay inside: chains of them do not.
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
                    (folder / entry.name).rmdir()  # empty, or it would have been refused
                entry.rename(folder / entry.name)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def unpack_members(path: Path, work: Path, progress: bool) -> None:
    """Unpack the harmless into `work`; raises DDLError for the rest and for a damaged archive."""
    with open(path, "rb") as file:
        members = zip_members if file.read(2) == b"PK" else tar_members
    bar = {"desc": path.name, "unit": " files", "disable": not progress}
    room = free = shutil.disk_usage(work).free
    sound = max(SMALL, BLOAT * path.stat().st_size)  # more is a bomb, however large the disk is
    try:
        for name, size, fault, extract in tqdm(members(path), **bar):
            room -= max(size, LEAST)
            if leaves(name):
                fault = "leaves the folder"
            elif free - room > sound:
                fault = f"is where it unpacks to more than {sound} bytes, no sound archive does"
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
            raise  # the disk; damaged gzip and bz2 are an OSError too, but without a number
        raise DDLError(
            f"{path}: damaged, encrypted or no zip or tar archive ({one_line(error)}); remove it "
            f"and run again to fetch it anew, or unpack it by hand into {work.parent}"
        ) from error
    if not any(work.iterdir()):
        raise DDLError(f"{path}: holds no files; {OFFICIAL}")


def refuse_existing(path: Path, target: Path) -> None:
    if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
        raise DDLError(
            f"{target}: exists already, {path} would unpack over it; move it away and run again"
        )


def leaves(name: str) -> bool:
    """Whether a name is absolute or leads upwards, on any system."""
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
    """Members whose extended headers are of sound length."""

    def _proc_member(self, archive):  # the method that tarfile names for subclasses
        special = not self.isreg() and not self.isdev() and not self.isdir()
        if special and not self.issym() and not self.islnk() and self.size > HEADER:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        return super()._proc_member(archive)


def tar_members(path: Path) -> Iterator[tuple[str, int, str, Callable]]:
    """As `zip_members`; raises tarfile's errors, also for an archive that was cut."""
    with tarfile.open(path, tarinfo=ShortHeaders) as archive:
        for info in archive:
            fault = "is a device" if info.isdev() else ""
            if (info.issym() or info.islnk()) and leaves(info.linkname):
                fault = f"is a link that leaves the folder ({info.linkname!r})"
            yield info.name, info.size, fault, partial(archive.extract, info, filter="data")
        # tarfile takes a bad header for the end, and leaves the compressor's checksum unread.
        archive.fileobj.seek(archive.offset)
        if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("the end is missing")
        while archive.fileobj.read(BLOCK):
            pass


def one_line(error) -> str:
    text = str(getattr(error, "reason", None) or error) or type(error).__name__
    return text.splitlines()[0].rstrip(":")
