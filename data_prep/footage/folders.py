"""Search folders for footage at any depth; other files and folders are passed over with a note.

Video recorders keep a folder for each date, hour and camera, with the same file names in each.
"""

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from data_prep.footage.naming import natural_key, plain_name
from data_prep.footage.stacks import pages_of
from ddllib.errors import DDLError

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
VIDEOS = frozenset(
    {".avi", ".mp4", ".m4v", ".mov", ".mkv", ".mpg", ".mpeg", ".webm", ".wmv"}
    | {".ts", ".mts", ".m2ts", ".flv", ".3gp", ".ogv", ".vob", ".asf"}
    | {".264", ".h264", ".265", ".h265", ".hevc", ".mjpeg", ".mjpg", ".m2v", ".divx", ".f4v"}
)
# The folder of each split by layout; a root that holds one of them has that layout.
FOLDERS = {
    "common": {"training": "training", "testing": "testing"},
    "UCSD": {"training": "Train", "testing": "Test"},
    "Avenue": {"training": "training_videos", "testing": "testing_videos"},
}
TRUTH = re.compile(r"masks|.*_gt|test_.*_mask|ground_truth_demo")  # folders of masks and labels
# Folders of a file system, a recycle bin or previews: no footage, and often not readable.
SYSTEM = frozenset(
    {"lost+found", "system volume information", "$recycle.bin", "recycler", "__macosx"}
    | {"@eadir", "@recycle", "#recycle", "#snapshot"}
) | {"@recently-snapshot"}
WATCH_FILES = ("scores.csv", "events.csv", "events.json", "running.json")  # written by a watch
TABLES = {"scores.csv": b"segment,frame,time_s,score", "events.csv": b"event,start_s,end_s,"}
DEEPEST = 8  # levels of nested folders that are searched
MOST_FOLDERS = 200_000  # as of 2 cameras in ten years with a folder for each hour
ELSEWHERE = "keep it in a folder elsewhere, outside the footage"


@dataclass(frozen=True)
class Entry:
    """A file or a folder; links are followed."""

    path: Path
    is_folder: bool

    @property
    def ending(self) -> str:
        return self.path.suffix.lower()


@dataclass(frozen=True)
class Folder:
    """A folder and the footage directly in it; `parts`: names of the folders that lead to it."""

    path: Path
    parts: tuple[str, ...]
    images: tuple[Path, ...]
    videos: tuple[Path, ...]
    leaf: bool  # holds no folders

    @cached_property
    def pages(self) -> list[int] | None:
        """Pages of each image file where these are stacks of pictures, else None."""
        return pages_of(self.images)


@dataclass
class Tree:
    """`top` and the folders below it, and a note for each that is passed over."""

    top: Path
    folders: list[Folder] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    linked: set[Path] = field(default_factory=set)  # targets of the links that were followed
    systems: set[str] = field(default_factory=set)  # names of system folders that have a note


def entries(folder: Path) -> list[Entry]:
    """The entries of a folder without hidden ones (`._001.tif` of macOS is no frame).

    Raises DDLError for a folder that cannot be read, for a name that cannot be shown, and for
    an entry that is neither file nor folder.
    """
    try:
        if not folder.is_dir():
            return []
        with os.scandir(folder) as listing:
            return [_entry(folder, entry) for entry in listing if not entry.name.startswith(".")]
    except OSError as error:
        raise DDLError(
            f"{folder}: cannot be read ({error.strerror or error}); expected a folder of footage; "
            f"allow to read it (chmod u+rx), or {ELSEWHERE}"
        ) from None


def _entry(folder: Path, entry: os.DirEntry) -> Entry:
    if any("\udc80" <= letter <= "\udcff" for letter in entry.name):
        raise DDLError(f"{folder}: the name {ascii(entry.name)} is not UTF-8; rename it")
    if not entry.name.isprintable():
        raise DDLError(f"{folder}: the name {entry.name!r} has control characters; rename it")
    try:
        is_folder = entry.is_dir()
        is_usable = is_folder or entry.is_file()
    except OSError:  # a link that leads to itself, or to a place without permission
        is_usable = False
    if not is_usable:  # reading a pipe would never end
        raise DDLError(
            f"{entry.path}: a broken link, a pipe or a device; expected a file or a folder; "
            f"restore what it leads to, or {ELSEWHERE}"
        )
    return Entry(folder / entry.name, is_folder)


def is_system(path: Path) -> bool:
    return path.name.lower() in SYSTEM


def visible(folder: Path) -> list[Path]:
    """Entries of a folder without hidden ones and without folders of the system."""
    return [e.path for e in entries(folder) if not (e.is_folder and is_system(e.path))]


def is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEOS and path.is_file()


def layouts_by_name(root: Path) -> list[str]:
    """The layouts of which a folder exists, with exactly the layout's spelling."""
    return _layouts_of({entry.path.name for entry in entries(root) if entry.is_folder})


