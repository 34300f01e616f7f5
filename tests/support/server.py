"""A local camera: an HTTP server of MJPEG, as most network cameras speak it, and of plain files."""

import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np


def pictures(count, height=48, width=64, start=0):
    """Grey frames H x W x 3, a square that moves by 2 pixels a frame on a still texture."""
    texture = np.random.default_rng(0).integers(60, 100, (height, width, 1)).astype(np.uint8)
    frames = []
    for t in range(start, start + count):
        frame = np.repeat(texture, 3, axis=2)
        frame[8:24, 2 * t % (width - 8) : 2 * t % (width - 8) + 8] = 220
        frames.append(frame)
    return frames


def as_jpeg(frame):
    return cv2.imencode(".jpg", frame)[1].tobytes()


class Camera:
    """Plays a script to each who connects: pictures, pauses (numbers, seconds), or bytes of a file.

    Bytes between pictures are sent as they are.

    ``scripts`` are played one after the other, one to each connection, the last one again and
    again; ``asked`` are the requests as they came.
    """

    def __init__(self, *scripts, pause=0.02, port=0):
        self.scripts, self.pause, self.asked = list(scripts), pause, []
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                camera.asked.append(self.path)
                script = camera.scripts.pop(0) if len(camera.scripts) > 1 else camera.scripts[0]
                try:
                    camera.play(self, script)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # the other side has left

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def play(self, handler, script):
        handler.send_response(200)
        if isinstance(script, bytes):
            handler.send_header("Content-Type", "video/x-msvideo")
            handler.send_header("Content-Length", str(len(script)))
            handler.end_headers()
            handler.wfile.write(script)
            return
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        handler.end_headers()
        for item in script:
            if isinstance(item, bytes):
                handler.wfile.write(item)
                continue
            if not isinstance(item, np.ndarray):
                time.sleep(item)
                continue
            jpeg = as_jpeg(item)
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            handler.wfile.write(head.encode() + jpeg + b"\r\n")
            handler.wfile.flush()
            time.sleep(self.pause)

    @property
    def address(self):
        return f"http://127.0.0.1:{self.port}/video"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def camera(*scripts, pause=0.02):
    playing = Camera(*scripts, pause=pause)
    try:
        yield playing
    finally:
        playing.close()
