"""Fetching official archives from servers that misbehave, and unpacking hostile archives."""

import hashlib
import io
import random
import resource
import shutil
import socket
import stat
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from data_prep.fetching import download as module
from data_prep.fetching import unpack as unpacking
from data_prep.fetching.download import Archive, download, fetch, unpack
from ddllib.errors import DDLError

DATA = random.Random(0).randbytes(100_000)
OTHER = random.Random(1).randbytes(100_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
CUT = 40_000
DATE = "Mon, 01 Jan 2024 00:00:00 GMT"
RESUMED = f"bytes={CUT}-"


class Handler(BaseHTTPRequestHandler):
    """Serves `site.files`, misbehaving as `site` says."""

    def do_GET(self):
        site = self.server.site
        site.ranges.append(self.headers["Range"])
        site.conditions.append(self.headers["If-Range"])
        if self.path in site.redirects:
            return self.answer(302, {"Location": site.redirects[self.path]})
        if site.status or self.path not in site.files:
            return self.answer(site.status or 404)
        data = site.files[self.path]
        start = self.wanted_start(site)
        headers = {**site.headers, **({"Content-Type": site.type} if site.type else {})}
        if start and start >= len(data):
            return self.answer(416, {"Content-Range": f"bytes */{len(data)}"})
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        body = data[start:]
        if site.chunked:
            headers["Transfer-Encoding"] = "chunked"
        else:
            headers["Content-Length"] = len(body) + site.lie
        self.answer(206 if start else 200, headers)
        self.send_body(site, body, site.cuts.pop(0) if site.cuts else None)

    def wanted_start(self, site) -> int:
        unchanged = self.headers["If-Range"] in (None, *site.headers.values())
        if not (self.headers["Range"] and site.ranged and (unchanged or not site.conditional)):
            return 0
        return int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))

    def send_body(self, site, body: bytes, cut: int | None):
        """All of it, or `cut` bytes before the connection closes (or stalls)."""
        part = body[:cut]
        site.sent.append(len(part))
        if site.chunked:
            part = f"{len(body):x}\r\n".encode() + part + (b"" if cut else b"\r\n0\r\n\r\n")
        self.wfile.write(part)
        if site.stalls and cut:
            site.released.wait(5)

    def answer(self, status: int, headers: dict | None = None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, str(value))
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def site(monkeypatch):
    """A server on this machine that has DATA under /a.zip; its attributes set how it behaves."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(module, "PAUSES", (0, 0))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.site = SimpleNamespace(
        root=f"http://127.0.0.1:{server.server_port}",
        files={"/a.zip": DATA},
        headers={"ETag": '"1"'},
        redirects={},
        status=None,  # answer this status to all
        type=None,  # Content-Type
        ranged=True,  # heeds Range
        conditional=True,  # heeds If-Range
        chunked=False,
        stalls=False,  # where it would break off
        lie=0,  # added to Content-Length
        cuts=[],  # bytes after which the next answers break off
        ranges=[],  # what was asked for: Range,
        conditions=[],  # If-Range,
        sent=[],  # and how many bytes were answered
        released=threading.Event(),
    )
    server.site.address = f"{server.site.root}/a.zip"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server.site
    server.site.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def refused(*words):
    """The block raises a DDLError of one line that holds these words."""
    with pytest.raises(DDLError) as error:
        yield
    message = str(error.value)
    assert "\n" not in message
    for word in map(str, words):
        assert word in message


@contextmanager
def full_disk():
    """No file can grow beyond CUT bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (CUT, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def get(site, folder, **facts):
    return fetch(Archive(site.address, **facts), folder, progress=False)


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def leave_part(folder, data: bytes, version: str = '"1"'):
    """What an earlier process left."""
    (folder / "a.zip.part").write_bytes(data)
    (folder / "a.zip.part.version").write_text(version)


@pytest.mark.parametrize("facts", [{}, {"bytes": len(DATA), "sha256": SHA256.upper()}])
def test_a_file_is_fetched_once(site, tmp_path, facts):
    folder = tmp_path / "new folder é"
    assert get(site, folder, **facts) == folder / "a.zip"
    assert get(site, folder, **facts).read_bytes() == DATA
    assert site.ranges == [None] and names(folder) == ["a.zip"]


def test_the_name_is_the_end_of_the_address(site, tmp_path):
    site.files = {"/old%20data/walk%20%C3%A9.zip?dl=1": DATA}
    address = f"{site.root}/old data/walk é.zip?dl=1"
    assert fetch(Archive(address), tmp_path, False) == tmp_path / "walk é.zip"


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("headers", "facts", "condition"),
    [
        ({"ETag": '"1"', "Last-Modified": DATE}, {}, '"1"'),
        ({"ETag": 'W/"1"', "Last-Modified": DATE}, {}, DATE),
        ({}, {"sha256": SHA256}, None),
    ],
    ids=["etag", "date", "checksum"],
)
def test_a_broken_connection_goes_on_where_it_stopped(
    site, tmp_path, headers, facts, condition, chunked
):
    site.headers, site.cuts, site.chunked = headers, [CUT], chunked
    assert get(site, tmp_path, **facts).read_bytes() == DATA
    assert site.ranges == [None, RESUMED] and site.sent == [CUT, len(DATA) - CUT]
    assert site.conditions[1] == condition


