"""Propose settings for a user's own footage from a look at it, and save them as a profile."""

import hashlib
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from data_prep.footage.frames import duration, frame_size, tidy_rate
from data_prep.footage.glancing import at_own_levels
from data_prep.footage.layouts import IMAGES, VIDEOS, Clip, Footage, find_footage, visible
from data_prep.footage.video import USUAL_RATE, open_file, steady
from data_prep.tracks.detectors.base import AUTO
from data_prep.tracks.detectors.motion import MotionDetector
from data_prep.tracks.detectors.weights import PACKAGES, find_local, installed
from ddllib.errors import DDLError
from ddllib.io.files import write_json, write_whole
from ddllib.io.reading import read_json, read_yaml
from ddllib.paths import OWN_PROFILES, PROFILES, find_path, runs_root

OWN_CAMERA = "own-camera"  # the profile for footage whose settings are proposed from itself
ENOUGH_ALARMS = 5  # independent alarms; with fewer a threshold is a guess
LOWEST_RATE = 0.1  # frames per second, the lowest value of the setting
RATE = 10.0  # frames per second, as of UCSD Ped2: three frames span a step of a walking person
CLIPS, FRAMES = 3, 300  # the first frames of so many clips are looked at
SIDE_FILES = frozenset(  # endings of files that often lie beside footage; no note about them
    {".txt", ".md", ".csv", ".json", ".xml", ".yaml", ".yml", ".ini", ".srt", ".mat", ".npy", ".db"}
)
MAX_NAMED = 3  # ignored files that a remark names
FEW_WINDOWS = 1000  # with fewer a remark asks for more; UCSD Ped2 has 2,500 training frames
SIZES = (96, 128, 192, 256)  # pixels, those that may be proposed
LARGE_ENOUGH = 6  # pixels of an object's smaller side, as of people in UCSD Ped2 at size 192


@dataclass(frozen=True)
class Proposal:
    """One setting's proposed value and the reason for it, a sentence."""

    name: str
    value: float | int | str | None
    reason: str


@dataclass(frozen=True)
class Advice:
    """Proposals for some footage; `settings` are the values for `ddllib.settings.load_profile`."""

    proposals: Sequence[Proposal]
    remarks: Sequence[str] = ()

    @property
    def settings(self) -> dict:
        return {p.name: p.value for p in self.proposals if p.value is not None}

    def lines(self) -> list[str]:
        """A line for each proposal and each remark."""
        lines = [f"{p.name}: {p.value} - {p.reason}" for p in self.proposals]
        return [*lines, *(f"note: {remark}" for remark in self.remarks)]


def write_profile(name: str, source: str | Path, advice: Advice) -> Path:
    """Save the proposals as the profile `name`, each value below its reason; returns its path.

    The profile is `own-camera` for this footage: chapters and commands then need no other
    parameter. Raises DDLError for a name that is taken or cannot be a file name.
    """
    path = OWN_PROFILES / f"{name}.yaml"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        raise DDLError(f"profile {name!r}: expected letters, digits, - and _, such as yard")
    if not str(source).isprintable():
        raise DDLError(f"{ascii(str(source))}: a name that no profile can hold; rename it")
    for place in (path, PROFILES / path.name):
        if place.exists():
            raise DDLError(f"{place}: there already; choose another name, or remove it")
    defaults = usual_values()
    names = ("dataset", "latent_dim", "epochs", "threshold_share", "alarms_per_hour")
    lines = [f"# Footage of one's own, as `python -m data_prep advise --profile {name}` proposed."]
    lines += [_line("profile", name), _line("data", str(source))]
    lines += [_line(word, defaults[word]) for word in names]
    for proposal in advice.proposals:
        lines += textwrap.wrap(proposal.reason, 96, initial_indent="# ", subsequent_indent="# ")
        lines.append(_line(proposal.name, proposal.value))
    content = "\n".join(lines).encode() + b"\n"
    write_whole(path, lambda file: file.write(content))
    return path


def usual_values() -> dict:
    """The values of the profile ``own-camera``; proposals replace some of them."""
    return read_yaml(PROFILES / f"{OWN_CAMERA}.yaml")


def _line(name: str, value) -> str:
    return f"{name}: {json.dumps(value, ensure_ascii=False)}"  # JSON is YAML, whatever the text


