"""The local page of all cameras, which reloads by itself; it only reads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from ddllib.camera.event_page import TEMPLATES
from ddllib.camera.events import clock
from ddllib.camera.status import Status
from ddllib.errors import DDLError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
RELOAD_S = 5  # seconds after which a browser asks again
KINDS = {  # of the files of a camera's folder that are shown
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".svg": "image/svg+xml",
    ".webm": "video/webm",
    ".json": "application/json",
    ".csv": "text/csv",
}


class StatusPage:
    """Serves the page and the cameras' folders at ``host`` and ``port``, in threads of its own.

    ``statuses`` gives what to show; ``folders`` are by the name of the camera. Nothing can be
    changed by it. At a loopback address it answers only to the names of this machine, so that no
    page of the internet can read it through the browser. Raises ``DDLError`` for an address that is
    taken or not there.
    """

    def __init__(
        self,
        host: str,
        port: int,
        statuses: Callable[[], Sequence[Status]],
        folders: Mapping[str, Path],
    ):
        page = self
        self.statuses, self.folders, self.host = statuses, dict(folders), host

        class Handler(BaseHTTPRequestHandler):
            timeout = 30  # seconds; a client that says nothing is left

            def log_message(self, *_):
                pass

            def do_GET(self):
                page.answer(self)

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise DDLError(
                f"page: {host}:{port} cannot be served ({error.strerror or error}); choose another "
                "port, or an address of this machine"
            ) from None
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True, name="page")

    @property
    def address(self) -> str:
        """What a browser is given."""
        return f"http://{self.host}:{self._server.server_port}/"

    def __enter__(self) -> StatusPage:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        asked_host = request.headers.get("Host", "").rpartition(":")[0] or "localhost"
        if self.host in LOOPBACK and asked_host.strip("[]") not in LOOPBACK:
            request.send_error(403)
            return
        parts = unquote(request.path.partition("?")[0]).strip("/").split("/")
        if parts == [""]:
            content, kind = self.page().encode("utf-8", "replace"), KINDS[".html"]
        else:
            path = self._file(parts)
            if path is None:
                request.send_error(404)
                return
            content, kind = path.read_bytes(), KINDS[path.suffix]
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(content)))
        request.send_header("X-Content-Type-Options", "nosniff")
        request.send_header("Cache-Control", "no-store")
        request.end_headers()
        request.wfile.write(content)

    def page(self) -> str:
        """The page as HTML."""
        return TEMPLATES.get_template("cameras.html").render(
            reload_s=RELOAD_S, cameras=[_shown(status) for status in self.statuses()]
        )

    def _file(self, parts: list[str]) -> Path | None:
        """The file of ``<camera>/<name>``; a camera's name alone is its page of events."""
        name, file = parts if len(parts) == 2 else (None, None)
        hidden = not file or file.startswith(".") or "\\" in file or "\0" in file
        if name not in self.folders or hidden or Path(file).suffix not in KINDS:
            return None
        path = self.folders[name] / file
        return path if path.is_file() and not path.is_symlink() else None


def _shown(status: Status) -> dict:
    """What the template shows of one camera."""
    last, delay = status.last_frame_s, status.delay_95_s
    reused = status.reused / max(status.scored, 1)
    return {
        "name": status.camera,
        "state": status.state,
        "last": "none yet" if last is None else clock(last),
        "rate": f"{status.frames_per_second:.1f}",
        "reused": f"{100 * reused:.0f} %" if reused else "",
        "dropped": status.dropped,
        "delay": "" if delay is None else f"{delay:.2f} s",
        "events": status.events,
        "free": f"{status.free_bytes / 1e9:.1f} GB",
        "message": status.message,
    }
