"""Every parameter of the project, in one flat vocabulary; profiles are YAML files of its names."""

from __future__ import annotations

import ast
import contextlib
import difflib
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Literal, get_args

from ddllib.errors import DDLError
from ddllib.evaluation import PROTOCOLS
from ddllib.reading import read_yaml

ROOT = Path(__file__).resolve().parent.parent
PROFILES = ROOT / "book" / "profiles"
OWN_CAMERA = "own-camera"  # the profile of footage that says itself how it is to be taken
OWN_PROFILES = ROOT / "profiles"  # those that a user has made; no part of the book
RESULTS = ROOT / "book" / "results"

Mode = Literal["none", "sdl", "ddl"]

_LARGEST = 2**32 - 1  # of a whole number; larger ones are no seeds
RUNS_NAMED = 5  # of those there are, in a message
_LONGEST = 180  # bytes of what a run's folder is called after its first words
_FINITE = sys.float_info.max


@dataclass(frozen=True)
class Settings:
    """One flat set of values; the defaults are the ``demo`` profile's."""

    profile: str = "demo"
    # footage
    data: str = "demo"  # a generated scene (demo, demo-short), or a folder below the data root
    dataset: str | None = None  # what the footage is meant to be; None recognises it
    scene: str | None = None  # only this scene, by the clips' names before "_"
    labelling: str | None = None  # which of several labels counts; None is the official one
    detector: str = "motion"  # motion, yolo, faster-rcnn, none: random boxes, or auto: what works
    weights: str | None = None  # a path, for yolo and faster-rcnn; None looks for their own
    size: int = 96  # working height and width, pixels; a multiple of 16
    frame_rate: float | None = None  # frames of a video kept per second, by their times; None: all
    # model
    model: str = "c3dsu"  # c3dsu or unet
    preset: str = "released"  # released or paper
    latent_dim: int = 32  # width of the deepest level
    channels: int = 3  # grey footage is fed as equal channels
    temporal: int = 3  # T, frames in a window
    # losses
    mode: Mode = "ddl"  # none, sdl (sigma fixed at 0.5) or ddl (sigma learnt)
    distinction_weight: float = 1e-2  # lambda
    distinction_form: str = "per_pixel"  # per_pixel, norms, or discrepancy (maximised)
    noise: str = "per_channel"  # per_channel, or shared by the channels of a pixel
    # training
    epochs: int = 6
    batch_size: int = 10
    learning_rate: float = 1e-2
    sigma_learning_rate: float | None = None  # of l alone; None is learning_rate
    schedule: str = "one-cycle"  # one-cycle, or step: halved at 80 % of the epochs
    precision: str = "auto"  # float32, bfloat16, or auto: bfloat16 where the device is fast at it
    device: str = "auto"  # cpu, cuda, or auto
    compile: bool = False  # fuse kernels by torch.compile: a minute once, then quicker steps
    seed: int = 0
    start_from: str | None = None  # a run's folder, such as demo/c3dsu-ddl-seed0: its weights begin
    held_out: int = 0  # training clips kept aside to judge by, instead of the test clips
    threshold_share: float = 0  # of each training clip, its end: normal footage for thresholds
    # scoring and evaluation
    patch: int | None = None  # pixels; None is 16 at size 256, scaled with the size
    ignore: str | list | None = None  # what counts 0: an image, white, or boxes; see ddllib.ignore
    protocol: str = "median"  # see ddllib.evaluation.PROTOCOLS
    # watching
    watch: str | None = None  # a video, a folder, a webcam's number or an address, once trained
    watch_minutes: float | None = None  # how long; None: to the end, of a live source for a while
    alarms_per_hour: float = 120  # false ones to choose the threshold for; for a yard, one

    def __post_init__(self):
        if type(self.watch) is int:  # papermill's -p watch 0
            object.__setattr__(self, "watch", str(self.watch))
        for name in _TEXTS:
            self._check_text(name)
        if not isinstance(self.ignore, str | list | None):
            raise DDLError(
                f"ignore is {self.ignore!r}; expected an image's path or a list of boxes"
            )
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise DDLError(f"{name} is {value!r}; expected one of {', '.join(choices)}")
        for name, most in _MOST.items():
            self._check_number(name, int, 1, most)
        for name in ("learning_rate", "distinction_weight", "sigma_learning_rate"):
            if getattr(self, name) is not None or name != "sigma_learning_rate":
                self._check_number(name, float, least=0)
        if self.frame_rate is not None:
            self._check_number("frame_rate", float, least=0.1)
        self._check_number("threshold_share", float, least=0, most=1)
        self._check_number("alarms_per_hour", float, least=1e-3)
        if self.watch_minutes is not None:
            self._check_number("watch_minutes", float, least=1e-3, most=1e6)
        for name in ("seed", "held_out"):
            self._check_number(name, int, 0, _LARGEST)
        if not isinstance(self.compile, bool):
            raise DDLError(
                f"compile is {self.compile!r}; expected true or false (for papermill: -p compile "
                "True)"
            )
        if self.size % 16:
            raise DDLError(f"size is {self.size}; expected a multiple of 16, such as 128")
        if self.temporal % 2 == 0:
            raise DDLError(f"temporal is {self.temporal}; expected an odd number, such as 3")
        if self.patch is not None:
            self._check_number("patch", int, least=1, most=self.size)

    def _check_text(self, name: str) -> None:
        value = getattr(self, name)
        if value is not None and (not isinstance(value, str) or not value.isprintable()):
            raise DDLError(
                f"{name} is {value!r}; expected text (a number in quotes, for papermill: "
                f"-r {name} 01)"
            )

    def _check_number(self, name: str, kind: type, least: float, most: float = _FINITE) -> None:
        value = getattr(self, name)
        fits = isinstance(value, int if kind is int else (int, float))
        within = fits and least <= value <= most
        if not within or isinstance(value, bool):
            what = "a whole number" if kind is int else "a number (for YAML 1e-2 is text: 0.01)"
            limit = f"from {least} up" if most >= _LARGEST else f"from {least} to {most}"
            raise DDLError(f"{name} is {value!r}; expected {what} {limit}")

    @property
    def window(self) -> int:
        """T of the model: 1 for a UNet, whatever ``temporal`` says."""
        return 1 if self.model == "unet" else self.temporal

    @property
    def patch_size(self) -> int:
        """The patch's side in pixels at this size."""
        return self.patch or max(self.size // 16, 1)

    @property
    def profile_folder(self) -> Path:
        """Where this profile's prepared data and runs live."""
        return runs_root() / self.profile

    @property
    def run_folder(self) -> Path:
        """``<runs>/<profile>/<model>-<mode>-seed<k>``; values unlike the profile's follow.

        A run with other values than its profile's never takes the place of the profile's own.
        """
        name = f"{self.model}-{self.mode}-seed{self.seed}"
        return self.profile_folder / (name + self._differences(VOCABULARY - _NOT_IN_NAME))

    @property
    def record_folder(self) -> Path:
        """Where the run's scores are recorded: its folder, or one beside it for another patch.

        So it is for other pixels to ignore, too.
        """
        folder = self.run_folder
        return folder.with_name(folder.name + self._differences({"patch", "ignore"}))

    @property
    def start_folder(self) -> Path | None:
        """The run whose weights training begins with: a folder of the runs, or any path to one."""
        if self.start_from is None:
            return None
        place = runs_root() / self.start_from
        if not place.is_dir():
            try:
                place = find_path(self.start_from)
            except DDLError as error:
                known = sorted(shown_place(p.parent) for p in runs_root().glob("*/*/checkpoint.pt"))
                here = f"runs here: {', '.join(known[:RUNS_NAMED]) or 'none'}"
                raise DDLError(f"start_from: no run {self.start_from} ({error}); {here}") from None
        if not place.is_dir():
            raise DDLError(f"start_from: {place} is a file; expected the folder of a trained run")
        return place

    @property
    def prepared_folder(self) -> Path:
        """``<runs>/<profile>/prepared``; what differs from the profile follows, as above."""
        names = {"data", "dataset", "scene", "detector", "weights", "size", "frame_rate"}
        return self.profile_folder / ("prepared" + self._differences(names))

    def _differences(self, names) -> str:
        base = load_profile(self.profile)
        differing = [n for n in sorted(names) if getattr(self, n) != getattr(base, n)]
        text = "".join(f"-{n}-{getattr(self, n)}".replace("/", "_") for n in differing)
        if len(text.encode()) <= _LONGEST:
            return text
        return f"-{hashlib.sha256(text.encode()).hexdigest()[:16]}"  # no disk takes longer names

    def asdict(self) -> dict:
        """Plain values, as a record keeps them."""
        return asdict(self)


def shown_place(path: Path) -> str:
    """A path for a page: from the project's root on, else from the runs on, else its name."""
    for root, begins in ((ROOT, ""), (runs_root(), "$DDL_RUNS/")):
        if path.is_relative_to(root):
            return begins + path.relative_to(root).as_posix()
    return path.name


def recorded(values: Mapping) -> dict:
    """Settings as a record keeps them; what was introduced since has its default."""
    return {**Settings().asdict(), **values}


_TEXTS = (
    "profile",
    "data",
    "dataset",
    "scene",
    "labelling",
    "weights",
    "device",
    "start_from",
    "watch",
)
_MOST = {
    "size": 4096,
    "latent_dim": 4096,
    "temporal": 99,
    "channels": 99,
    "epochs": _LARGEST,
    "batch_size": _LARGEST,
}
_CHOICES = {
    "detector": ("motion", "yolo", "faster-rcnn", "none", "auto"),
    "model": ("c3dsu", "unet"),
    "preset": ("released", "paper"),
    "mode": get_args(Mode),
    "distinction_form": ("per_pixel", "norms", "discrepancy"),
    "noise": ("per_channel", "shared"),
    "schedule": ("one-cycle", "step"),
    "precision": ("auto", "float32", "bfloat16"),
    "protocol": tuple(PROTOCOLS),
}
# These change neither weights nor raw scores, only where they are made and what is done with them.
AFTERWARDS = frozenset(
    {"device", "compile", "protocol", "labelling", "watch", "watch_minutes", "alarms_per_hour"}
)
# Already in the run's name, or without effect on its weights.
_NOT_IN_NAME = AFTERWARDS | {"profile", "model", "mode", "seed", "patch", "ignore"}

VOCABULARY = frozenset(field.name for field in fields(Settings))


def check_names(names, source: str) -> None:
    """Raise ``DDLError`` naming the first name that is not in the vocabulary."""
    for name in names:
        if name not in VOCABULARY:
            near = difflib.get_close_matches(str(name), VOCABULARY, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "see ddllib.settings.Settings"
            raise DDLError(f"{source}: unknown parameter {name!r}; {hint}")


def load_profile(name: str, **overrides) -> Settings:
    """The settings of a profile, with ``overrides`` that are not None.

    It is ``book/profiles/<name>.yaml``, or one of the user's own, ``profiles/<name>.yaml``.
    """
    known = {
        path.stem: path
        for folder in (OWN_PROFILES, PROFILES)
        for path in sorted(folder.glob("*.yaml"))
    }
    if not isinstance(name, str) or name not in known:
        raise DDLError(
            f"{name}.yaml: no such profile in book/profiles or profiles; expected one of "
            f"{', '.join(known)}"
        )
    path = known[name]
    values = read_yaml(path) or {}
    if not isinstance(values, dict):
        raise DDLError(f"{path.name}: expected one `name: value` a line")
    check_names(values, path.name)
    check_names(overrides, "parameters")
    chosen = {key: value for key, value in overrides.items() if value is not None}
    return replace(Settings(), **{"profile": name, **values, **chosen})


def chapter_settings(namespace: Mapping) -> Settings:
    """The settings of a chapter: its profile, and over it every parameter set in the notebook.

    ``namespace`` is the notebook's ``globals()``. Parameters left at None keep the profile's
    value; a parameter injected by papermill under a name that is not known raises ``DDLError``,
    and so does a value that no profile could hold. With the profile ``own-camera`` the footage
    itself proposes what is left open (``data_prep.advise``).
    """
    cells = namespace.get("In", ())
    injected = _assigned([cell for cell in cells if cell.startswith("# Parameters\n")][-1:])
    check_names(injected, "parameters")
    written = _assigned([cell for cell in cells if "profile" in _assigned([cell])][-1:])
    for name in injected | (written & VOCABULARY):
        _check_value(name, namespace.get(name))
    given = {
        name: namespace[name]
        for name in VOCABULARY
        if isinstance(namespace.get(name), str | int | float | list)
    }
    if isinstance(given.get("ignore"), str):  # as papermill hands over a list
        given["ignore"] = path_or_boxes(given["ignore"])
    profile = given.pop("profile", "demo")
    if profile == OWN_CAMERA and "data" in given:
        from data_prep.advise import kept_advice

        given = {**kept_advice(str(given["data"])), **given}
    return load_profile(profile, **given)


def path_or_boxes(text: str) -> str | list:
    """What text names that stands for ``ignore``: an image's path as it is, or a list of boxes."""
    if not text.startswith("["):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise DDLError(
            f"ignore {text}: no boxes; expected [[x0, y0, x1, y1], ...] relative to the frame, "
            "from 0 to 1, such as [[0, 0, 0.5, 0.2]]"
        ) from None


def _check_value(name: str, value) -> None:
    """A value set for a run must be one that a profile could hold."""
    kinds = str | int | float | (list if name == "ignore" else str)
    if value is not None and not isinstance(value, kinds):
        raise DDLError(f"parameters: {name} is {value!r}; expected text, a number, true or false")


def _assigned(cells: Sequence[str]) -> set[str]:
    """Names that cells assign at their top level; a cell that is not Python alone has none.

    Papermill's parameters stand in a cell that begins with ``# Parameters``, those of the reader in
    one that assigns ``profile``.
    """
    found = set()
    for cell in cells:
        with contextlib.suppress(SyntaxError, ValueError):  # %magic, or a null byte
            nodes = [node for node in ast.parse(cell).body if isinstance(node, ast.Assign)]
            found |= {t.id for n in nodes for t in n.targets if isinstance(t, ast.Name)}
    return found


def _root(variable: str, default: str) -> Path:
    return ROOT / os.environ.get(variable, default)


def data_root() -> Path:
    """``$DDL_DATA``, else ``data``; a relative path counts from the project's root."""
    return _root("DDL_DATA", "data")


def runs_root() -> Path:
    """``$DDL_RUNS``, else ``runs``; a relative path counts from the project's root."""
    return _root("DDL_RUNS", "runs")


def find_path(value: str) -> Path:
    """A file or folder given by a parameter: as it is, from the project's root or near the data.

    Weights are often kept beside the data sets, so the data root's parent is looked at too.
    """
    roots = dict.fromkeys([ROOT, data_root(), data_root().parent])
    places = [root / value for root in roots]
    with contextlib.suppress(OSError):  # a name too long is not there either
        for place in places:
            if place.exists():
                return place
    tried = ", ".join(os.path.relpath(place, ROOT) for place in places)
    raise DDLError(f"{value}: not found; looked at {tried}; give its path or set DDL_DATA")
