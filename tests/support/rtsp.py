"""A local RTSP server of Motion JPEG in RTP (RFC 2326, 2435), over one TCP connection."""

import socket
import struct
import threading
import time
from contextlib import contextmanager

from support.server import as_jpeg

SDP = (
    b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
    b"m=video 0 RTP/AVP 26\r\na=control:track0\r\n"
)
ANSWERS = {
    "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n",
    "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n",
    "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
    "PLAY": "Session: 1\r\n",
}


def parts_of(jpeg):
    """A baseline JPEG's quantisation tables and scan, its width, height and colour sampling."""
    tables, at = b"", 2
    while True:
        marker, size = struct.unpack(">HH", jpeg[at : at + 4])
        body = jpeg[at + 4 : at + 2 + size]
        at += 2 + size
        if marker == 0xFFDB:
            tables += b"".join(body[k + 1 : k + 65] for k in range(0, len(body), 65))
        elif marker == 0xFFC0:
            height, width = struct.unpack(">HH", body[1:5])
            sampling = int(body[7] == 0x22)
        elif marker == 0xFFDA:
            return tables, jpeg[at:-2], width, height, sampling


def packets(jpeg, number, stamp):
    """The RTP packets of one frame, each with its head for the TCP connection."""
    tables, scan, width, height, sampling = parts_of(jpeg)
    for at in range(0, len(scan), 1300):
        last = at + 1300 >= len(scan)
        head = struct.pack(">BBHII", 0x80, 26 | last << 7, (number + at // 1300) & 0xFFFF, stamp, 1)
        head += struct.pack(">IBBBB", at, sampling, 255, width // 8, height // 8)
        if at == 0:
            head += struct.pack(">HH", 0, len(tables)) + tables
        packet = head + scan[at : at + 1300]
        yield b"$\0" + struct.pack(">H", len(packet)) + packet


def serve(connection, frames, pause):
    lines = connection.makefile("rb")
    while request := lines.readline().decode().split():
        fields = {}
        while line := lines.readline().decode().strip():
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        method, answer = request[0], f"RTSP/1.0 200 OK\r\nCSeq: {fields['cseq']}\r\n"
        answer += ANSWERS.get(method, "") + "\r\n"
        connection.sendall(answer.encode() + (SDP if method == "DESCRIBE" else b""))
        if method == "PLAY":
            break
    number = 0
    for t, frame in enumerate(frames):
        for packet in packets(as_jpeg(frame), number, 9000 * t):
            connection.sendall(packet)
            number += 1
        time.sleep(pause)
    connection.close()


@contextmanager
def rtsp_camera(frames, pause=0.02):
    """Plays ``frames`` to each who connects, then hangs up; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer(connection):
            try:
                serve(connection, frames, pause)
            except (OSError, KeyError):
                pass  # the other side has left

        def accept():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:  # closed: the test is over
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"rtsp://me:secret@127.0.0.1:{server.getsockname()[1]}/live"
        server.shutdown(socket.SHUT_RDWR)
