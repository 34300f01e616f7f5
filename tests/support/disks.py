"""Disks that are full or read-only: real ones where tests may mount, else as near as can be."""

import contextlib
import os
import resource
import signal
import subprocess

import pytest


def _mount(*arguments) -> bool:
    """Whether `mount` with these arguments worked; it takes root and a system that lets it."""
    try:
        return not subprocess.run(["mount", *map(str, arguments)], capture_output=True).returncode
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _limited(size, process=0):
    """No file grows beyond `size` bytes: the same class of error as a full disk, for anyone."""
    before = resource.prlimit(process, resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


class Disk:
    """A folder whose disk can be filled up and be given room again."""

    def __init__(self, folder, mounted):
        self.folder, self.mounted = folder, mounted

    @contextlib.contextmanager
    def full(self, room=0, process=0):
        """Leaves `room` bytes free on a mounted disk; otherwise files may not grow beyond it.

        The latter holds for one process, by default this one.
        """
        if not self.mounted:
            with _limited(room, process):
                yield
            return
        ballast = self.folder / ".ballast"
        state = os.statvfs(self.folder)
        with open(ballast, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(state.f_bavail * state.f_frsize - room, 1))
        try:
            yield
        finally:
            ballast.unlink()


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own, 32 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = _mount("-t", "tmpfs", "-o", "size=32m", "tmpfs", folder)
    yield Disk(folder, mounted)
    if mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextlib.contextmanager
def read_only(folder):
    """The folder as a disk that cannot be written; yields whether it is one.

    It is not for root where mounting is not allowed: permission bits do not stop root.
    """
    mounted = _mount("--bind", folder, folder)
    if mounted:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
    modes = {path: path.stat().st_mode for path in [folder, *folder.rglob("*")]}
    if not mounted:
        for path, mode in modes.items():
            path.chmod(mode & 0o555)
    try:
        yield not os.access(folder, os.W_OK)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", folder], check=True)
        else:
            for path, mode in modes.items():
                path.chmod(mode)
