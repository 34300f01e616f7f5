"""Freed memory: kept inside, given back outside."""

import os
import threading
from pathlib import Path

import pytest
import torch

from ddllib import memory
from ddllib.memory import keep_freed_memory

pytestmark = pytest.mark.skipif(memory._c_library() is None, reason="another C library")
MIB = 2**20


def held():
    """MiB that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB


def after_freeing(mib):
    block = torch.ones(mib * MIB // 4)
    del block
    return held()


def test_freed_memory_is_kept_inside_and_given_back_at_the_end():
    before = held()
    with keep_freed_memory():
        assert after_freeing(512) - before > 450
        with keep_freed_memory():
            pass
        assert after_freeing(512) - before > 450  # the inner end ends nothing
    assert held() - before < 60
    assert after_freeing(512) - before < 60


def test_it_is_given_back_when_something_fails():
    before = held()
    with pytest.raises(KeyError), keep_freed_memory():
        after_freeing(512)
        raise KeyError
    assert held() - before < 60


def test_who_leaves_first_ends_nothing_for_another_thread():
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
    kept = after_freeing(512) - before
    leave.set()
    thread.join()
    assert kept > 450 and held() - before < 60


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory, "_c_library", lambda: None)
    before = held()
    with keep_freed_memory():
        assert after_freeing(512) - before < 60
