"""Play footage like a network camera: Motion JPEG over HTTP, in real time.

It is used to try or measure a watch without a camera.
"""

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2

from data_prep.footage.frames import read_frames
from data_prep.footage.layouts import Clip
from ddllib.errors import DDLError

QUALITY = 95  # of the JPEGs, per cent
READY_S = 60  # seconds within which the process has to start


@contextmanager
def broadcast(clips: Sequence[Clip], rate: float) -> Iterator[str]:
    """Play clips one after the other at `rate` frames per second; yields the address.

    A separate process plays them once to the first client, from the first frame on; later clients
    get status 404. Frames are sent at fixed times: a late frame does not delay those after it. The
    process ends with the context.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe()
    process = context.Process(target=_serve, args=(list(clips), rate, sender), daemon=True)
    process.start()
    try:
        sender.close()
        yield f"http://127.0.0.1:{_port(receiver)}/video"
    finally:
        process.terminate()
        process.join()


def _port(pipe) -> int:
    try:
        if pipe.poll(READY_S):
            return pipe.recv()
    except EOFError:  # the process has ended
        pass
    raise DDLError("the local camera did not start; free some memory and try again")


def _serve(clips: list[Clip], rate: float, port) -> None:
    remaining = iter(clips)  # shared by all clients, so that each clip is played once

    class Camera(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            first = next(remaining, None)
            if first is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            started = time.monotonic()
            for number, jpeg in enumerate(_jpegs([first, *remaining])):
                time.sleep(max(started + number / rate - time.monotonic(), 0))
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
                except ConnectionError:
                    return  # the client has disconnected

    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        server.daemon_threads = True
        port.send(server.server_port)
        server.serve_forever()


def _jpegs(clips: Sequence[Clip]) -> Iterator[bytes]:
    for clip in clips:
        for frame in read_frames(clip, colour=True):
            yield cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
