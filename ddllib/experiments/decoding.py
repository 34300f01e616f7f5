"""The floor of the benchmark of cameras: a plain loop that decodes and resizes, and scores nothing.

It uses none of the watch's own code for streams, so it says what any program with PyAV spends on
these cameras before it looks at a picture.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import av
import cv2

from ddllib.errors import DDLError

READY_S = 60.0  # seconds within which every camera has to give a frame


def decoding_cores(addresses: Sequence[str], side: int, duration_s: float) -> float:
    """Cores that decoding these streams takes, each frame resized to ``side`` x ``side`` pixels.

    It is measured for ``duration_s`` seconds, once every stream has given a frame; a process of its
    own has a thread for each. Raises ``DDLError`` where a stream gives no frame.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(_cores, list(addresses), side, duration_s).result()


def _cores(addresses: list[str], side: int, duration_s: float) -> float:
    ready, ended = threading.Semaphore(0), threading.Event()

    def decode(address: str) -> None:
        with av.open(address) as container:
            for count, frame in enumerate(container.decode(video=0)):
                cv2.resize(frame.to_ndarray(format="bgr24"), (side, side))
                if not count:
                    ready.release()
                if ended.is_set():
                    return

    threads = [threading.Thread(target=decode, args=(a,), daemon=True) for a in addresses]
    for thread in threads:
        thread.start()
    for address in addresses:
        if not ready.acquire(timeout=READY_S):
            raise DDLError(f"{address}: no frame within {READY_S:g} s")
    cpu, began = time.process_time(), time.monotonic()
    time.sleep(duration_s)
    cores = (time.process_time() - cpu) / (time.monotonic() - began)
    ended.set()
    for thread in threads:
        thread.join()
    return cores
