"""Memory that is kept inside, given back outside, and moved; each case in a process of its own."""

import contextlib
import ctypes
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from ddllib import memory
from ddllib.memory import keep_freed_memory, use_large_pages

pytestmark = pytest.mark.skipif(memory._c_library() is None, reason="another C library")
MIB = 2**20
BLOCK = 512  # MiB
LARGER = 3 * BLOCK  # than any hole that such blocks leave in the heap


def held():
    """MiB that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB


def after_freeing(mib):
    block = torch.ones(mib * MIB // 4)
    del block
    return held()


def kept_inside():
    before = held()
    with keep_freed_memory():
        assert after_freeing(BLOCK) - before > 450
        with keep_freed_memory():
            pass
        assert after_freeing(BLOCK) - before > 450  # the inner end ends nothing
    assert held() - before < 60
    assert after_freeing(LARGER) - before < 60


def given_back_when_something_fails():
    before = held()
    with pytest.raises(KeyError), keep_freed_memory():
        after_freeing(BLOCK)
        raise KeyError
    assert held() - before < 60


def another_thread_is_inside():
    inside, leave = threading.Event(), threading.Event()

    def other():
        with keep_freed_memory():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(10)
    before = held()
    with keep_freed_memory():
        pass
    kept = after_freeing(BLOCK) - before  # who leaves first ends nothing
    leave.set()
    thread.join()
    assert kept > 450 and held() - before < 60


def another_c_library():
    memory._c_library = lambda: None
    before = held()
    with keep_freed_memory():
        assert after_freeing(LARGER) - before < 60


@contextlib.contextmanager
def pages(warm=0):
    """Kept memory, with a system that has large pages; which spans it was asked to move there."""
    asked = []
    library = Library(asked)
    memory._c_library, memory._large_page = lambda: library, lambda: 2 * MIB
    with keep_freed_memory(warm):
        yield asked


class Library:
    """The C library, but for madvise."""

    def __init__(self, asked):
        self.asked, self.own = asked, ctypes.CDLL(None)
        self.mallopt, self.malloc_trim = self.own.mallopt, self.own.malloc_trim

    def madvise(self, start, size, advice):
        self.asked.append((start.value, size.value, advice))


def moved_once_and_again_after_growth():
    with pages() as asked:
        block = torch.ones(64 * MIB // 4)
        use_large_pages()
        inside = [start <= block.data_ptr() + 32 * MIB < start + size for start, size, _ in asked]
        assert sum(inside) == 1
        assert all(not start % (2 * MIB) and not size % (2 * MIB) for start, size, _ in asked)
        count = len(asked)
        use_large_pages()
        assert len(asked) == count
        more = torch.ones(BLOCK * MIB // 4)
        use_large_pages()
        assert len(asked) > count and more.numel()


def not_moved_at_once_nor_where_it_is_not_kept():
    with pages(warm=None) as asked:
        use_large_pages()
        with keep_freed_memory(warm=0):
            use_large_pages()  # the outer one's work is not warm yet
        assert not asked
    memory.WARM = 0
    with pages(warm=None) as asked:
        use_large_pages()
        assert asked
    asked.clear()
    use_large_pages()
    assert not asked


def not_moved_where_the_system_says_no():
    with pages() as asked:
        memory._large_page = lambda: 0
        use_large_pages()
        memory._large_page = missing
        use_large_pages()
        memory._large_page, memory._held = lambda: 2 * MIB, missing
        use_large_pages()
        assert not asked
    memory._c_library = lambda: None
    use_large_pages()


def missing():
    raise PermissionError("/proc is hidden")


def what_lies_there_stays():
    with keep_freed_memory(warm=0):
        block = torch.arange(64 * MIB // 4, dtype=torch.int32)
        use_large_pages()  # for real, where the system has them
        assert block.equal(torch.arange(64 * MIB // 4, dtype=torch.int32))


CASES = [kept_inside, given_back_when_something_fails, another_thread_is_inside, another_c_library]
CASES += [moved_once_and_again_after_growth, not_moved_at_once_nor_where_it_is_not_kept]
CASES += [not_moved_where_the_system_says_no, what_lies_there_stays]


@pytest.mark.parametrize(
    "enabled, size, expected",
    [
        ("always [madvise] never", 2 * MIB, 2 * MIB),
        ("always madvise [never]", 2 * MIB, 0),
        ("[always] madvise never", BLOCK * MIB, 0),
    ],
)
def test_a_large_page(tmp_path, monkeypatch, enabled, size, expected):
    (tmp_path / "enabled").write_text(enabled)
    (tmp_path / "hpage_pmd_size").write_text(f"{size}\n")
    monkeypatch.setattr(memory, "_PAGES", tmp_path)
    assert memory._large_page.__wrapped__() == expected


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_memory(case):
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        apart.submit(case).result()
