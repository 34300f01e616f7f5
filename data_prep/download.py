"""Official archives of a data set, fetched so that a broken download goes on.

While `x.zip` arrives it is called `x.zip.part`; `x.zip.part.version` beside it says which version
of the server's file that is, so that halves of two versions are never joined. Sizes are in bytes.
"""

import hashlib
import http.client
import os
import re
import shutil
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from data_prep.unpack import one_line, unpack
from ddllib.errors import DDLError
from ddllib.files import disk_faults

TIMEOUT = 30  # seconds without a byte
PAUSES = (1, 3, 9)  # seconds before each retry, as long as no retry brings a byte
BLOCK = 1 << 18
AGENT = "Mozilla/5.0 (compatible; ddl-executable-edition)"  # some hosts turn Python's own away


@dataclass(frozen=True)
class Archive:
    """An official file: its http(s) address and, where known, its size in bytes and SHA-256."""

    address: str
    bytes: int | None = None
    sha256: str | None = None


class Interrupted(Exception):
    """A request failed in a way that another request may mend."""


class Unreachable(Interrupted):
    """The server's name is not known here: there is no network, and asking again won't help."""


def download(archives: Sequence[Archive], folder: Path, progress: bool = True) -> None:
    """Fetch all archives into `folder/.download`, unpack each into `folder`, drop `.download`.

    Raises DDLError as `fetch` and `unpack` do. Run again after that, it does only the rest.
    """
    names = [file_name(archive.address) for archive in archives]
    if len(set(names)) < len(names):
        raise DDLError(f"{', '.join(names)}: two addresses end in one file name; fetch them apart")
    store = Path(folder) / ".download"
    for path in [fetch(archive, store, progress) for archive in archives]:
        done = path.with_name(path.name + ".unpacked")
        if not done.exists():
            unpack(path, folder, progress)
            done.touch()
    shutil.rmtree(store, ignore_errors=True)


