"""All settings of the project as one flat dataclass; profiles are YAML files of these names."""

from __future__ import annotations

import difflib
import hashlib
import sys
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Literal, get_args

from ddllib import pseudo_anomalies, score_terms
from ddllib.errors import DDLError
from ddllib.evaluation import PROTOCOLS
from ddllib.features import EXTRACTORS
from ddllib.flow import FLOWS
from ddllib.io.reading import read_yaml
from ddllib.paths import OWN_PROFILES, PROFILES, find_path, runs_root, shown_place
from ddllib.weighted import weighted

Mode = Literal["none", "sdl", "ddl"]
INDICATORS = ("appearance", "motion", "semantic")  # of STPA

_MAX_INTEGER = 2**32 - 1  # a larger seed is not possible
RUNS_NAMED = 5  # how many runs a message lists
_MAX_SUFFIX_BYTES = 180  # bytes; what a folder's name may add for changed settings
_MAX_FLOAT = sys.float_info.max

# What a change of a setting affects. It decides the names of runs, what is reused, which records
# are comparable and which count as one setting.
Touches = Literal["prepared data", "weights", "scores", "nothing"]
PREPARED, WEIGHTS, SCORES, NOTHING = get_args(Touches)


def _value(default, touches: Touches, *, choices=None, least=None, most=None, named=False):
    """A setting: its default, what it touches, and which values it may have.

    Numbers go from ``least`` to ``most``, which may be the name of another setting. ``named``
    settings are part of every run's name.
    """
    checks = {"choices": choices, "least": least, "most": most}
    return field(default=default, metadata={"touches": touches, "named": named, **checks})


class _Folders:
    """The folders of the prepared data, the run and the record of some settings."""

    profile: str
    method: str
    model: str
    mode: str
    seed: int
    start_from: str | None

    @property
    def profile_folder(self) -> Path:
        """Where this profile's prepared data and runs live."""
        return runs_root() / self.profile

    @property
    def run_folder(self) -> Path:
        """``<runs>/<profile>/<model>-<mode>-seed<k>``, then settings unlike the profile's.

        Other methods than DDL have the method's name in place of model and mode. A run with changed
        settings never overwrites the profile's own run.
        """
        kind = f"{self.model}-{self.mode}" if self.method == "ddl" else self.method
        in_name = {n for n in VOCABULARY if _METADATA[n]["named"]}
        if self.method != "ddl":
            in_name -= {"model", "mode"}
        shaping = touching(PREPARED, WEIGHTS) - in_name
        return self.profile_folder / (f"{kind}-seed{self.seed}" + self._differences(shaping))

    @property
    def record_folder(self) -> Path:
        """The folder where the run's scores are recorded, its own or one beside it.

        The latter holds scores by another patch, mask of ignored pixels or terms.
        """
        folder = self.run_folder
        return folder.with_name(folder.name + self._differences(touching(SCORES)))

    @property
    def start_folder(self) -> Path | None:
        """The run whose weights training begins with, a folder of the runs or any path to one."""
        if self.start_from is None:
            return None
        place = runs_root() / self.start_from
        if not place.is_dir():
            try:
                place = find_path(self.start_from)
            except DDLError as error:
                names = sorted(shown_place(p.parent) for p in runs_root().glob("*/*/checkpoint.pt"))
                hint = f"runs here: {', '.join(names[:RUNS_NAMED]) or 'none'}"
                raise DDLError(f"start_from: no run {self.start_from} ({error}); {hint}") from None
        if not place.is_dir():
            raise DDLError(f"start_from: {place} is a file; expected the folder of a trained run")
        return place

    @property
    def prepared_folder(self) -> Path:
        """``<runs>/<profile>/prepared``, then settings unlike the profile's."""
        return self.profile_folder / ("prepared" + self._differences(touching(PREPARED)))

    def _differences(self, names) -> str:
        base = load_profile(self.profile)
        differing = [n for n in sorted(names) if getattr(self, n) != getattr(base, n)]
        text = "".join(f"-{n}-{getattr(self, n)}".replace("/", "_") for n in differing)
        if len(text.encode()) <= _MAX_SUFFIX_BYTES:
            return text
        return f"-{hashlib.sha256(text.encode()).hexdigest()[:16]}"  # names have a limit


