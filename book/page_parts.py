"""What becomes of an executed chapter's outputs on the site: media as files, texts for pictures."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from nbformat import NotebookNode

from ddllib.io.files import write_whole

# Pictures and videos within HTML, as a chapter in JupyterLab needs them.
_EMBEDDED = re.compile(r"data:(?:image|video)/([\w.+-]+);base64,([A-Za-z0-9+/=]+)")
_ENDINGS = {"svg+xml": "svg", "jpeg": "jpg"}
LARGE = 250_000  # bytes of a PNG above which it holds photographs; charts have a tenth of that
JPEG_QUALITY = 88  # of 100; the writing of a figure stays sharp


def move_media(notebook: NotebookNode, folder: Path) -> None:
    """Replace, in place, pictures and videos within HTML by files of ``folder``.

    Their names are checksums, so that what two pages show is one file. Addresses are relative to
    the folder's own. A page then has its words at once; a video is loaded when it is played.
    """

    def filed(match: re.Match) -> str:
        data = base64.b64decode(match[2])
        name = f"{hashlib.sha256(data).hexdigest()[:16]}.{_ENDINGS.get(match[1], match[1])}"
        write_whole(folder / name, lambda file: file.write(data))
        return f"{folder.name}/{name}"

    for _, output in _outputs(notebook):
        page = output.get("data", {}).get("text/html")
        if page:
            text = page if isinstance(page, str) else "".join(page)
            output.data["text/html"] = _EMBEDDED.sub(filed, text)


def add_alt_texts(notebook: NotebookNode) -> None:
    """Tell MyST-NB, in place, the texts of a cell's figures for those who cannot see them.

    ``ddllib.figures.alt_text`` leaves the text in the metadata of a figure's output.
    """
    for cell, output in _outputs(notebook):
        text = output.get("metadata", {}).get("image/png", {}).get("alt")
        if text:
            image = cell.metadata.setdefault("mystnb", {}).setdefault("image", {})
            image["alt"] = f"{image['alt']} {text}" if "alt" in image else text


def lighten_figures(notebook: NotebookNode) -> None:
    """Replace, in place, large PNGs by JPEGs, a fifth of their size."""
    for _, output in _outputs(notebook):
        png = base64.b64decode(output.get("data", {}).get("image/png", ""))
        if len(png) > LARGE:
            image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
            jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
            del output.data["image/png"]
            output.data["image/jpeg"] = base64.b64encode(jpeg.tobytes()).decode()


def _outputs(notebook: NotebookNode) -> Iterator[tuple[NotebookNode, NotebookNode]]:
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            yield cell, output
