"""Footage played as a network camera would send it: Motion JPEG over HTTP, in real time.

For trying a watch where no camera is at hand, and for measuring one.
"""

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2

from data_prep.frames import read_frames
from data_prep.layouts import Clip
from ddllib.errors import DDLError

QUALITY = 95  # of the JPEGs, per cent
READY_S = 60  # seconds within which the process has to be there


@contextmanager
def broadcast(clips: Sequence[Clip], rate: float) -> Iterator[str]:
    """Play clips one after the other at `rate` frames per second; gives the address.

    A process of its own plays them from the first frame on, once, to the first who connects; who
    comes later is told that it is over (404). Frames keep to the clock: one that is sent late does
    not delay those after it. The process ends with the context.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(list(clips), rate, theirs), daemon=True)
    process.start()
    try:
        theirs.close()
        yield f"http://127.0.0.1:{_port(ours)}/video"
    finally:
        process.terminate()
        process.join()


def _port(pipe) -> int:
    try:
        if pipe.poll(READY_S):
            return pipe.recv()
    except EOFError:  # it has died
        pass
    raise DDLError("the local camera did not start; free some memory and try again")


def _serve(clips: list[Clip], rate: float, port) -> None:
    played = iter(clips)  # shared: what was played is not played again

    class Camera(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            first = next(played, None)
            if first is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            began = time.monotonic()
            for number, jpeg in enumerate(_jpegs([first, *played])):
                time.sleep(max(began + number / rate - time.monotonic(), 0))
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
                except ConnectionError:
                    return  # whoever watched has left

    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        server.daemon_threads = True
        port.send(server.server_port)
        server.serve_forever()


def _jpegs(clips: Sequence[Clip]) -> Iterator[bytes]:
    for clip in clips:
        for frame in read_frames(clip, colour=True):
            yield cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
