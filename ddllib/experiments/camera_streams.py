"""Local cameras for measurements: H.264 in MPEG-TS over HTTP, in real time, any number of them.

ffmpeg encodes a clip once and then only copies it, so a stream costs little beside its watch.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

from ddllib.errors import DDLError

NOISE = 2.0  # grey levels, the deviation of a sensor's noise; without it H.264 is too easy
KEY_EVERY_S = 2.0  # seconds between two pictures that are coded by themselves
CHUNK = 1 << 14  # bytes


def program() -> str:
    """The path of ffmpeg; ``DDLError`` where it is not installed."""
    path = shutil.which("ffmpeg")
    if not path:
        raise DDLError("ffmpeg: not installed; it makes the streams to measure by; install it")
    return path


def encode(path: Path, frames: Iterable[np.ndarray], rate: float) -> None:
    """Write frames, H x W x 3 uint8 BGR, as H.264 as cameras send it: 4:2:0, no picture ahead.

    An odd height or width loses its last row or column. Raises ``DDLError`` for no frame, and
    where ffmpeg cannot write.
    """
    images = iter(frames)
    first = next(images, None)
    if first is None:
        raise DDLError(f"{path}: no frame to write; expected at least one")
    height, width = first.shape[0] // 2 * 2, first.shape[1] // 2 * 2
    command = [program(), "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "bgr24"]
    command += ["-s", f"{width}x{height}", "-r", f"{rate:g}", "-i", "-", "-c:v", "libx264"]
    command += ["-preset", "veryfast", "-pix_fmt", "yuv420p", "-bf", "0"]
    command += ["-g", str(round(KEY_EVERY_S * rate)), str(path)]
    encoder = subprocess.Popen(command, stdin=subprocess.PIPE)
    for image in chain([first], images):
        encoder.stdin.write(image[:height, :width].tobytes())
    encoder.stdin.close()
    if encoder.wait():
        raise DDLError(f"{path}: ffmpeg could not write it; see the lines above")


def encode_walkway(
    path: Path, size: tuple[int, int], rate: float, seconds: float, index: int = 0
) -> None:
    """Write ordinary minutes of the generated walkway (``encode``), ``size`` height and width.

    Each ``index`` gives other minutes of the same camera.
    """
    from data_prep.demo import ordinary

    random = np.random.default_rng(index)

    def noisy(frame: np.ndarray) -> np.ndarray:
        large = cv2.resize(np.ascontiguousarray(frame[..., ::-1]), size[::-1])
        return (large + random.normal(0, NOISE, (*size, 1))).clip(0, 255).astype(np.uint8)

    encode(path, map(noisy, ordinary(0, index, round(rate * seconds))), rate)


@contextmanager
def served(clips: Sequence[Path], apart_s: float = 0.0, once: bool = False) -> Iterator[str]:
    """Play videos in real time to each who connects; yields an address.

    Every path below the address, a number from 0, is a camera of its own. Number k plays video k,
    with fewer videos than cameras one after the other again; it begins k times ``apart_s`` seconds
    after the video's beginning, so that not all show the same at once. It repeats the video without
    end, or, with ``once``, hangs up at its end, and the next connection begins anew.
    """
    playing: set[subprocess.Popen] = set()

    class Camera(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            number = int(self.path.strip("/"))
            command = [program(), "-v", "quiet", "-re", "-stream_loop", "0" if once else "-1"]
            command += ["-ss", f"{number * apart_s:g}", "-i", str(clips[number % len(clips)])]
            # With its length stated, a frame is known to be whole before the next one begins.
            command += ["-c", "copy", "-f", "mpegts", "-omit_video_pes_length", "0", "pipe:1"]
            player = subprocess.Popen(command, stdout=subprocess.PIPE)
            playing.add(player)
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            try:
                while chunk := player.stdout.read1(CHUNK):
                    self.wfile.write(chunk)
            except OSError:
                pass  # the client has disconnected
            finally:
                player.kill()
                player.wait()
                playing.discard(player)

    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            for player in list(playing):
                player.kill()
