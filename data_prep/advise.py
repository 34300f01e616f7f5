"""Settings for footage of one's own, proposed from what is in it, and kept as a profile."""

import hashlib
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from data_prep.detectors import AUTO
from data_prep.detectors.motion import MotionDetector
from data_prep.detectors.weights import PACKAGES, find_local, installed
from data_prep.frames import duration, frame_size, open_video, tidy_rate, time_of
from data_prep.layouts import IMAGES, VIDEOS, Clip, Footage, find_footage, visible
from ddllib.errors import DDLError
from ddllib.files import write_json, write_whole
from ddllib.reading import read_json
from ddllib.settings import OWN_PROFILES, PROFILES, find_path, load_profile, runs_root
from ddllib.thresholds import ENOUGH as ALARMS

LEAST = 0.1  # frames per second that settings can name
RATE = 10.0  # frames per second: UCSD Ped2's, at which three frames hold a step of a walker
CLIPS, FRAMES = 3, 300  # what is looked at: so many frames at the beginning of so many clips
BESIDE = frozenset(  # what may lie beside footage and is none
    {".txt", ".md", ".csv", ".json", ".xml", ".yaml", ".yml", ".ini", ".srt", ".mat", ".npy", ".db"}
)
NAMED = 3  # files passed over that are named
FEW_WINDOWS = 1000  # UCSD Ped2 has 2,500 training frames
SIZES = (96, 128, 192, 256)
LARGE_ENOUGH = 6  # pixels; an object's smaller side, as of people in UCSD Ped2 at size 192


@dataclass(frozen=True)
class Proposal:
    """One setting's proposed value and the reason for it, a sentence."""

    name: str
    value: float | int | str | None
    reason: str


@dataclass(frozen=True)
class Advice:
    """What footage asks for; `settings` are the values for `ddllib.settings.load_profile`."""

    proposals: Sequence[Proposal]
    remarks: Sequence[str] = ()

    @property
    def settings(self) -> dict:
        return {p.name: p.value for p in self.proposals if p.value is not None}

    def lines(self) -> list[str]:
        """A line for each proposal and each remark."""
        told = [f"{p.name}: {p.value} - {p.reason}" for p in self.proposals]
        return [*told, *(f"note: {remark}" for remark in self.remarks)]


def write_profile(name: str, source: str | Path, advice: Advice) -> Path:
    """Keep what is proposed as the profile `name`, each value below its reason; returns its path.

    It is `own-camera` for this footage: chapters and commands then need no other parameter. Raises
    DDLError for a name that is taken or is no name of a file.
    """
    path = OWN_PROFILES / f"{name}.yaml"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        raise DDLError(f"profile {name!r}: expected letters, digits, - and _, such as yard")
    if not str(source).isprintable():
        raise DDLError(f"{ascii(str(source))}: a name that no profile can hold; rename it")
    for taken in (path, PROFILES / path.name):
        if taken.exists():
            raise DDLError(f"{taken}: there already; choose another name, or remove it")
    usual = load_profile("own-camera").asdict()
    kept = ("dataset", "latent_dim", "epochs", "threshold_share", "alarms_per_hour")
    lines = [f"# Footage of one's own, as `python -m data_prep advise --profile {name}` proposed."]
    lines += [_line("profile", name), _line("data", str(source))]
    lines += [_line(word, usual[word]) for word in kept]
    for proposal in advice.proposals:
        lines += textwrap.wrap(proposal.reason, 96, initial_indent="# ", subsequent_indent="# ")
        lines.append(_line(proposal.name, proposal.value))
    content = "\n".join(lines).encode() + b"\n"
    write_whole(path, lambda file: file.write(content))
    return path


def _line(name: str, value) -> str:
    return f"{name}: {json.dumps(value, ensure_ascii=False)}"  # JSON is YAML, whatever the text


