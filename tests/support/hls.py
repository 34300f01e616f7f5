"""A camera that sends by HLS: a playlist of whole seconds of video, renewed as they are over."""

import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2

LISTED = 3  # segments that a playlist names, the newest


def segments(frames, folder, rate, length):
    """N x H x W x 3 frames as MPEG-TS segments of ``length`` frames, each with times from 0 on."""
    coder, size = cv2.VideoWriter_fourcc(*"mpg2"), frames[0].shape[1::-1]
    parts = []
    for first in range(0, len(frames), length):
        path = folder / f"{first}.ts"
        video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, coder, rate, size)
        for frame in frames[first : first + length]:
            video.write(frame)
        video.release()
        parts.append(path.read_bytes())
    return parts


@contextmanager
def hls_camera(parts, seconds):
    """Serves the segments, each ``seconds`` long, as time goes on; gives the playlist's address."""
    began = []

    class Camera(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            if not began:
                began.append(time.monotonic())
            name = self.path.partition("?")[0].strip("/")
            over = min(LISTED + int((time.monotonic() - began[0]) / seconds), len(parts))
            body, kind = b"", "video/mp2t"
            if name.endswith(".m3u8"):
                body, kind = playlist(over), "application/vnd.apple.mpegurl"
            else:
                body = parts[int(name.removesuffix(".ts"))]
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def playlist(over):
        first = max(over - LISTED, 0)
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-TARGETDURATION:{seconds}"]
        lines += [f"#EXT-X-MEDIA-SEQUENCE:{first}"]
        for number in range(first, over):
            lines += ["#EXT-X-DISCONTINUITY", f"#EXTINF:{seconds}.0,", f"{number}.ts"]
        if over == len(parts):
            lines.append("#EXT-X-ENDLIST")
        return ("\n".join(lines) + "\n").encode()

    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/live.m3u8"
        finally:
            server.shutdown()
