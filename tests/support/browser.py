"""Chromium without a window, driven by its debugging protocol: open a page, click, press, touch."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from urllib.request import urlopen

import websocket

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--remote-debugging-port=0", "--remote-allow-origins=*", "--window-size=900,1000"),
)
WAIT_S = 120  # for the browser to begin, and for an answer


class Browser:
    """One page of a browser; ``errors`` are what its console was told of."""

    def __init__(self, folder: Path):
        command = [PROGRAM, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        port_file, deadline = folder / "DevToolsActivePort", time.monotonic() + WAIT_S
        while not (port_file.is_file() and port_file.read_text().strip()):
            assert time.monotonic() < deadline and self._process.poll() is None, "no browser"
            time.sleep(0.1)
        port = port_file.read_text().split()[0]
        with urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            pages = [target for target in json.load(answer) if target["type"] == "page"]
        self._socket = websocket.create_connection(
            pages[0]["webSocketDebuggerUrl"], timeout=WAIT_S, suppress_origin=True
        )
        self._count, self.errors = 0, []
        for domain in ("Page", "Runtime"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters) -> dict:
        """Send a command of the protocol and return its answer."""
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("method") == "Runtime.exceptionThrown":
                self.errors.append(message["params"]["exceptionDetails"])
            if message.get("method") == "Runtime.consoleAPICalled":
                if message["params"]["type"] == "error":
                    self.errors.append(message["params"]["args"])
            if message.get("id") == self._count:
                assert "error" not in message, message
                return message["result"]

    def resize(self, width: int, height: int) -> None:
        """Make the window so many pixels wide and high."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **size)

    def open(self, path: Path, script: bool = True) -> None:
        """Open a file and wait until it is loaded, with or without scripts."""
        self.send("Emulation.setScriptExecutionDisabled", value=not script)
        self.send("Page.navigate", url=path.as_uri())
        deadline = time.monotonic() + WAIT_S
        while self.value("location.href + document.readyState") != f"{path.as_uri()}complete":
            assert time.monotonic() < deadline, "the page is not loaded"
            time.sleep(0.05)

    def value(self, expression: str):
        """The value of an expression in JavaScript."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def place(self, selector: str, x: float = 0.5, y: float = 0.5) -> dict:
        """A point in an element, by its share of width and height, in pixels of the window."""
        box = f"document.querySelector({selector!r}).getBoundingClientRect()"
        self.value(f"document.querySelector({selector!r}).scrollIntoView({{block: 'center'}})")
        left, top, width, height = (
            self.value(f"{box}.{side}") for side in ("left", "top", "width", "height")
        )
        return {"x": left + x * width, "y": top + y * height}

    def drag(self, *points: dict) -> None:
        """Press the mouse at the first point, move it over the others and let it go."""
        button = {"button": "left", "clickCount": 1}
        self.send("Input.dispatchMouseEvent", type="mousePressed", **points[0], **button)
        for point in points[1:]:
            self.send("Input.dispatchMouseEvent", type="mouseMoved", **point, **button)
        self.send("Input.dispatchMouseEvent", type="mouseReleased", **points[-1], **button)

    def point_at(self, point: dict) -> None:
        """Move the mouse without a button."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", **point)

    def tap(self, point: dict) -> None:
        """Touch with a finger."""
        self.send("Emulation.setTouchEmulationEnabled", enabled=True)
        self.send("Input.dispatchTouchEvent", type="touchStart", touchPoints=[point])
        self.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self.send("Emulation.setTouchEmulationEnabled", enabled=False)

    def press(self, key: str) -> None:
        """Press and release a key, such as ``ArrowRight``."""
        codes = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=codes[key],
            )

    def close(self) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait()
