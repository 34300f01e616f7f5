"""Pieces of a page that a reader moves, by ``book/style/touch.js``; without it they are pictures.

Each is HTML with its pictures within; on the site they become files.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from IPython.display import HTML
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from data_prep.footage.pictures import resized
from ddllib.camera.events import against_labels, find_events
from ddllib.camera.normal_counts import RELEASE, release_of
from ddllib.camera.pictures import enlarged, heat
from ddllib.errors import DDLError
from ddllib.figures.plots import to_image
from ddllib.io.files import write_json, write_whole
from ddllib.io.reading import read_json

WIDTH, HEIGHT = 800, 180  # of the chart of scores, in SVG units
TOP = 18  # of them for the names of clips
COLUMNS = 15  # pictures in a row of a timeline's sheet
QUALITY = 60  # of WebP, of 100
KINDS = {"frame": 60, "error map": 35}  # and their quality: noise in a map takes most of its bytes
STORY = "timeline.json"
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Clip:
    """One clip of a timeline: filtered ``scores`` N, ``labels`` N of 0 and 1, and its pictures.

    ``frames`` are N x H x W x 3 and ``maps`` N x H x W x 3, both uint8 BGR.
    """

    name: str
    scores: np.ndarray
    labels: np.ndarray
    frames: np.ndarray
    maps: np.ndarray


def slider(
    pictures: Sequence[np.ndarray], labels: Sequence[str], name: str, alt: str, start: int = 0
) -> HTML:
    """Pictures, C x H x W in [0, 1] each, of which a slider shows one; ``start`` is the first.

    ``labels`` stand beside the slider, one for each picture, ``name`` before it, and ``alt`` says
    in words what the pictures are.
    """
    columns = min(len(pictures), 7)
    images = [np.rint(255 * to_image(picture)).astype(np.uint8)[..., ::-1] for picture in pictures]
    images = [resized(image, enlarged(image.shape[:2])) for image in images]
    return _html(
        "slider.html",
        sheet=_address(_encoded(_sheet(images, columns)), "webp"),
        columns=columns,
        shape=images[0].shape[:2],
        labels=list(labels),
        name=name,
        alt=alt,
        start=start,
    )


def error_pictures(maps: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Error maps N x H x W as pictures N x h x w x 3 BGR of ``shape``, on one scale.

    The scale ends at the 99.9th percentile, and is that of the square root, so that weak errors
    can be seen.
    """
    top = float(np.quantile(maps, 0.999))
    roots = (np.sqrt(np.clip(error / top, 0, 1)) for error in maps)
    return np.stack([heat(root, 1.0, shape) for root in roots])


def write_timeline(
    folder: Path, clips: Sequence[Clip], threshold: float, quiet: float, least: int
) -> None:
    """Write what ``timeline`` shows into ``folder``: its numbers, and two sheets for each clip.

    Of the watch are its ``threshold``, the score ``quiet`` that normal footage usually has, and
    how many frames an event lasts at ``least``.
    """
    for clip in clips:
        for (kind, quality), pictures in zip(KINDS.items(), (clip.frames, clip.maps), strict=True):
            path = folder / _sheet_name(clip.name, kind)
            data = _encoded(_sheet(pictures, COLUMNS), quality)
            write_whole(path, partial(_write, data))
    story = {
        "threshold": threshold,
        "quiet": quiet,
        "release_share": RELEASE,
        "least": least,
        "columns": COLUMNS,
        "shape": list(clips[0].frames.shape[1:3]),
        "clips": [
            {
                "name": clip.name,
                "scores": [round(float(score), 5) for score in clip.scores],
                "labels": [int(label) for label in clip.labels],
            }
            for clip in clips
        ],
    }
    write_json(folder / STORY, story)


def _write(data: bytes, file) -> None:
    file.write(data)