@dataclass(frozen=True)
class Settings(_Folders):
    """One flat set of values; the defaults are the ``demo`` profile's."""

    profile: str = _value("demo", PREPARED)  # also the folder of prepared data and runs
    # footage
    # a generated scene (demo, demo-1, demo-2, demo-short), or a folder below the data root
    data: str = _value("demo", PREPARED)
    # the known data set that the footage is; None: recognised by its files
    dataset: str | None = _value(None, PREPARED)
    # only this scene, by the clips' names before "_"
    scene: str | None = _value(None, PREPARED)
    # which of several labellings to use; None: the official one
    labelling: str | None = _value(None, NOTHING)
    # motion, yolo, faster-rcnn, none (random boxes) or auto (whichever works here)
    detector: str = _value(
        "motion", PREPARED, choices=("motion", "yolo", "faster-rcnn", "none", "auto")
    )
    # path of the detector's weights (yolo, faster-rcnn); None: its default file
    weights: str | None = _value(None, PREPARED)
    # working height and width, pixels; a multiple of 16
    size: int = _value(96, PREPARED, least=1, most=4096)
    # frames kept per second of a video, by their timestamps; None: all
    frame_rate: float | None = _value(None, PREPARED, least=0.1)
    # method and model
    method: str = _value("ddl", WEIGHTS, named=True)  # see ddllib.methods
    model: str = _value("c3dsu", WEIGHTS, choices=("c3dsu", "unet"), named=True)
    preset: str = _value("released", WEIGHTS, choices=("released", "paper"))
    latent_dim: int = _value(32, WEIGHTS, least=1, most=4096)  # channels of the deepest level
    channels: int = _value(3, WEIGHTS, least=1, most=99)  # grey footage is repeated over them
    temporal: int = _value(3, WEIGHTS, least=1, most=99)  # T, frames in a window
    # frames from one of these to the next; 2 with temporal 2: the middle frame is not seen
    frame_step: int = _value(1, WEIGHTS, least=1, most=99)
    # pseudo-anomalies and losses
    # none, sdl (sigma fixed at 0.5) or ddl (sigma learnt)
    mode: Mode = _value("ddl", WEIGHTS, choices=get_args(Mode), named=True)
    # a kind of ddllib.pseudo_anomalies, or a mixture: 0.7 noise + 0.3 skipped frames
    pseudo_anomaly: str = _value("noise", WEIGHTS)
    distinction_weight: float = _value(1e-2, WEIGHTS, least=0)  # lambda
    # per_pixel, norms, discrepancy (maximised), or target (the normal frame is asked for)
    distinction_form: str = _value(
        "per_pixel", WEIGHTS, choices=("per_pixel", "norms", "discrepancy", "target")
    )
    # per_channel, or shared by the channels of a pixel
    noise: str = _value("per_channel", WEIGHTS, choices=("per_channel", "shared"))
    # STPA: which models are trained, and the share of windows that are pseudo-anomalies
    indicators: str = _value("appearance + motion", WEIGHTS)
    p_s: float = _value(0.4, WEIGHTS, least=0, most=1)
    p_t: float = _value(0.5, WEIGHTS, least=0, most=1)
    # STEAL: pseudo-anomalies are pushed away from their own input, not drawn to the normal window
    repel: bool = _value(False, WEIGHTS)
    # tvl1, or dis, which is quicker
    flow: str = _value("tvl1", WEIGHTS, choices=FLOWS)
    # a kind of ddllib.pseudo_anomalies, or a mixture, for the flow
    flow_pseudo_anomaly: str = _value("mixup", WEIGHTS)
    # objects' outlines: boxes, background (what differs from the clip's median in a box), or yolo
    silhouettes: str = _value("boxes", WEIGHTS, choices=("boxes", "background", "yolo"))
    # random masks, from narrow to wide; see data_prep.companions.strokes
    strokes: str = _value("medium", WEIGHTS, choices=("thin", "medium", "thick"))
    # what fills them: latent-diffusion-small, latent-diffusion (the paper's, whose weights must be
    # there), telea (quick, erases objects); see data_prep.companions.inpainting
    inpainter: str = _value("telea", WEIGHTS)
    # what describes frames for the indicator semantic, see ddllib.features; and the path of its
    # weights, None where a package has them
    features: str = _value("efficientnet-lite0", WEIGHTS)
    feature_weights: str | None = _value(None, WEIGHTS)
    # what one feature is of: window, the mean over its frames; or frame, the one that it scores
    features_of: str = _value("window", WEIGHTS, choices=("window", "frame"))
    # training
    # 0: nothing is learnt, the network stays as it was drawn
    epochs: int = _value(6, WEIGHTS, least=0, most=_MAX_INTEGER)
    batch_size: int = _value(10, WEIGHTS, least=1, most=_MAX_INTEGER)
    learning_rate: float = _value(1e-2, WEIGHTS, least=0)
    # learning rate of l; None: learning_rate
    sigma_learning_rate: float | None = _value(None, WEIGHTS, least=0)
    # one-cycle; step: halved at 80 % of the epochs; or constant
    schedule: str = _value("one-cycle", WEIGHTS, choices=("one-cycle", "step", "constant"))
    # float32, bfloat16, or auto: bfloat16 where the device supports it in hardware
    precision: str = _value("auto", WEIGHTS, choices=("auto", "float32", "bfloat16"))
    device: str = _value("auto", NOTHING)  # cpu, cuda, or auto
    # use torch.compile: a minute at the start, then faster steps
    compile: bool = _value(False, NOTHING)
    seed: int = _value(0, WEIGHTS, least=0, most=_MAX_INTEGER, named=True)
    # a run's folder, such as demo/c3dsu-ddl-seed0: training starts from its weights
    start_from: str | None = _value(None, WEIGHTS)
    # number of training clips held out to evaluate on, instead of the test clips
    held_out: int = _value(0, WEIGHTS, least=0, most=_MAX_INTEGER)
    # share of each training clip, its end, kept as normal footage for thresholds
    threshold_share: float = _value(0, WEIGHTS, least=0, most=1)
    # scoring and evaluation
    # terms of ddllib.score_terms and their weights: distance, or 0.5 distance + 0.5 another
    score: str = _value("distance", SCORES)
    # bring several terms to one scale first, by their scores of training footage
    scaled_terms: bool = _value(False, SCORES)
    # frames from one scored window to the next; all frames between take theirs from it
    window_stride: int = _value(1, SCORES, least=1, most=8)
    patch: int | None = _value(
        None, SCORES, least=1, most="size"
    )  # pixels; None is 16 at 256, scaled with size
    # pixels not to score: boxes, or an image that is white there; see ddllib.ignore
    ignore: str | list | None = _value(None, SCORES)
    protocol: str = _value("median", NOTHING, choices=tuple(PROTOCOLS))
    # watching
    # what to watch after training: a video, a folder, a webcam's number or an address
    watch: str | None = _value(None, NOTHING)
    # duration; None: to the end, or a default time for a live source
    watch_minutes: float | None = _value(None, NOTHING, least=1e-3, most=1e6)
    # false alarms per hour that the threshold is chosen for; for a quiet yard, 1
    alarms_per_hour: float = _value(120, NOTHING, least=1e-3)

    def __post_init__(self):
        if type(self.watch) is int:  # papermill passes -p watch 0 as a number
            object.__setattr__(self, "watch", str(self.watch))
        for setting in fields(self):
            _check(setting.name, getattr(self, setting.name), setting.type, self._limits(setting))
        if self.size % 16:
            raise DDLError(f"size is {self.size}; expected a multiple of 16, such as 128")
        for name, allowed_names, what in (
            ("pseudo_anomaly", pseudo_anomalies.KINDS, "kinds of ddllib.pseudo_anomalies"),
            ("flow_pseudo_anomaly", pseudo_anomalies.KINDS, "kinds of ddllib.pseudo_anomalies"),
            ("indicators", INDICATORS, "indicators of STPA"),
            ("score", score_terms.TERMS, "terms of ddllib.score_terms"),
        ):
            weighted(name, getattr(self, name), allowed_names, what)
        if self.features not in EXTRACTORS:
            raise DDLError(
                f"features is {self.features!r}; expected one of {', '.join(EXTRACTORS)}"
            )

    def _limits(self, setting: Field) -> dict:
        """The allowed values of a setting; a limit that names another setting becomes its value."""
        limits = dict(setting.metadata)
        if isinstance(limits["most"], str):
            limits["most"] = getattr(self, limits["most"])
        return limits

    @property
    def method_label(self) -> str:
        """What a figure calls a run, which is DDL's mode or the name of another method."""
        return self.mode if self.method == "ddl" else self.method

    @property
    def patch_size(self) -> int:
        """The patch's side in pixels at this size."""
        return self.patch or max(self.size // 16, 1)

    def asdict(self) -> dict:
        """Plain values, as a record keeps them."""
        return {name: getattr(self, name) for name in _METADATA}


def _check(name: str, value, kind: str, limits: Mapping) -> None:
    """Raise ``DDLError`` for a value of the wrong type or out of range."""
    if value is None and "None" in kind:
        return
    if limits["choices"]:
        if value not in limits["choices"]:
            choices = ", ".join(limits["choices"])
            raise DDLError(f"{name} is {value!r}; expected one of {choices}")
    elif kind.startswith(("int", "float")):
        _check_number(name, value, kind.startswith("int"), limits["least"], limits["most"])
    elif kind == "bool":
        if not isinstance(value, bool):
            raise DDLError(
                f"{name} is {value!r}; expected true or false (for papermill: -p {name} True)"
            )
    elif "list" in kind:
        if not isinstance(value, str | list):
            raise DDLError(f"{name} is {value!r}; expected an image's path or a list of boxes")
    elif not isinstance(value, str) or not value.isprintable():
        raise DDLError(
            f"{name} is {value!r}; expected text (a number in quotes, for papermill: -r {name} 01)"
        )


def _check_number(name: str, value, is_integer: bool, least: float, most: float | None) -> None:
    most = _MAX_FLOAT if most is None else most
    fits = isinstance(value, int if is_integer else (int, float)) and not isinstance(value, bool)
    if not fits or not least <= value <= most:
        description = "a whole number" if is_integer else "a number (for YAML 1e-2 is text: 0.01)"
        limit = f"from {least} up" if most >= _MAX_INTEGER else f"from {least} to {most}"
        raise DDLError(f"{name} is {value!r}; expected {description} {limit}")


def recorded(values: Mapping) -> dict:
    """The settings in a record, with defaults for those that are newer than the record."""
    return {**_DEFAULTS, **values}


_METADATA = {setting.name: setting.metadata for setting in fields(Settings)}
_DEFAULTS = Settings().asdict()
VOCABULARY = frozenset(_METADATA)


def touching(*what: Touches) -> frozenset[str]:
    """Names of the settings that touch any of ``what``: prepared data, weights, scores, nothing."""
    return frozenset(name for name, metadata in _METADATA.items() if metadata["touches"] in what)


def check_names(names, source: str) -> None:
    """Raise ``DDLError`` naming the first name that is not in the vocabulary."""
    for name in names:
        if name not in VOCABULARY:
            matches = difflib.get_close_matches(str(name), VOCABULARY, n=1)
            hint = f"did you mean {matches[0]!r}?" if matches else "see ddllib.settings.Settings"
            raise DDLError(f"{source}: unknown parameter {name!r}; {hint}")


def load_profile(name: str, **overrides) -> Settings:
    """The settings of a profile, with ``overrides`` that are not None.

    It is ``book/profiles/<name>.yaml``, or one of the user's own, ``profiles/<name>.yaml``.
    """
    paths = {
        path.stem: path
        for folder in (OWN_PROFILES, PROFILES)
        for path in sorted(folder.glob("*.yaml"))
    }
    if not isinstance(name, str) or name not in paths:
        raise DDLError(
            f"{name}.yaml: no such profile in book/profiles or profiles; expected one of "
            f"{', '.join(paths)}"
        )
    path = paths[name]
    values = read_yaml(path) or {}
    if not isinstance(values, dict):
        raise DDLError(f"{path.name}: expected one `name: value` a line")
    check_names(values, path.name)
    check_names(overrides, "parameters")
    replacements = {key: value for key, value in overrides.items() if value is not None}
    return replace(Settings(), **{"profile": name, **values, **replacements})