def test_a_later_process_goes_on_where_the_last_one_stopped(site, tmp_path, monkeypatch):
    site.cuts = [CUT]
    with monkeypatch.context() as patch, refused(site.address, f"{CUT} of 100000", "by hand"):
        patch.setattr(module, "PAUSES", ())
        get(site, tmp_path)
    assert names(tmp_path) == ["a.zip.part", "a.zip.part.version"]
    assert get(site, tmp_path).read_bytes() == DATA
    assert site.sent == [CUT, len(DATA) - CUT] and names(tmp_path) == ["a.zip"]


def test_without_version_and_checksum_halves_are_not_joined(site, tmp_path):
    site.headers, site.cuts = {}, [CUT]
    assert get(site, tmp_path).read_bytes() == DATA
    assert site.ranges == [None, None]


def test_retries_count_only_when_no_byte_came(site, tmp_path):
    site.cuts = [9_000] * 10
    assert get(site, tmp_path).read_bytes() == DATA
    assert site.sent == [9_000] * 10 + [10_000]


@pytest.mark.parametrize("always", [False, True])
def test_a_server_that_ignores_range_begins_anew(site, tmp_path, always):
    site.ranged, site.cuts = False, [CUT] * (100 if always else 1)
    if always:
        with refused(site.address, f"{CUT} bytes are kept", "by hand"):
            get(site, tmp_path)
        assert len(site.ranges) == 1 + len(module.PAUSES)
        assert "a.zip" not in names(tmp_path)
    else:
        assert get(site, tmp_path).read_bytes() == DATA
        assert site.sent == [CUT, len(DATA)]


@pytest.mark.parametrize("conditional", [True, False])
def test_halves_of_two_versions_are_never_joined(site, tmp_path, conditional):
    leave_part(tmp_path, DATA[:CUT])
    site.files["/a.zip"], site.headers, site.conditional = OTHER, {"ETag": '"2"'}, conditional
    assert get(site, tmp_path).read_bytes() == OTHER
    assert site.conditions[0] == '"1"'


def test_a_new_version_that_breaks_off_resumes_as_the_new_one(site, tmp_path):
    leave_part(tmp_path, DATA[:70_000])
    site.files["/a.zip"], site.headers, site.cuts = OTHER, {"ETag": '"2"'}, [CUT]
    assert get(site, tmp_path).read_bytes() == OTHER
    assert site.ranges == ["bytes=70000-", RESUMED] and site.conditions == ['"1"', '"2"']


@pytest.mark.parametrize(
    ("part", "expected"), [(DATA, []), (DATA + b"more", [len(DATA)])], ids=["whole", "longer"]
)
def test_a_part_that_is_whole_is_kept_and_a_longer_one_begins_anew(site, tmp_path, part, expected):
    leave_part(tmp_path, part)
    assert get(site, tmp_path).read_bytes() == DATA
    assert site.ranges[0] == f"bytes={len(part)}-" and site.sent == expected


def test_a_whole_part_of_known_size_needs_no_server(tmp_path):
    leave_part(tmp_path, DATA)
    archive = Archive("http://127.0.0.1:9/a.zip", bytes=len(DATA), sha256=SHA256)
    assert fetch(archive, tmp_path, False).read_bytes() == DATA


def test_too_long_a_content_length_is_seen_through(site, tmp_path):
    site.lie = 100
    assert get(site, tmp_path).read_bytes() == DATA


