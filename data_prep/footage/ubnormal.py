"""UBnormal (Acsintoae et al., CVPR 2022) as its archive unpacks::

    SceneN/<video>.mp4
    SceneN/<video>_annotations/<video>_tracks.txt   object,first,last: frames counted from 0
    normal_training_video_names.txt                 which videos a split has: the six lists of
                                                    the data set's repository, put here or in
                                                    `scripts`

Training clips are the normal videos of the training split. Test clips are all videos of the
validation split, as in STPA (section 4, Table 2); where its lists are not there, those of the test
split. Frames have labels; the maps of objects are not read as pixel masks.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from data_prep.footage.folders import visible
from data_prep.footage.naming import natural_key
from data_prep.footage.trees import Clip, open_clip
from ddllib.errors import DDLError

LAYOUT = "UBnormal"
LABELLING = "tracks"
KINDS = ("normal", "abnormal")
SCENE = re.compile(r"(?:ab)?normal_scene_([0-9]+)_.+")
Ranges = list[tuple[int, int]]


def ubnormal_clips(root: Path) -> tuple[dict[str, dict[str, Clip]], list[str]]:
    """Clips by split and name, and notes on listed videos that are not there.

    Raises DDLError if a list of names is missing, or if no video of a split is there.
    """
    clips: dict[str, dict[str, Clip]] = {}
    notes = []
    for split, names in split_names(root).items():
        paths = {name: video_path(root, name) for name in sorted(names, key=natural_key)}
        missing = [name for name, path in paths.items() if not path.is_file()]
        if len(missing) == len(paths):
            raise DDLError(
                f"{root}: none of the {len(paths)} videos for {split} is there; expected "
                f"{video_path(root, missing[0]).relative_to(root)} and others; unpack the scenes"
            )
        clips[split] = {n: open_clip(p, split) for n, p in paths.items() if n not in missing}
        if missing:
            notes.append(f"{len(missing)} of {len(paths)} listed {split} videos are absent")
    return clips, notes


def split_names(root: Path) -> dict[str, list[str]]:
    """The names of the videos of each split."""
    part = "validation" if find_list(root, "normal", "validation") else "test"
    return {
        "training": read_names(root, "normal", "training"),
        "testing": [name for kind in KINDS for name in read_names(root, kind, part)],
    }


def find_list(root: Path, kind: str, part: str) -> Path | None:
    """The list of a split's videos in the folder of the scenes or in its `scripts`."""
    places = (root / f"{kind}_{part}_video_names.txt", root / "scripts")
    paths = (places[0], places[1] / places[0].name)
    return next((path for path in paths if path.is_file()), None)


def read_names(root: Path, kind: str, part: str) -> list[str]:
    path = find_list(root, kind, part)
    if path is None:
        raise DDLError(
            f"{root}: no {kind}_{part}_video_names.txt; expected the lists of videos from the "
            "folder `scripts` of UBnormal's repository; put them beside the scenes"
        )
    names = path.read_text("utf-8", "replace").split()
    wrong = [name for name in names if not SCENE.fullmatch(name)]
    if wrong or not names:
        raise DDLError(
            f"{path}: {wrong[0] if wrong else 'nothing'} is no name of a video; expected names "
            "such as normal_scene_1_scenario_2, one a line; fetch the list again"
        )
    return names


def scene_folder(root: Path, name: str) -> Path:
    return root / f"Scene{SCENE.fullmatch(name)[1]}"


def video_path(root: Path, name: str) -> Path:
    return scene_folder(root, name) / f"{name}.mp4"


def tracks_path(root: Path, name: str) -> Path:
    return scene_folder(root, name) / f"{name}_annotations" / f"{name}_tracks.txt"


def track_files(root: Path) -> list[Path]:
    """The files of tracks of all abnormal test videos that are there."""
    names = split_names(root)["testing"]
    return [p for name in names if (p := tracks_path(root, name)).is_file()]


def abnormal_ranges(root: Path, clips: Mapping[str, int | None]) -> dict[str, Ranges]:
    """Abnormal frames of each clip of known length: zero-based ranges, both ends included.

    Normal videos have none. A range that reaches beyond its clip is cut there, as the data set's
    own script does. Raises DDLError if the tracks of an abnormal video are not there or not three
    numbers a line.
    """
    return {
        name: read_tracks(tracks_path(root, name), length) if name.startswith("ab") else []
        for name, length in clips.items()
    }


def read_tracks(path: Path, length: int | None) -> Ranges:
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        raise DDLError(
            f"{path}: not there; expected the tracks of an abnormal video; fetch it again"
        ) from None
    lines = [line.split(",") for line in text.splitlines() if line.strip()]
    try:
        rows = [(int(float(first)), int(float(last))) for _, first, last in lines]
    except ValueError:
        rows = []
    if not rows:
        raise DDLError(f"{path}: expected lines `object,first,last` of numbers; fetch it again")
    return [(first, last if length is None else min(last, length - 1)) for first, last in rows]


def is_ubnormal(root: Path) -> bool:
    """Whether a folder holds scenes of UBnormal: SceneN with videos named by its rule."""
    scenes = (p for p in visible(root) if re.fullmatch(r"Scene[0-9]+", p.name) and p.is_dir())
    return any(p.suffix == ".mp4" and SCENE.fullmatch(p.stem) for s in scenes for p in visible(s))
