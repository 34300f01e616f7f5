"""``python -m ddllib export``: a trained run as a file that other programs ask for scores.

    python -m ddllib export RUN --to onnx [--out FILE]

A window of frames goes in, uint8 N x T x C0 x H x W; the score N and the error map N x H x W of
its middle frame come out. Frames are as the project prepares them: resized bilinearly to the size
that the file names, grey or RGB, the channels before the pixels. Patches, terms of the score and
ignored pixels are part of the file; the facts in it name the threshold. Scores are raw: the
threshold is for scores filtered over time.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ddllib.camera import assembly
from ddllib.camera.handover import Known
from ddllib.camera.watch_setup import SetUp, run_folder, set_up
from ddllib.data import load_prepared
from ddllib.errors import DDLError
from ddllib.export.facts import facts_of
from ddllib.export.formats import FORMATS, Ask
from ddllib.export.window import ScoredWindow, as_onnx, check_exportable
from ddllib.io.commands import Parser, run_command, whole
from ddllib.io.files import disk_faults
from ddllib.runs import Run
from ddllib.scoring import Scorer
from ddllib.streaming import StreamScorer
from ddllib.training import load_run

TOLERANCE = 1e-4  # of scores and maps, beside the project's own


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m ddllib export``; returns the exit status."""
    options = parser().parse_args(arguments)
    return run_command("export", lambda: _export(options))


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = Parser(prog="python -m ddllib export", description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a trained run")
    parser.add_argument("--to", choices=FORMATS, required=True, help="the format")
    place = "the file (default: in the run's folder, with the run's name)"
    parser.add_argument("--out", type=Path, metavar="FILE", help=place)
    mask = "an image, white where nothing counts, or boxes: [[0, 0, 0.5, 0.2]], from 0 to 1; none"
    parser.add_argument("--ignore", help=f"{mask} (default: the run's)")
    parser.add_argument(
        "--patch", type=whole("pixels"), help="side of a patch (default: the run's)"
    )
    # What a watch takes beside them (``watch_setup``).
    parser.set_defaults(precision="float32", alarms=None, source=None, minutes=None)
    return parser


def _export(options: argparse.Namespace) -> None:
    kind = FORMATS[options.to]
    kind.check_packages()
    folder = run_folder(options.run)
    path = options.out or folder / f"{folder.resolve().name}{kind.suffix}"
    if path.suffix != kind.suffix:
        raise DDLError(f"{path}: expected a name that ends in {kind.suffix}, for {options.to}")
    ready, scorer = scorer_to_export(options)
    window = ScoredWindow(ready.run.model, scorer)
    graph = as_onnx(window, ready.known.channels, ready.known.size)
    facts = facts_of(ready, scorer)
    with _whole(path) as unchecked:
        ask = _written(options.to, graph, facts, unchecked)
        difference = _checked(path, ask, scorer, ready.known)
    print(
        f"{path}: a window of {scorer.model.temporal} frames to a score and a map; they differ "
        f"from the project's own by {difference:.1e} at most"
    )


def scorer_to_export(options: argparse.Namespace) -> tuple[SetUp, StreamScorer]:
    """What the options of ``parser`` ask for: the run, set up as for a watch, and its scorer.

    Both are on the CPU, in float32. Raises ``DDLError`` for a run that cannot be exported.
    """
    ready = set_up(options, _on_cpu)
    settings = ready.run.settings
    check_exportable(settings, str(ready.run.folder))
    return ready, assembly.scorer(settings, ready.known, ready.run)


def _on_cpu(folder: Path) -> Run:
    """A trained run with its models on the CPU, where they are traced and compared."""
    run = load_run(folder)
    for model in run.models.values():
        model.cpu()
    return run


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Gives a path of that name in a new folder beside it; what is there at the end is moved.

    So a file is complete and checked before it takes its place, whose earlier file stays until
    then. Raises ``DDLError`` for a disk that is full or cannot be written to.
    """
    with disk_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as place:
            yield Path(place) / path.name
            files = sorted(Path(place).iterdir(), key=lambda file: file.name == path.name)
            if len(files) > 1:  # an interruption must not leave a pair that mismatches
                path.unlink(missing_ok=True)
            for file in files:
                os.replace(file, path.with_name(file.name))


def _written(name: str, graph: bytes, facts: Mapping[str, str], path: Path) -> Ask:
    """Write a graph and its facts in the format of that name; returns the file, opened."""
    kind = FORMATS[name]
    try:
        kind.write(graph, facts, path)
        return kind.opened(path)
    except OSError:
        raise
    except Exception as error:  # a runtime that lacks an operation raises a type of its own
        reason = str(error).strip().partition("\n")[0]
        raise DDLError(f"{name} cannot take this model ({reason}); try another format") from error


def _checked(path: Path, ask: Ask, scorer: Scorer, known: Known) -> float:
    """The largest difference of what a file answers from the project's own scores and maps.

    Raises ``DDLError`` where it is above ``TOLERANCE``; ``path`` is where the file was to be.
    """
    difference = max(largest_difference(ask, scorer, frames) for frames in _windows(scorer, known))
    if not difference <= TOLERANCE:  # also for NaN
        raise DDLError(
            f"{path}: its scores would differ from the project's own by {difference:.1e}, "
            f"more than {TOLERANCE:g}; it was not written; try another format"
        )
    return difference


def _windows(scorer: Scorer, known: Known) -> Iterator[np.ndarray]:
    """A window of noise, and one of the prepared footage if it is here: uint8 T x C0 x H x W."""
    length = scorer.model.temporal
    shape = length, known.channels, *known.size
    yield np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    if known.prepared:
        with contextlib.suppress(DDLError):  # damaged data is no error: noise was compared
            clips = load_prepared(known.prepared).training.values()
            for clip in [c for c in clips if len(c) >= length and c.shape[1:] == shape[1:]][:1]:
                yield np.array(clip[len(clip) // 2 - length // 2 :][:length])


def largest_difference(ask: Ask, scorer: Scorer, frames: np.ndarray) -> float:
    """How far an exported file and the project's scorer are apart for the windows of a clip.

    ``frames`` is uint8 N x C0 x H x W; every window of it is compared, by score and by map.
    """
    maps: list[np.ndarray] = []
    scores = scorer.clip(frames, on_maps=lambda first, part: maps.extend(part)).scores
    length, before = scorer.model.temporal, scorer.before
    differences = []
    for start, own_map in enumerate(maps):
        score, error_map = ask(frames[None, start : start + length])
        differences.append(np.abs(score - scores[start + before]).max())
        differences.append(np.abs(error_map - own_map).max())
    return float(np.max(differences))
