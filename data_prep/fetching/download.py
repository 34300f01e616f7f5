"""Download official archives of a data set; an interrupted download is resumed.

While `x.zip` arrives it is called `x.zip.part`. `x.zip.part.version` beside it holds the version of
the server's file, so that parts of two versions are never joined. Sizes are in bytes.
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

from data_prep.fetching.unpack import one_line, unpack
from ddllib.errors import DDLError
from ddllib.io.files import disk_faults

TIMEOUT = 30  # seconds without a byte
PAUSES = (1, 3, 9)  # seconds before each retry, as long as no retry brings a byte
BLOCK = 1 << 18
AGENT = "Mozilla/5.0 (compatible; ddl-executable-edition)"  # some hosts refuse Python's own


@dataclass(frozen=True)
class Archive:
    """An official file: its http(s) address and, where known, its size in bytes and SHA-256."""

    address: str
    bytes: int | None = None
    sha256: str | None = None


class Interrupted(Exception):
    """A request failed, but another one may succeed."""


class Unreachable(Interrupted):
    """The server's name is unknown: there is no network, so another request fails as well."""


def download(archives: Sequence[Archive], folder: Path, progress: bool = True) -> None:
    """Fetch all archives into `folder/.download`, unpack each into `folder`, remove `.download`.

    Raises DDLError as `fetch` and `unpack` do. After an error the next call does only the rest.
    """
    names = [file_name(archive.address) for archive in archives]
    if len(set(names)) < len(names):
        raise DDLError(f"{', '.join(names)}: two addresses end in one file name; fetch them apart")
    store = Path(folder) / ".download"
    for path in [fetch(archive, store, progress) for archive in archives]:
        marker = path.with_name(path.name + ".unpacked")
        if not marker.exists():
            unpack(path, folder, progress)
            marker.touch()
    shutil.rmtree(store, ignore_errors=True)


def fetch(archive: Archive, folder: Path, progress: bool = True) -> Path:
    """Download an archive to `folder`, resuming an earlier download; returns its path.

    A file that exists already is used if size and checksum are right, as far as they are known.
    `progress` shows a bar in bytes on stderr. Raises DDLError if the address is not http(s), the
    server cannot be reached or refuses, the file is not the expected one, or the disk is full.
    """
    path = Path(folder) / file_name(archive.address)
    part = path.with_name(path.name + ".part")
    with disk_faults(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            if fault := find_fault(path, archive):
                raise DDLError(f"{path}: {fault}; rename it and run again to fetch it anew")
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
    match = re.fullmatch(r"(?i)https?://[^/?#]+/(?:[^?#]*/)?([^/?#]+)(?:[?#].*)?", address)
    name = urllib.parse.unquote(match[1]) if match else ""
    if name in ("", ".", "..") or not name.isprintable() or re.search(r"[/\\]", name):
        raise DDLError(f"{address!r}: cannot be fetched; expected http(s)://<host>/.../<file name>")
    return name


def refusal(archive: Archive, part: Path, fault: str) -> DDLError:
    remedy = f"run again, or download it by hand into {part.parent} and run again"
    return DDLError(f"{archive.address}: {fault}; {remedy}")


def find_fault(path: Path, archive: Archive) -> str | None:
    """The reason why a file is not the official archive; None if there is none."""
    with open(path, "rb") as file:
        if re.match(rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype\s+html|html)", file.read(512)):
            return "a web page (HTML), expected an archive"
        size = path.stat().st_size
        if not size or archive.bytes not in (None, size):
            return f"{size} bytes, expected {archive.bytes or 'an archive'}"
        file.seek(0)
        if archive.sha256:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
            if checksum != archive.sha256.lower():
                return f"SHA-256 {checksum}, expected {archive.sha256}"
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
    """Make one request; returns when the part has the known size, or the one the server states."""
    start, version = resume_point(archive, part)
    if start and start == archive.bytes:
        return
    with ask(archive.address, start, version) as answer:
        first, total = content_range(answer)
        if answer.status == 416 and start and start == total:
            return
        new_version = version_of(answer)
        changed = first != start or (version and new_version and new_version != version)
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
    """The byte to resume at, and the version of the file that the part belongs to.

    0 if there is neither a version nor a checksum: then nothing would show that parts do not match.
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
    """Raise if the answer is no archive, before anything of the part is overwritten."""
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
        tqdm(total=total, initial=start, **bar) as progress_bar,
    ):
        if not start:  # the part is empty now, so no old bytes get the new version
            version_file(part).write_text(version_of(answer), "latin-1")
        for block in blocks(answer):
            file.write(block)
            progress_bar.update(len(block))


def blocks(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The answer's bytes in blocks; not in `store`, so that its OSErrors are those of the disk."""
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
    """The version of the server's file: a strong ETag, else its date, else empty."""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")


def content_range(answer) -> tuple[int | None, int | None]:
    """The first byte and the size of the whole file, from the header Content-Range."""
    text = answer.headers.get("Content-Range", "")
    match = re.match(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)", text)
    return tuple(group and int(group) for group in match.groups()) if match else (None, None)
