"""``cameras.yaml``: the cameras that one process watches, as options of the command ``watch``."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddllib.camera.choices import BACKENDS, STILL
from ddllib.camera.mqtt import Broker
from ddllib.camera.retention import Keep
from ddllib.devices import PRECISIONS
from ddllib.errors import DDLError
from ddllib.io import commands
from ddllib.io.reading import read_yaml

NAME = re.compile(r"[^\W_][\w .-]{0,63}")  # a folder and a topic are named by it
LOOPBACK = "127.0.0.1"
FOLDER = "watched"  # beside the file, where it names no other
ALWAYS = {"no_alarms": False, "video": False, "minutes": None}  # not for one camera of many
NEVER_S = commands.LONGEST_S  # a camera is waited for without end
REMEDY = "correct it"
NEEDED = {
    "source": "an address, a webcam's number, a video or a folder",
    "run": "the folder of a trained run",
}


@dataclass(frozen=True)
class Cameras:
    """The cameras of a file by name, each as the options of ``watch_command.parser``.

    ``page`` is the host and port of the page of all cameras, ``keep`` what is kept of old evidence,
    ``broker`` where status and events are published; None is none.
    """

    path: Path
    cameras: Mapping[str, argparse.Namespace]
    page: tuple[str, int] | None = None
    keep: Keep | None = None
    broker: Broker | None = None


def read_cameras(path: Path, **options) -> Cameras:
    """Read ``cameras.yaml``; ``options``, such as ``every``, are the same for all cameras.

    The file has ``cameras``, by name the options of each (``CAMERA``); ``defaults``, such options
    for all; ``to``, the folder in which each camera gets one of its name; and ``page``,
    ``retention`` and ``mqtt`` (``Cameras``). Paths are relative to the file. Raises ``DDLError``
    that names the file, the camera and the fault.
    """
    content = read_yaml(path)
    if not isinstance(content, dict) or not isinstance(content.get("cameras"), dict):
        raise DDLError(f"{path}: no cameras; expected `cameras:` with a name and options for each")
    _check_names(content, ("to", "defaults", "cameras", *PROCESS), str(path))
    defaults = content.get("defaults") or {}
    defaults = _read(defaults, CAMERA.keys() - {"source", "to"}, path, f"{path}: defaults")
    to = _checked(_path, content.get("to") or FOLDER, path, f"{path}: to")
    cameras = {}
    for name, values in content["cameras"].items():
        place = f"{path}: camera {name}"
        if not NAME.fullmatch(str(name)):
            raise DDLError(f"{place}: no name; expected letters, digits, '-', '_', '.' and spaces")
        values = _read({} if values is None else values, CAMERA, path, place)
        chosen = {name: None for name in CAMERA} | ALWAYS | DEFAULTS | defaults | values | options
        chosen["to"] = values.get("to", to / str(name))
        cameras[str(name)] = argparse.Namespace(**chosen)
        _check_camera(cameras[str(name)], place)
    _check_folders(cameras, path)
    whole = {
        field: _checked(read, content[name], path, f"{path}: {name}")
        for name, (field, read) in PROCESS.items()
        if content.get(name) is not None
    }
    return Cameras(path, cameras, **whole)


def _check_camera(camera: argparse.Namespace, place: str) -> None:
    for name, expected in NEEDED.items():
        if getattr(camera, name) is None:
            raise DDLError(f"{place}: has no {name}; expected {expected}; add it")
    if camera.alarms is not None and camera.threshold is not None:
        raise DDLError(f"{place}: has both alarms and threshold; leave one of them out")


def _check_folders(cameras: Mapping[str, argparse.Namespace], path: Path) -> None:
    """Two cameras need two folders, also where a disk takes "Yard" and "yard" for the same."""
    if not cameras:
        raise DDLError(f"{path}: no cameras; expected at least one; {REMEDY}")
    taken: dict[str, str] = {}
    for name, camera in cameras.items():
        folder = str(camera.to.resolve()).casefold()
        if folder in taken:
            raise DDLError(
                f"{path}: camera {name}: its folder is that of camera {taken[folder]}, "
                f"{camera.to}; give one of them another name or `to`"
            )
        taken[folder] = name


def _read(values, names, path: Path, place: str) -> dict:
    """The options in ``values``, each as its reader makes it."""
    if not isinstance(values, dict):
        raise DDLError(f"{place}: is {values!r}; expected one `name: value` a line; {REMEDY}")
    _check_names(values, names, place)
    return {
        name: _checked(CAMERA[name], value, path, f"{place}: {name}")
        for name, value in values.items()
    }


def _check_names(values: Mapping, names, place: str) -> None:
    unknown = next((name for name in values if name not in names), None)
    if unknown is not None:
        expected = ", ".join(sorted(names))
        raise DDLError(f"{place}: {unknown!r} is not known; expected one of {expected}; {REMEDY}")


def _checked(read: Callable, value, path: Path, place: str):
    try:
        return read(value, path)
    except (argparse.ArgumentTypeError, ValueError) as error:
        raise DDLError(f"{place}: {error}; {REMEDY}") from None


def _source(value, path: Path) -> str:
    from data_prep.live.sources import is_address

    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ValueError(f"{value!r}; expected {NEEDED['source']}")
    text = str(value)
    return text if is_address(text) or "://" in text else str(path.parent / text)


def _path(value, path: Path) -> Path:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r}; expected the path of a folder")
    return path.parent / Path(value).expanduser()


def _ignore(value, path: Path) -> str:
    if isinstance(value, list):
        return json.dumps(value)
    if not isinstance(value, str) or not value:
        raise ValueError(
            f"{value!r}; expected an image's path, boxes such as [[0, 0, 0.5, 0.2]], or none"
        )
    return value if value == "none" else str(path.parent / value)


def _text(value, path: Path) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{value!r}; expected a line of text")
    return value


def _one_of(choices: Sequence[str]) -> Callable:
    """A reader of a word that is one of these."""

    def read(value, path: Path) -> str:
        if value not in choices:
            raise ValueError(f"{value!r}; expected one of {', '.join(choices)}")
        return value

    return read


def _page(value, path: Path) -> tuple[str, int]:
    """Host and port; a port alone is bound to loopback, so that only this machine can read it."""
    host, _, port = str(value).rpartition(":")
    if isinstance(value, bool) or not port.isdecimal() or not int(port) < 1 << 16:
        raise ValueError(f"{value!r}; expected a port, such as 8080, or host:port")
    return host.strip("[]") or LOOPBACK, int(port)


def _keep(value, path: Path) -> Keep:
    number = commands.number("a number")
    values = _fields(value, {name: _of(number) for name in Keep.__annotations__}, path)
    return Keep(**values)


def _broker(value, path: Path) -> Broker:
    port = commands.whole("a port")
    readers = {"host": _text, "port": _of(port), "topic": _topic, "user": _text, "password": _text}
    values = _fields(value, readers, path)
    if "host" not in values:
        raise ValueError("has no host; expected that of the broker, such as localhost")
    return Broker(**values)


def _topic(value, path: Path) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[^+#\0]+", value):
        raise ValueError(f"{value!r}; expected a topic without + and #, such as ddl")
    return value.rstrip("/")


def _fields(value, readers: Mapping[str, Callable], path: Path) -> dict:
    """The values of a mapping, each by its reader."""
    if not isinstance(value, dict) or not value.keys() <= readers.keys():
        raise ValueError(f"{value!r}; expected `name: value` lines of {', '.join(readers)}")
    values = {}
    for name, one in value.items():
        try:
            values[name] = readers[name](one, path)
        except (argparse.ArgumentTypeError, ValueError) as error:
            raise ValueError(f"{name}: {error}") from None
    return values


def _of(kind: Callable[[str], float]) -> Callable:
    """A reader by a type of ``io.commands``."""

    def read(value, path: Path):
        return kind("" if isinstance(value, bool) else str(value))

    return read


CAMERA = {
    "source": _source,
    "run": _path,
    "to": _path,
    "alarms": _of(commands.alarms_per_hour),
    "threshold": _of(commands.number("a score")),
    "ignore": _ignore,
    "rate": _of(commands.frames_per_second),
    "patch": _of(commands.whole("pixels")),
    "precision": _one_of(PRECISIONS),
    "backend": _one_of(BACKENDS),
    "still": _one_of(STILL),
    "patience": _of(commands.seconds),
    "give_up": _of(commands.seconds),
    "on_event": _text,
    "cooldown": _of(commands.seconds),
}
PROCESS = {  # names of the file that are not of a camera: the field of ``Cameras``, the reader
    "page": ("page", _page),
    "retention": ("keep", _keep),
    "mqtt": ("broker", _broker),
}
DEFAULTS = {"patience": 10.0, "give_up": NEVER_S}
DEFAULTS |= {"still": STILL[0], "backend": BACKENDS[0]}
