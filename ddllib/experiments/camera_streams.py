"""Local cameras for measurements: H.264 in MPEG-TS over HTTP, in real time, any number of them.

ffmpeg encodes a clip once and then only copies it, so a stream costs little beside its watch.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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


def encode_walkway(
    path: Path, size: tuple[int, int], rate: float, seconds: float, index: int = 0
) -> None:
    """Write ordinary minutes of the generated walkway as H.264, ``size`` height and width.

    Each ``index`` gives other minutes of the same camera.
    """
    from data_prep.demo import ordinary

    height, width = size
    command = [program(), "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "bgr24"]
    command += ["-s", f"{width}x{height}", "-r", f"{rate:g}", "-i", "-", "-c:v", "libx264"]
    command += ["-preset", "veryfast", "-g", str(round(KEY_EVERY_S * rate)), str(path)]
    random = np.random.default_rng(index)
    encoder = subprocess.Popen(command, stdin=subprocess.PIPE)
    for frame in ordinary(0, index, round(rate * seconds)):
        large = cv2.resize(np.ascontiguousarray(frame[..., ::-1]), (width, height))
        noisy = large + random.normal(0, NOISE, (height, width, 1))
        encoder.stdin.write(noisy.clip(0, 255).astype(np.uint8).tobytes())
    encoder.stdin.close()
    if encoder.wait():
        raise DDLError(f"{path}: ffmpeg could not write it; see the lines above")


@contextmanager
def served(clip: Path, apart_s: float = 0.0) -> Iterator[str]:
    """Play a video again and again in real time to each who connects; yields an address.

    Every path below the address, a number from 0, is a camera of its own. Number k begins k times
    ``apart_s`` seconds after the clip's beginning, so that not all show the same at once.
    """
    playing: set[subprocess.Popen] = set()

    class Camera(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            begin = f"{int(self.path.strip('/')) * apart_s:g}"
            command = [program(), "-v", "quiet", "-re", "-stream_loop", "-1", "-ss", begin]
            command += ["-i", str(clip)]
            command += ["-c", "copy", "-f", "mpegts", "pipe:1"]
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