@pytest.mark.parametrize(
    ("lie", "ranged", "facts", "word"),
    [
        (100, False, {}, "100000 of 100100"),
        (100, True, {"bytes": len(DATA)}, "has 100100 bytes, expected 100000"),
        (-100, True, {"bytes": len(DATA)}, "has 99900 bytes, expected 100000"),
        (-100, True, {"sha256": SHA256}, SHA256),
    ],
)
def test_a_content_length_that_lies_is_refused(site, tmp_path, lie, ranged, facts, word):
    site.lie, site.ranged = lie, ranged
    with refused(site.address, word, "by hand", tmp_path):
        get(site, tmp_path, **facts)
    assert "a.zip" not in names(tmp_path)


def test_a_stall_ends_and_the_rest_is_fetched(site, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    site.stalls, site.cuts = True, [CUT]
    assert get(site, tmp_path).read_bytes() == DATA
    assert site.ranges == [None, RESUMED]


def test_a_redirect_is_followed_also_to_resume(site, tmp_path):
    site.redirects, site.cuts = {"/old/a.zip": "/a.zip"}, [CUT]
    assert fetch(Archive(f"{site.root}/old/a.zip"), tmp_path, False).read_bytes() == DATA
    assert site.ranges == [None, None, RESUMED, RESUMED]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "/a.zip"], ids=["file", "loop"])
def test_a_redirect_that_leads_nowhere_is_refused(site, tmp_path, target):
    site.redirects = {"/a.zip": target}
    with refused(site.address, "302", "by hand"):
        get(site, tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (403, 1), (500, 3), (503, 3)])
def test_an_http_error_is_one_line(site, tmp_path, status, tries):
    leave_part(tmp_path, DATA[:CUT])
    site.status = status
    with refused(site.address, status, "by hand", tmp_path):
        get(site, tmp_path)
    assert len(site.ranges) == tries
    assert (tmp_path / "a.zip.part").stat().st_size == CUT


def test_a_web_page_is_refused_and_the_part_stays(site, tmp_path):
    leave_part(tmp_path, DATA[:CUT])
    site.type, site.ranged = "text/html; charset=utf-8", False
    with refused(site.address, "HTML", "by hand"):
        get(site, tmp_path)
    assert (tmp_path / "a.zip.part").read_bytes() == DATA[:CUT]


@pytest.mark.parametrize("page", [b"\n<!DOCTYPE  html><p>log in", b"\xef\xbb\xbf<html>", b""])
def test_a_web_page_is_known_by_its_first_bytes(site, tmp_path, page):
    site.files["/a.zip"] = page
    with refused(site.address, "expected an archive", "by hand"):
        get(site, tmp_path)
    assert not {"a.zip", "a.zip.part"} & set(names(tmp_path))


def test_a_wrong_file_is_removed_and_not_resumed(site, tmp_path):
    site.files["/a.zip"] = OTHER
    with refused(site.address, SHA256, hashlib.sha256(OTHER).hexdigest(), "by hand"):
        get(site, tmp_path, sha256=SHA256)
    assert not {"a.zip", "a.zip.part"} & set(names(tmp_path))
    site.files["/a.zip"] = DATA
    assert get(site, tmp_path, sha256=SHA256).read_bytes() == DATA
    assert site.ranges == [None, None]


@pytest.mark.parametrize("facts", [{"bytes": 5}, {"sha256": SHA256}])
def test_a_wrong_finished_file_is_named_and_left_to_the_user(site, tmp_path, facts):
    (tmp_path / "a.zip").write_bytes(b"else")
    with refused(tmp_path / "a.zip", "expected", "rename it"):
        get(site, tmp_path, **facts)
    assert (tmp_path / "a.zip").read_bytes() == b"else" and not site.ranges


@pytest.mark.parametrize("where", ["closed port", "unknown host"])
def test_no_network_is_one_line(site, tmp_path, where):
    with socket.socket() as sock:  # bound but not listening: a connection is refused
        sock.bind(("127.0.0.1", 0))
        hosts = {"closed port": f"127.0.0.1:{sock.getsockname()[1]}", "unknown host": "no.invalid"}
        site.address = f"http://{hosts[where]}/a.zip"
        with refused(site.address, "could not be fetched", f"by hand into {tmp_path} and run"):
            get(site, tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "address",
    [
        *("file:///etc/passwd", "ftp://host/a.zip", "data:text/plain,a", "a.zip", ""),
        *("http://host", "http://host/", "http:///a.zip", "http://host/data/"),
        *("http://host/..", "http://host/%2e%2e", "http://host/..%2Fa", "http://host/a%0Ab"),
    ],
)
def test_other_addresses_are_refused(tmp_path, address):
    with refused(repr(address), "http(s)"):
        fetch(Archive(address), tmp_path)
    assert names(tmp_path) == []


