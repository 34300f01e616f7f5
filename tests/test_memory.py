"""Freed memory: kept inside, given back outside; each case in a fresh process of its own."""

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


def in_large_pages():
    """MiB of this process's memory."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("AnonHugePages")) / 1024


def large_pages_once_it_has_grown():
    with keep_freed_memory():
        first = torch.ones(64 * MIB // 4)
        use_large_pages()  # too early
        before = in_large_pages()
        use_large_pages(after=0)
        assert in_large_pages() - before > 55 and first.min() == first.max() == 1
        another = torch.ones(8 * MIB // 4)
        looks, memory._own_memory = [], lambda page: looks.append(page) or []
        use_large_pages(after=0)
        assert not looks and another.numel()
        more = torch.ones(BLOCK * MIB // 4)
        use_large_pages(after=0)
        assert looks == [memory._large_page()] and more.numel()


def large_pages_only_where_memory_is_kept():
    block, memory._own_memory = torch.ones(64 * MIB // 4), None
    use_large_pages(after=0)
    assert block.numel()


def no_large_pages_where_the_system_has_none():
    memory._large_page = lambda: 0
    with keep_freed_memory():
        use_large_pages(after=0)


CASES = [kept_inside, given_back_when_something_fails, another_thread_is_inside, another_c_library]
CASES += [large_pages_once_it_has_grown, large_pages_only_where_memory_is_kept]
CASES += [no_large_pages_where_the_system_has_none]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_freed_memory(case):
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        apart.submit(case).result()