def advise(source: str | Path) -> Advice:
    """Look at normal footage, a folder or one video, and propose settings for it.

    Proposes `frame_rate`, `size` and `detector`. A few hundred frames are decoded. Raises DDLError
    for footage that cannot be read.
    """
    footage = find_footage(source)
    clips = list(footage.clips["training"].values())
    if not clips:
        raise DDLError(f"{source}: no training clips; give a folder of normal footage")
    looked_at = clips[:: max(len(clips) // CLIPS, 1)][:CLIPS]
    rates = [measured_rate(clip) for clip in looked_at if not clip.frames]
    rate = min((rate for rate in rates if rate), default=None)
    wanted = None if rate is None or rate < 1.3 * RATE else RATE
    kept = propose_rate(rate, wanted)
    proposals = [kept, propose_size(footage.at_rate(wanted), looked_at), propose_detector()]
    return Advice(proposals, list(remarks(footage, kept.value, passed_over(source, footage))))


def kept_advice(source: str) -> dict:
    """What was proposed when this footage was first looked at, as values of settings.

    Kept below the runs, so that footage that grows keeps its run; remove the file to look again.
    Raises DDLError for footage that cannot be read and for a file of another hand.
    """
    name = hashlib.sha256(source.encode()).hexdigest()[:16]
    path = runs_root() / "own-camera" / f"advised-{name}.json"
    if not path.is_file():
        write_json(path, {"data": source, **advise(find_path(source)).settings})
    values = read_json(path, "what was proposed for footage", "remove it")
    if values.pop("data", None) != source:
        raise DDLError(f"{path}: not what was proposed for {source}; remove it")
    return values


def measured_rate(clip: Clip) -> float | None:
    """Frames per second of a video's beginning, by their times; None of a single frame."""
    video, times = open_video(clip.path), []
    while len(times) < FRAMES and video.grab():
        times.append(time_of(video, len(times), times[-1] if times else 0.0))
    video.release()
    return len(times) / duration(times) if len(times) > 1 else None


def propose_rate(rate: float | None, wanted: float | None) -> Proposal:
    if rate is None:
        reason = (
            "images in folders, and videos of one frame, tell no time: all are kept, as "
            f"{RATE:g} a second. Alarms an hour are counted by it: set what they were taken at."
        )
        wanted = RATE
    elif wanted is None:
        reason = f"all of the {rate:.3g} frames per second are kept, few enough to show motion."
        wanted = max(tidy_rate(rate), LEAST)  # named, for the profile's own would drop some
    else:
        reason = (
            f"{rate:.3g} frames per second are recorded, at which the frames of a window hardly "
            f"differ; UCSD Ped2 has {RATE:g}."
        )
    return Proposal("frame_rate", wanted, reason)


def propose_size(footage: Footage, clips: Sequence[Clip]) -> Proposal:
    """The smallest size at which most moving objects are more than a few pixels."""
    sides = [s for c in clips for s in moving_sides(footage.clips["training"][c.name])]
    if not sides:
        return Proposal("size", 128, "nothing moves at its beginning, so this is only the usual.")
    typical = float(np.median(sides))
    size = next((s for s in SIZES if s * typical >= LARGE_ENOUGH), SIZES[-1])
    reason = (
        f"the smaller side of what moves is typically {100 * typical:.1f} % of the frame's, "
        f"{size * typical:.0f} pixels at this size."
    )
    return Proposal("size", size, reason)


def moving_sides(clip: Clip) -> list[float]:
    """The smaller relative side of every moving object at a clip's beginning, in (0, 1]."""
    height, width = frame_size(clip)
    found = islice(MotionDetector().detect(clip), FRAMES)
    return [
        float(min((x1 - x0) / width, (y1 - y0) / height))
        for boxes in found
        for x0, y0, x1, y1 in boxes[:, :4]
    ]


def propose_detector() -> Proposal:
    weights = find_local("yolo") if installed(PACKAGES["yolo"][0]) else None
    if weights is None:
        first = "motion comes first, as it needs no weights and YOLO's are not here"
    else:
        first = f"YOLO comes first, as its weights are here ({weights.name}); then motion"
    reason = f"{first}; where hardly anything can be followed, boxes are drawn at random."
    return Proposal("detector", AUTO, reason)


def remarks(footage: Footage, rate: float | None, passed: Sequence[str]) -> Iterator[str]:
    """What else the owner of the footage should know."""
    clips = footage.clips["training"].values()
    total, usual = sum(stated_frames(clip, rate) for clip in clips), load_profile("own-camera")
    if total < FEW_WINDOWS:
        yield f"about {total} frames are little to learn from; {FEW_WINDOWS} or more are better."
    asked = f"{usual.alarms_per_hour:g} false alarm{'s' * (usual.alarms_per_hour != 1)} an hour"
    needed = ALARMS / usual.alarms_per_hour / usual.threshold_share
    if rate and total / rate / 3600 < needed:
        yield (
            f"a threshold for {asked}, the usual one, takes about {needed:.0f} hours of normal "
            "footage to be more than a guess; with less, ask for more alarms an hour."
        )
    if passed:
        yield (
            f"passed over, as their names are of no video or image: {len(passed)} "
            f"({', '.join(passed[:NAMED])}{', ...' * (len(passed) > NAMED)}); rename or convert "
            "them if they are normal footage."
        )
    if not footage.clips["testing"]:
        yield "all of it is taken as normal; keep out what should raise an alarm."


def passed_over(source: str | Path, footage: Footage) -> list[str]:
    """Names of files beside the training clips, within `source`, that are taken for no footage."""
    parents = dict.fromkeys(clip.path.parent for clip in footage.clips["training"].values())
    places = [place for place in parents if place.is_relative_to(source)]
    known = VIDEOS | IMAGES | BESIDE
    files = [path for place in places for path in visible(place) if path.is_file()]
    return sorted(path.name for path in files if path.suffix.lower() not in known)


def stated_frames(clip: Clip, rate: float | None) -> int:
    """Frames of a clip at that rate at most, as its files state them."""
    if clip.frames:
        return len(clip.frames)
    video = open_video(clip.path)
    count, recorded = (video.get(p) for p in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS))
    video.release()
    # Of a container that guesses its count, the rate is a guess too, but not their quotient.
    return round(max(count, 0) * (rate / recorded if rate and recorded > rate else 1))