def fetch(archive: Archive, folder: Path, progress: bool = True) -> Path:
    """Download an archive to `folder`, going on where an earlier run stopped; returns its path.

    A file that is there already is taken if size and checksum fit, as far as they are known.
    `progress` shows a bar in bytes on stderr. Raises DDLError if the address is not http(s), the
    server cannot be reached or refuses, the file is not the expected one, or the disk is full.
    """
    path = Path(folder) / file_name(archive.address)
    part = path.with_name(path.name + ".part")
    with disk_faults(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            if fault := find_fault(path, archive):
                raise DDLError(f"{path}: {fault}; remove it and run again to fetch it")
            return path
        receive(archive, part, progress)
        if fault := find_fault(part, archive):
            part.unlink()
            raise refusal(archive, part, f"{fault}; it was removed")
        os.replace(part, path)
        version_file(part).unlink(missing_ok=True)
    return path


def file_name(address: str) -> str:
    """The file name at the end of an address; raises DDLError unless that is http or https."""
    found = re.fullmatch(r"(?i)https?://[^/?#]+/(?:[^?#]*/)?([^/?#]+)(?:[?#].*)?", address)
    name = urllib.parse.unquote(found[1]) if found else ""
    if name in ("", ".", "..") or not name.isprintable() or re.search(r"[/\\]", name):
        raise DDLError(f"{address!r}: cannot be fetched; expected http(s)://<host>/.../<file name>")
    return name


def refusal(archive: Archive, part: Path, fault: str) -> DDLError:
    remedy = f"run again, or download it by hand into {part.parent} and run again"
    return DDLError(f"{archive.address}: {fault}; {remedy}")


def find_fault(path: Path, archive: Archive) -> str | None:
    """What shows that a file is not the official archive; None if nothing does."""
    with open(path, "rb") as file:
        if re.match(rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype\s+html|html)", file.read(512)):
            return "a web page (HTML), expected an archive"
        size = path.stat().st_size
        if not size or archive.bytes not in (None, size):
            return f"{size} bytes, expected {archive.bytes or 'an archive'}"
        file.seek(0)
        if archive.sha256:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != archive.sha256.lower():
                return f"SHA-256 {found}, expected {archive.sha256}"
    return None


def receive(archive: Archive, part: Path, progress: bool) -> None:
    """Ask for the file until the part is whole; gives up when retries bring nothing new."""
    reached, failures = size_of(part), 0
    while True:
        try:
            return transfer(archive, part, progress)
        except Interrupted as error:
            if size_of(part) > reached:
                reached, failures = size_of(part), 0
            if failures == len(PAUSES) or isinstance(error, Unreachable):
                kept = f"{size_of(part)} bytes are kept"
                raise refusal(archive, part, f"could not be fetched, {error}, {kept}") from error
            time.sleep(PAUSES[failures])
            failures += 1


def transfer(archive: Archive, part: Path, progress: bool) -> None:
    """One request; returns once the part is as long as known, or as the server says."""
    start, version = resume_point(archive, part)
    if start and start == archive.bytes:
        return
    with ask(archive.address, start, version) as answer:
        first, total = content_range(answer)
        if answer.status == 416 and start and start == total:
            return
        now = version_of(answer)
        changed = first != start or (version and now and now != version)
        if answer.status == 416 or (answer.status == 206 and changed):
            part.unlink(missing_ok=True)
            raise Interrupted("what was fetched did not fit the file on the server")
        if not total and getattr(answer, "length", None) is not None:
            total = (first or 0) + answer.length
        check_answer(archive, part, answer, total)
        total = total or archive.bytes
        store(answer, part, start if answer.status == 206 else 0, total, progress)
    if total is not None and size_of(part) != total:
        raise Interrupted(f"the connection broke off at {size_of(part)} of {total} bytes")


def resume_point(archive: Archive, part: Path) -> tuple[int, str]:
    """Where to go on, and the version of the file that the part belongs to.

    Begins anew (0) if neither a version nor a checksum would show that the halves do not fit.
    """
    record = version_file(part)
    version = record.read_text("latin-1").strip() if record.exists() else ""
    return (size_of(part) if version or archive.sha256 else 0), version


def ask(address: str, start: int, version: str) -> http.client.HTTPResponse:
    """Request the file, from byte `start` on if it still has that version; returns any answer."""
    address = urllib.parse.quote(address, safe="%/:?#[]@!$&'()*+,;=~")  # spaces, letters such as é
    request = urllib.request.Request(address, headers={"User-Agent": AGENT})
    if start:
        request.add_header("Range", f"bytes={start}-")
    if start and version:
        request.add_header("If-Range", version)
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as answer:
        return answer
    except (OSError, http.client.HTTPException, ValueError) as error:
        unknown = isinstance(getattr(error, "reason", None), socket.gaierror)
        raise (Unreachable if unknown else Interrupted)(one_line(error)) from error


def check_answer(archive: Archive, part: Path, answer, total: int | None) -> None:
    """Raises if the answer is no archive, before the part is cut for it."""
    fault = f"the server answered {answer.status} ({one_line(answer)})"
    if answer.status in (408, 429, 500, 502, 503, 504):
        raise Interrupted(fault)
    if answer.status not in (200, 206):
        raise refusal(archive, part, fault)
    if answer.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise refusal(archive, part, "the server sent a web page (HTML), expected an archive")
    if total and archive.bytes and total != archive.bytes:
        raise refusal(archive, part, f"the server has {total} bytes, expected {archive.bytes}")


def store(answer, part: Path, start: int, total: int | None, progress: bool) -> None:
    """Append the answer to the part (from `start`), or begin the part anew (at 0)."""
    bar = {"desc": part.stem, "unit": "B", "unit_scale": True, "disable": not progress}
    with (
        open(part, "ab" if start else "wb") as file,
        tqdm(total=total, initial=start, **bar) as shown,
    ):
        if not start:  # the old part is gone by now: its bytes never get the new version
            version_file(part).write_text(version_of(answer), "latin-1")
        for block in blocks(answer):
            file.write(block)
            shown.update(len(block))


def blocks(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The bytes as they come; apart from `store`, so that faults of net and disk stay apart."""
    try:
        while block := answer.read1(BLOCK):
            yield block
    except (OSError, http.client.HTTPException) as error:
        raise Interrupted(f"the connection broke off ({one_line(error)})") from error


def size_of(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def version_file(part: Path) -> Path:
    return part.with_name(part.name + ".version")


def version_of(answer) -> str:
    """What tells versions of a file apart: a strong ETag, else the date, else nothing."""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")


def content_range(answer) -> tuple[int | None, int | None]:
    """The first byte and the size of the whole file, as Content-Range tells them."""
    text = answer.headers.get("Content-Range", "")
    found = re.match(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)", text)
    return tuple(group and int(group) for group in found.groups()) if found else (None, None)