def advise(source: str | Path) -> Advice:
    """Look at normal footage, a folder or one video, and propose settings for it.

    Proposes `frame_rate`, `size` and `detector`. A few hundred frames are decoded. Raises DDLError
    for footage that cannot be read.
    """
    footage = at_own_levels(find_footage(source))
    clips = list(footage.clips["training"].values())
    if not clips:
        raise DDLError(f"{source}: no training clips; give a folder of normal footage")
    some_clips = clips[:: max(len(clips) // CLIPS, 1)][:CLIPS]
    rates = [measured_rate(clip) for clip in some_clips if not clip.frames]
    rate = min((rate for rate in rates if rate), default=None)
    lower_rate = None if rate is None or rate < 1.3 * RATE else RATE  # None: no frame is dropped
    frame_rate = propose_rate(rate, lower_rate)
    size = propose_size(footage.at_rate(lower_rate), some_clips)
    ignored_files = passed_over(source, footage)
    notes = list(remarks(footage, frame_rate.value, ignored_files))
    return Advice([frame_rate, size, propose_detector()], notes)


def kept_advice(source: str) -> dict:
    """The proposals from the first look at this footage, as values of settings.

    They are saved below the runs, so that footage that grows keeps its settings and its run; remove
    the file for a new look. Raises DDLError for footage that cannot be read and for an edited file.
    """
    name = hashlib.sha256(source.encode()).hexdigest()[:16]
    path = runs_root() / OWN_CAMERA / f"advised-{name}.json"
    if not path.is_file():
        write_json(path, {"data": source, **advise(find_path(source)).settings})
    values = read_json(path, "what was proposed for footage", "remove it")
    if values.pop("data", None) != source:
        raise DDLError(f"{path}: not what was proposed for {source}; remove it")
    return values


def measured_rate(clip: Clip) -> float | None:
    """Frames per second of a video's beginning, by their times; None for a single frame."""
    with open_file(clip.path) as video:
        pictures = islice(steady(video, video.rate), FRAMES)
        times = [picture.time_s for picture in pictures]
    return len(times) / duration(times) if len(times) > 1 else None


def propose_rate(rate: float | None, proposed: float | None) -> Proposal:
    if rate is None:
        reason = (
            "images in folders, and videos of one frame, tell no time: all are kept, as "
            f"{RATE:g} a second. Alarms an hour are counted by it: set what they were taken at."
        )
        proposed = RATE
    elif proposed is None:
        reason = f"all of the {rate:.3g} frames per second are kept, few enough to show motion."
        # A value is needed here: the default of the profile would drop frames.
        proposed = max(tidy_rate(rate), LOWEST_RATE)
    else:
        reason = (
            f"{rate:.3g} frames per second are recorded, at which the frames of a window hardly "
            f"differ; UCSD Ped2 has {RATE:g}."
        )
    return Proposal("frame_rate", proposed, reason)


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
    boxes_by_frame = islice(MotionDetector().detect(clip), FRAMES)
    return [
        float(min((x1 - x0) / width, (y1 - y0) / height))
        for boxes in boxes_by_frame
        for x0, y0, x1, y1 in boxes[:, :4]
    ]


def propose_detector() -> Proposal:
    weights = find_local("yolo") if installed(PACKAGES["yolo"][0]) else None
    if weights is None:
        order = "motion comes first, as it needs no weights and YOLO's are not here"
    else:
        order = f"YOLO comes first, as its weights are here ({weights.name}); then motion"
    reason = f"{order}; where hardly anything can be followed, boxes are drawn at random."
    return Proposal("detector", AUTO, reason)


def remarks(footage: Footage, rate: float | None, passed: Sequence[str]) -> Iterator[str]:
    """Remarks for the owner of the footage."""
    clips = footage.clips["training"].values()
    total, defaults = sum(stated_frames(clip, rate) for clip in clips), usual_values()
    alarms = defaults["alarms_per_hour"]
    if total < FEW_WINDOWS:
        yield f"about {total} frames are little to learn from; {FEW_WINDOWS} or more are better."
    target = f"{alarms:g} false alarm{'s' * (alarms != 1)} an hour"
    hours = ENOUGH_ALARMS / alarms / defaults["threshold_share"]
    if rate and total / rate / 3600 < hours:
        yield (
            f"a threshold for {target}, the usual one, takes about {hours:.0f} hours of normal "
            "footage to be more than a guess; with less, ask for more alarms an hour."
        )
    if passed:
        yield (
            f"passed over, as their names are of no video or image: {len(passed)} "
            f"({', '.join(passed[:MAX_NAMED])}{', ...' * (len(passed) > MAX_NAMED)}); rename or "
            "convert them if they are normal footage."
        )
    if not footage.clips["testing"]:
        yield "all of it is taken as normal; keep out what should raise an alarm."


def passed_over(source: str | Path, footage: Footage) -> list[str]:
    """Names of files beside the training clips, within `source`, that are neither read nor known.

    Files that often lie beside footage (`SIDE_FILES`) are left out.
    """
    parents = dict.fromkeys(clip.path.parent for clip in footage.clips["training"].values())
    places = [place for place in parents if place.is_relative_to(source)]
    endings = VIDEOS | IMAGES | SIDE_FILES
    files = [path for place in places for path in visible(place) if path.is_file()]
    return sorted(path.name for path in files if path.suffix.lower() not in endings)


def stated_frames(clip: Clip, rate: float | None) -> int:
    """The number of a clip's frames at that rate at most, as its files state it."""
    if clip.frames:
        return len(clip.frames)
    with open_file(clip.path) as video:
        recorded = video.rate
        # If a container only estimates its count, its rate is an estimate, too; the length is not.
        count = video.stated_count() or video.stated_seconds() * (recorded or USUAL_RATE)
    return round(count * (rate / recorded if rate and recorded and recorded > rate else 1))