def timeline(folder: Path, caption: str = "") -> HTML:
    """The scores of some clips, frame and error map under the pointer, and a threshold to move.

    ``folder`` is one that ``write_timeline`` wrote to; ``caption`` stands below it. Raises
    ``DDLError`` where a file is missing.
    """
    story = read_json(folder / STORY, "a timeline", "restore the folder")
    scores = np.concatenate([clip["scores"] for clip in story["clips"]])
    low, high = float(scores.min()), float(scores.max())
    step, top = WIDTH / len(scores), high + 0.05 * (high - low)
    story |= {"low": low, "high": top, "top": TOP, "width": WIDTH, "height": HEIGHT}

    def y(score: float) -> float:
        return round(TOP + (HEIGHT - TOP) * (top - score) / (top - low), 1)

    lines, abnormal, sheets, first = [], [], {}, 0
    for clip in story["clips"]:
        x = (first + np.arange(len(clip["scores"]))) * step
        points = " ".join(f"{a:.1f},{y(b)}" for a, b in zip(x, clip["scores"], strict=True))
        lines.append({"points": points, "x": round(x[0] + 3, 1), "name": f"clip {clip['name']}"})
        for start, stop in _stretches(clip["labels"]):
            abnormal.append((round((first + start) * step, 1), round((stop - start) * step, 1)))
        sheets[clip["name"]] = [_read(folder / _sheet_name(clip["name"], kind)) for kind in KINDS]
        clip["sheets"] = [_address(data, "webp") for data in sheets[clip["name"]]]
        first += len(clip["scores"])
    highest = max(story["clips"], key=lambda clip: max(clip["scores"]))
    index = int(np.argmax(highest["scores"]))
    pictures = [_cell(data, index, story) for data in sheets[highest["name"]]]
    return _html(
        "timeline.html",
        story=story,
        peak=list(zip(KINDS, (_address(data, "webp") for data in pictures), strict=True)),
        peak_x=round(int(scores.argmax()) * step, 1),
        width=WIDTH,
        height=HEIGHT,
        abnormal=abnormal,
        lines=lines,
        level=y(story["threshold"]),
        count=len(scores),
        told=threshold_sentence(story, story["threshold"]),
        caption=caption,
        alt="score over time of "
        + ", ".join(line["name"] for line in lines)
        + "; abnormal frames are shaded, and a line is the threshold",
    )


def threshold_sentence(story: Mapping, threshold: float) -> str:
    """What a threshold gives on a timeline's clips, in a sentence; ``touch.js`` says the same."""
    release = release_of(threshold, story["quiet"])
    met = np.zeros(3, int)
    for clip in story["clips"]:
        scores = np.array(clip["scores"])
        events = find_events(scores, threshold, release, 1.0, least_s=story["least"])
        met += against_labels(events, np.array(clip["labels"]))
    hits, abnormal, false = met
    return (
        f"threshold {threshold:.4f}: {hits} of {abnormal} abnormal stretches raise an alarm, "
        f"{false} false alarm{'' if false == 1 else 's'}"
    )


def _stretches(labels: Sequence[int]) -> np.ndarray:
    """First and last but one of each run of ones, n x 2."""
    return np.flatnonzero(np.diff([0, *labels, 0])).reshape(-1, 2)


def _sheet(pictures: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Pictures h x w x 3 in rows of one large picture; what is left over is black."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    sheet = np.zeros((rows * height, columns * width, 3), np.uint8)
    for k, picture in enumerate(pictures):
        y, x = k // columns * height, k % columns * width
        sheet[y : y + height, x : x + width] = picture
    return sheet


def _cell(data: bytes, index: int, story: Mapping) -> bytes:
    """Picture ``index`` of an encoded sheet, encoded."""
    sheet, (height, width) = cv2.imdecode(np.frombuffer(data, np.uint8), 1), story["shape"]
    y, x = index // story["columns"] * height, index % story["columns"] * width
    return _encoded(sheet[y : y + height, x : x + width])


def _encoded(image: np.ndarray, quality: int = QUALITY) -> bytes:
    return cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()


def _address(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _sheet_name(clip: str, kind: str) -> str:
    return f"{clip}-{kind.replace(' ', '-')}s.webp"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DDLError(f"{path}: cannot be read ({error.strerror}); restore the folder") from error


def _html(template: str, **values) -> HTML:
    return HTML(_TEMPLATES.get_template(template).render(**values))