def test_a_full_disk_leaves_the_part_for_later(site, tmp_path):
    with full_disk(), refused(tmp_path, "cannot be written", "run again"):
        get(site, tmp_path)
    assert "a.zip" not in names(tmp_path)
    assert get(site, tmp_path).read_bytes() == DATA
    assert site.ranges == [None, RESUMED]


def test_a_folder_that_cannot_be_made_is_one_line(site, tmp_path):
    (tmp_path / "file").touch()
    with refused(tmp_path / "file", "cannot be written"):
        get(site, tmp_path / "file" / "folder")


class InterruptedBar(module.tqdm):
    """Interrupts after CUT bytes, like Ctrl-C."""

    def update(self, n=1):
        super().update(n)
        if self.n >= CUT:
            raise KeyboardInterrupt


def test_an_interrupt_leaves_the_part_for_later(site, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "tqdm", InterruptedBar)
        patch.setattr(module, "BLOCK", CUT // 10)
        fetch(Archive(site.address), tmp_path)
    size = (tmp_path / "a.zip.part").stat().st_size
    assert CUT <= size < len(DATA) and "a.zip" not in names(tmp_path)
    assert get(site, tmp_path).read_bytes() == DATA
    assert site.ranges == [None, f"bytes={size}-"]


def test_the_bar_starts_where_the_part_ends(site, tmp_path, capsys):
    leave_part(tmp_path, DATA[:CUT])
    fetch(Archive(site.address), tmp_path)
    output = capsys.readouterr()
    assert "40%" in output.err and "100k/100k" in output.err and not output.out
    get(site, tmp_path / "quiet")
    assert capsys.readouterr() == ("", "")


# Unpacking

FILES = {"walk 1/é 01.txt": b"one", "walk 1/deep/02.txt": b"two" * 1000, "read me.txt": b"three"}


def entry(name: str, data: bytes = b"", **attributes) -> tuple[tarfile.TarInfo, io.BytesIO]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, io.BytesIO(data)


def write_tar(path, entries, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for info, data in entries:
            archive.addfile(info, data)
    return path


def write_zip(path, files: dict):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_archive(path, kind: str, files: dict):
    if kind == "zip":
        return write_zip(path, files)
    return write_tar(path, [entry(name, data) for name, data in files.items()], f"w:{kind}")


def contents(folder) -> dict:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("kind", ["zip", "", "gz", "bz2", "xz"])
def test_archives_are_known_by_their_content(tmp_path, kind):
    unpack(write_archive(tmp_path / "data.bin", kind, FILES), tmp_path / "out", False)
    assert contents(tmp_path / "out") == FILES
    assert names(tmp_path / "out") == ["read me.txt", "walk 1"]


@pytest.mark.parametrize("kind", ["zip", "gz"])
def test_what_macos_adds_is_left_out(tmp_path, kind):
    junk = {"__MACOSX/walk 1/._é 01.txt": b"", "walk 1/._x": b"", "walk 1/.DS_Store": b""}
    unpack(write_archive(tmp_path / "a", kind, {**junk, **FILES}), tmp_path / "out", False)
    assert contents(tmp_path / "out") == FILES


def test_names_of_other_systems(tmp_path):
    """Backslashes of Windows; UTF-8 of macOS that is not flagged as such; neither."""
    path = write_zip(tmp_path / "a.zip", {"set\\é\\1.txt": b"1"})
    unpack(path, tmp_path / "flagged", False)
    path.write_bytes(set_zip_flags(path.read_bytes(), 0))
    unpack(path, tmp_path / "unflagged", False)
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\x82s"))  # cp437
    unpack(path, tmp_path / "old", False)
    files = [contents(tmp_path / name) for name in ("flagged", "unflagged", "old")]
    assert files == [{"set/é/1.txt": b"1"}] * 2 + [{"set/és/1.txt": b"1"}]


def set_zip_flags(data: bytes, flags: int) -> bytes:
    """The same archive of one member with other flags, in both of its headers."""
    central = data.index(b"PK\x01\x02") + 8
    field = flags.to_bytes(2, "little")
    return data[:6] + field + data[8:central] + field + data[central + 2 :]


def test_links_that_stay_below_are_kept_or_refused_by_an_early_python(tmp_path, monkeypatch):
    links = [
        entry("a/soft", type=tarfile.SYMTYPE, linkname="1.txt"),
        entry("a/hard", type=tarfile.LNKTYPE, linkname="a/1.txt"),
    ]
    path = write_tar(tmp_path / "a.tgz", [entry("a/1.txt", b"1"), *links])
    if unpacking.FILTER:
        unpack(path, tmp_path / "out", False)
        assert contents(tmp_path / "out") == {"a/1.txt": b"1", "a/soft": b"1", "a/hard": b"1"}
    monkeypatch.setattr(unpacking, "FILTER", {})  # as in Python before 3.11.4
    with refused(path, "'a/soft' is a link", "nothing was unpacked"):
        unpack(path, tmp_path / "early", False)


def test_an_early_python_unpacks_files_that_do_not_run_as_their_owner(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "FILTER", {})
    path = write_tar(tmp_path / "a.tgz", [entry("a/1.txt", b"1", mode=0o6777)])
    unpack(path, tmp_path / "out", False)
    assert contents(tmp_path / "out") == {"a/1.txt": b"1"}
    assert (tmp_path / "out" / "a" / "1.txt").stat().st_mode & 0o7777 == 0o755


LINK = zipfile.ZipInfo("link")
LINK.external_attr = (stat.S_IFLNK | 0o777) << 16
HOSTILE_ZIPS = ["../x", "/x", "a/../../x", "..\\x", "\\x", "C:\\x", "C:x", "__MACOSX/../../x", LINK]
HOSTILE_TARS = [
    entry("../x"),
    entry("/x"),
    entry("a/../../x"),
    entry("soft", type=tarfile.SYMTYPE, linkname="/etc"),
    entry("soft", type=tarfile.SYMTYPE, linkname=".."),
    entry("a/soft", type=tarfile.SYMTYPE, linkname="b/../../../x"),
    entry("._soft", type=tarfile.SYMTYPE, linkname="../x"),
    entry("hard", type=tarfile.LNKTYPE, linkname="../secret"),
    entry("hard", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
    entry("fifo", type=tarfile.FIFOTYPE),
    entry("device", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
]


def member_id(member) -> str:
    info = member[0] if isinstance(member, tuple) else member
    return (
        f"{getattr(info, 'name', getattr(info, 'filename', info))} {getattr(info, 'linkname', '')}"
    )


@pytest.mark.parametrize("member", HOSTILE_ZIPS + HOSTILE_TARS, ids=member_id)
def test_hostile_members_are_refused(tmp_path, member):
    (tmp_path / "secret").write_text("secret")
    path = tmp_path / "archive"
    if isinstance(member, tuple):
        name = member[0].name
        write_tar(path, [entry("good.txt", b"1"), member])
    else:
        name = getattr(member, "filename", member).replace("\\", "/")
        write_zip(path, {"good.txt": b"1", member: b"secret"})
    with refused(path, repr(name), "nothing was unpacked"):
        unpack(path, tmp_path / "out", False)
    assert names(tmp_path) == ["archive", "out", "secret"] and names(tmp_path / "out") == []


@pytest.mark.parametrize("kind", ["zip", "", "gz", "bz2", "xz"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.8])
def test_truncated_archives_are_refused(tmp_path, kind, share):
    path = write_archive(tmp_path / "a", kind, {"a": DATA[:20_000], "b": DATA[:20_000]})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with refused(path, "damaged", "rename it"):
        unpack(path, tmp_path / "out", False)
    assert names(tmp_path / "out") == []


def tar_cut_between_members(path):
    write_archive(path, "", {"a": bytes(512), "b": b""})
    path.write_bytes(path.read_bytes()[:1024])


def gzip_with_wrong_checksum(path):
    data = write_archive(path, "gz", FILES).read_bytes()
    path.write_bytes(data[:-8] + b"\0\0\0\0" + data[-4:])


def zip_with_wrong_data(path):
    data = write_archive(path, "zip", {"a": DATA}).read_bytes()
    path.write_bytes(data[:5000] + b"\0\0\0\0" + data[5004:])


def encrypted_zip(path):
    path.write_bytes(set_zip_flags(write_archive(path, "zip", {"a": b"1"}).read_bytes(), 1))


def not_an_archive(path):
    path.write_bytes(b"Rar!" + DATA)


DAMAGED = [
    *(tar_cut_between_members, gzip_with_wrong_checksum, zip_with_wrong_data),
    *(encrypted_zip, not_an_archive),
]


@pytest.mark.parametrize("write", DAMAGED)
def test_damaged_archives_are_refused(tmp_path, write):
    write(tmp_path / "a")
    with refused(tmp_path / "a", "damaged, encrypted or no zip or tar archive", "rename it"):
        unpack(tmp_path / "a", tmp_path / "out", False)
    assert names(tmp_path / "out") == []


@pytest.mark.parametrize("kind", ["zip", "gz"])
def test_an_archive_without_files_is_refused(tmp_path, kind):
    path = write_archive(tmp_path / "a", kind, {"__MACOSX/x": b""})
    with refused(path, "no files"):
        unpack(path, tmp_path / "out", False)


@pytest.mark.parametrize("existing", ["walk 1/mine.txt", "read me.txt"])
def test_what_exists_is_not_overwritten(tmp_path, existing):
    path, mine = write_zip(tmp_path / "a.zip", FILES), tmp_path / "out" / existing
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with refused(path, tmp_path / "out" / existing.split("/")[0], "exists", "rename it"):
        unpack(path, tmp_path / "out", False)
    assert contents(tmp_path / "out") == {existing: b"mine"}


def test_empty_folders_and_other_entries_are_no_obstacle(tmp_path):
    out = tmp_path / "out"
    (out / "walk 1").mkdir(parents=True)
    (out / "other.txt").write_bytes(b"other")
    (out / ".a.zip.unpacking" / "walk 1").mkdir(parents=True)  # of a run that was killed
    unpack(write_zip(tmp_path / "a.zip", FILES), out, False)
    assert contents(out) == {**FILES, "other.txt": b"other"}
    assert names(out) == ["other.txt", "read me.txt", "walk 1"]


@pytest.mark.parametrize("kind", ["zip", "gz"])
def test_more_than_fits_the_disk_is_refused(tmp_path, monkeypatch, kind):
    path = write_archive(tmp_path / "a", kind, {"small": b"1", "large": bytes(50_000)})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000))
    with refused(path, "'large'", "44096 bytes more than are free", "make room"):
        unpack(path, tmp_path / "out", False)
    assert names(tmp_path / "out") == []


def test_a_full_disk_while_unpacking_leaves_nothing(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "a.zip", {"small": b"1", "large": DATA})
    with full_disk(), refused(tmp_path / "out", "cannot be written"):
        unpack(path, tmp_path / "out", False)
    assert names(tmp_path / "out") == []


@pytest.fixture
def two_archives(site, tmp_path):
    """Two archives on the server, each with a folder of its own."""
    for name in ("a.zip", "b.tgz"):
        files = {f"{name[0]}/1.txt": name.encode()}
        path = write_archive(tmp_path / name, "zip" if name == "a.zip" else "gz", files)
        site.files[f"/{name}"] = path.read_bytes()
        path.unlink()
    return [Archive(f"{site.root}/{name}") for name in ("a.zip", "b.tgz")]


WANTED = {"a/1.txt": b"a.zip", "b/1.txt": b"b.tgz"}


def test_download_fetches_and_unpacks_all(two_archives, tmp_path):
    download(two_archives, tmp_path / "out", progress=False)
    assert contents(tmp_path / "out") == WANTED and names(tmp_path / "out") == ["a", "b"]


def test_what_was_fetched_is_kept_if_a_later_one_fails(site, two_archives, tmp_path):
    good = site.files.pop("/b.tgz")
    with refused(two_archives[1].address, "404"):
        download(two_archives, tmp_path, False)
    assert names(tmp_path) == [".download"] and names(tmp_path / ".download") == ["a.zip"]
    site.files = {"/b.tgz": good}
    download(two_archives, tmp_path, False)
    assert contents(tmp_path) == WANTED and names(tmp_path) == ["a", "b"]


def test_what_was_unpacked_is_kept_if_a_later_one_fails(site, two_archives, tmp_path):
    good, site.files["/b.tgz"] = site.files["/b.tgz"], DATA
    with refused(tmp_path / ".download" / "b.tgz", "damaged", "rename it"):
        download(two_archives, tmp_path, False)
    assert names(tmp_path) == [".download", "a"]
    (tmp_path / ".download" / "b.tgz").unlink()
    site.files = {"/b.tgz": good}
    download(two_archives, tmp_path, False)
    assert contents(tmp_path) == WANTED and names(tmp_path) == ["a", "b"]


def test_two_files_of_one_name_are_refused(site, tmp_path):
    with refused("a.zip", "one file name"):
        download([Archive(site.address), Archive(f"{site.root}/b/a.zip")], tmp_path, False)
    assert not site.ranges
