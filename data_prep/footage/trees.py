"""Clips and the search for them below a folder, at any depth.

A clip in nested folders is named after all of them: 2024-01-01/12/00.mp4 is 2024-01-01_12_00.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data_prep.footage.folders import ELSEWHERE, IMAGES, Folder, Tree, look_through, visible
from data_prep.footage.naming import END, check_numbering, clip_key, in_order, plain_name, stem_of
from data_prep.footage.stacks import page_count, pages_of
from ddllib.data import WINDOW
from ddllib.errors import DDLError

UCSD_CLIP = re.compile(r"(?:Train|Test)([0-9]+)")
BETWEEN = "_"  # joins the parts of a name, so the first folder is the scene (`layouts.scene_of`)


@dataclass(frozen=True)
class Clip:
    """One clip: a folder of frames (`frames` in order) or a video (`frames` empty).

    `rate`: frames per second that are read of a video; None reads all. A `paged` clip is one file
    of several pictures: `frames` holds that file once for each of them. `levels`: the levels in
    frames of 16 bits that become 0 and 255.
    """

    split: str
    name: str
    path: Path
    frames: tuple[Path, ...] = ()
    rate: float | None = None
    paged: bool = False
    levels: tuple[int, int] | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of the clip."""
        return (self.path,) if self.paged else self.frames or (self.path,)


def find_clips(base: Path, split: str) -> dict[str, Clip]:
    """Clips of one split in natural order of their paths; empty for a missing folder.

    `frames` and `videos` directly below the folder are not part of their names.
    """
    return clips_of(look_through(base), split)


def clips_of(tree: Tree, split: str) -> dict[str, Clip]:
    """Clips of a folder that was searched already; adds notes on what is passed over.

    Raises DDLError for frames beside videos, two clips of one name and a folder without frames.
    """
    pictures, videos = [], []
    for folder in tree.folders:
        pictures += _picture_clips(tree, folder, split)
        videos += _video_clips(folder, split)
    if pictures and videos:
        raise DDLError(
            f"{tree.top}: holds both folders of frames and videos ({videos[0][1].path.name}); "
            "expected one of the two; give each kind a footage folder of its own"
        )
    _check_empty(tree, [clip for _, clip in pictures])
    clips: dict[str, Clip] = {}
    for _, clip in sorted(pictures + videos, key=lambda pair: pair[0]):
        if clip.name in clips:
            first = clips[clip.name].path.relative_to(tree.top)
            raise DDLError(
                f"{clip.path}: a second clip named {clip.name} ({first} is the first); expected "
                "a name for each; rename one of them"
            )
        clips[clip.name] = clip
    return clips


def _keyed(parts: tuple[str, ...], clip: Clip) -> tuple[tuple, Clip]:
    return tuple(map(clip_key, parts)), clip


def _video_clips(folder: Folder, split: str) -> Iterator[tuple[tuple, Clip]]:
    for path in folder.videos:
        parts = (*folder.parts, stem_of(path))
        yield _keyed(parts, Clip(split, BETWEEN.join(parts), path))


def _picture_clips(tree: Tree, folder: Folder, split: str) -> Iterator[tuple[tuple, Clip]]:
    """The clips of a folder's images: one of frames, or one for each file of several pages."""
    for path, pages in zip(folder.images, folder.pages or (), strict=False):
        parts = (*folder.parts, stem_of(path))
        yield _keyed(parts, Clip(split, BETWEEN.join(parts), path, (path,) * pages, paged=True))
    if not folder.images or folder.pages or folder.path == tree.top:
        return
    if folder.videos:
        _check_stills(folder)
        note = f"{len(folder.images)} images, stills of the videos beside them"
        tree.notes.append(f"passed over {folder.path}: {note}")
        return
    frames = in_order(without_aliases(folder.images))
    parts = folder.parts or (plain_name(folder.path.name),)
    if len(frames) < WINDOW and len(parts) > 1:  # such as a recorder's hour with little motion
        note = f"{len(frames)} images, fewer than {WINDOW}, a window"
        tree.notes.append(f"passed over {folder.path}: {note}")
        return
    check_numbering(frames)
    official = UCSD_CLIP.fullmatch(parts[0]) if len(parts) == 1 else None
    name = f"{int(official[1]):02d}" if official else BETWEEN.join(parts)
    yield _keyed(parts, Clip(split, name, folder.path, frames))


def loose_images(tree: Tree) -> list[str]:
    """A note if a folder of clips holds images directly: they belong to no clip."""
    images = tree.folders[0].images if tree.folders else ()
    if not images or tree.folders[0].pages:
        return []
    first = images[0].name
    return [
        f"passed over {tree.top}: {len(images)} images directly in it ({first}), of no clip; "
        "expected a folder for each clip"
    ]


def _check_stills(folder: Folder) -> None:
    """Raise DDLError for an image that is not named after a video beside it.

    Video recorders keep such a still beside each video; other images may be frames of a clip.
    """
    videos = {stem_of(path) for path in folder.videos}
    for path in folder.images:
        stem = stem_of(path)
        ends = [k for k, letter in enumerate(stem) if not letter.isalnum()]
        if not any(stem[:k] in videos for k in (*ends, len(stem))):
            raise DDLError(
                f"{path}: an image among videos, named as none of them; expected frames or videos "
                f"in a folder; give each kind a folder of its own, or {ELSEWHERE}"
            )


def _check_empty(tree: Tree, clips: list[Clip]) -> None:
    """Raise DDLError for an empty folder directly in `frames`: its frames were lost.

    In a recorder's nested folders empty ones are normal.
    """
    frames = tree.top / "frames"
    if any(clip.path.parent not in (tree.top, frames) for clip in clips):
        return
    for folder in tree.folders:
        if folder.path.parent == frames and folder.leaf and not (folder.images or folder.videos):
            find_images(folder.path)


def without_aliases(images: Sequence[Path]) -> list[Path]:
    """Images without links to others, such as a camera's latest.jpg, which has no number."""
    numbered = [path for path in images if END.search(path.stem)]
    return [
        path
        for path in images
        if not numbered
        or END.search(path.stem)
        or not (path.is_symlink() and path.resolve().parent == path.parent.resolve())
    ]


def is_stack(path: Path) -> bool:
    """Whether a file holds several pictures, one clip."""
    return path.is_file() and page_count(path) > 1


def open_clip(path: Path, split: str) -> Clip:
    """The clip of a folder, a video or a TIFF file of several pages.

    UCSD's TrainNNN and TestNNN get the common name, NN.
    """
    if not path.is_dir():
        pages = page_count(path)
        clip = Clip(split, stem_of(path), path)
        return replace(clip, frames=(path,) * pages, paged=True) if pages > 1 else clip
    images = find_images(path)
    pages_of(images)  # raises if some hold several pictures
    check_numbering(images)
    official = UCSD_CLIP.fullmatch(path.name)
    name = f"{int(official[1]):02d}" if official else plain_name(path.name)
    return Clip(split, name, path, images)


def find_images(folder: Path) -> tuple[Path, ...]:
    """Images of a folder in the order of their names; none is an error."""
    images = [p for p in visible(folder) if p.suffix.lower() in IMAGES]
    if not images:
        raise DDLError(
            f"{folder}: no images in it; expected frames such as 000.jpg; fetch them again, or "
            f"{ELSEWHERE}"
        )
    return in_order(without_aliases(images))