def _layouts_of(names: Collection[str]) -> list[str]:
    return [name for name, folders in FOLDERS.items() if {*names} & {*folders.values()}]


def has_media(folder: Path, deep: int = 2) -> bool:
    """Whether there are videos or images in a folder or below it; `deep` levels are searched."""
    contents = entries(folder)
    if any(not entry.is_folder and entry.ending in IMAGES | VIDEOS for entry in contents):
        return True
    below = [e.path for e in contents if e.is_folder and not is_system(e.path)] if deep > 1 else []
    return any(has_media(path, deep - 1) for path in below)


def product_at(folder: Path, sure: bool = False) -> str | None:
    """Which product of this project a folder is, in words, as it holds no footage; else None.

    `sure`: the tables of a watch are recognised by their columns, not by their names alone.
    """
    return _product(folder, [e.path.name for e in entries(folder) if not e.is_folder], sure)


def _product(folder: Path, names: Collection[str], sure: bool = False) -> str | None:
    files = {*names}
    if files & {"checkpoint.pt", "run.json"}:
        return "a trained run"
    if files >= {"tracks.csv", "manifest.json"}:
        return "prepared data"
    watch_files = [name for name in WATCH_FILES if name in files]
    # A single file with such a name may be somebody else's table.
    several = len(watch_files) > 1 and not sure
    if several or any(_begins(folder / name, TABLES.get(name)) for name in watch_files):
        return f"left by a watch ({watch_files[0]})"
    return None


def _begins(table: Path, columns: bytes | None) -> bool:
    try:
        with open(table, "rb") as file:
            return columns is not None and file.read(len(columns)) == columns
    except OSError:
        return False


def look_through(top: Path) -> Tree:
    """The folders with footage below `top`; links out of it are followed.

    `frames` and `videos` directly below it are not part of a clip's name. Folders of masks are left
    out. Passed over with a note are system folders, products of this project, other data sets,
    folders nested too deep, and links to folders that are read anyway. Raises DDLError as `entries`
    does, and for too many folders.
    """
    tree = Tree(top)
    _look(tree, top, ())
    return tree


def _look(tree: Tree, path: Path, parts: tuple[str, ...], deep: int = 0) -> None:
    contents = entries(path)
    reason = _reason(path, contents, deep)
    if reason:
        tree.notes.append(f"passed over {path}: {reason}")
        return
    if len(tree.folders) >= MOST_FOLDERS:
        raise DDLError(
            f"{tree.top}: more than {MOST_FOLDERS} folders; expected fewer; give a part of them"
        )
    below = list(_folders_to_search(tree, [e.path for e in contents if e.is_folder]))
    tree.folders.append(
        Folder(path, parts, _files(contents, IMAGES), _files(contents, VIDEOS), not below)
    )
    for folder in below:
        unnamed = deep == 0 and folder.name in ("frames", "videos")
        _look(tree, folder, parts if unnamed else (*parts, plain_name(folder.name)), deep + 1)


def _files(contents: list[Entry], endings: frozenset[str]) -> tuple[Path, ...]:
    files = [entry.path for entry in contents if not entry.is_folder and entry.ending in endings]
    return tuple(sorted(files, key=lambda path: natural_key(path.name)))


def _reason(path: Path, contents: list[Entry], deep: int) -> str | None:
    """Why a folder below the top is passed over; None if it is searched."""
    if deep == 0:
        return None
    if deep > DEEPEST:
        return f"more than {DEEPEST} folders deep; give it by itself if it is footage"
    if product := _product(path, [e.path.name for e in contents if not e.is_folder]):
        return f"{product}, no footage"
    if layouts := _layouts_of([e.path.name for e in contents if e.is_folder]):
        return f"a data set of its own (layout {layouts[0]}); give it by itself"
    return None


def _folders_to_search(tree: Tree, folders: list[Path]) -> Iterator[Path]:
    """The folders to search, real ones before links, so that clips get the real folder's name."""
    top = tree.top.resolve()
    for path in sorted(folders, key=lambda p: (p.is_symlink(), p.name)):
        if TRUTH.fullmatch(path.name):
            if path.parent != tree.top:
                tree.notes.append(f"passed over {path}: by its name a folder of masks")
            continue
        if is_system(path):
            if path.name not in tree.systems:  # one note is enough: Synology has one per folder
                tree.notes.append(f"passed over {path}: a folder of the system, no footage")
            tree.systems.add(path.name)
            continue
        if path.is_symlink():
            target, parent = path.resolve(), path.parent.resolve()
            is_loop = parent.is_relative_to(target)
            if target.is_relative_to(top) or is_loop or target in tree.linked:
                tree.notes.append(f"passed over {path}: a link to {target}, which is read already")
                continue
            tree.linked.add(target)
        yield path
