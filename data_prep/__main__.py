"""From footage to prepared data.

A footage folder is in one of these layouts: training/ and testing/ with frames/<clip>/ or videos
(common, ShanghaiTech), Train/ and Test/ (UCSD), training_videos/ and testing_videos/ (Avenue),
Scene1/, Scene2/ and so on with the lists of videos (UBnormal), or just videos or folders of frames:
these are training clips, except those that labels.csv names. Clips may lie deeper, as recorders
keep them: <date>/<hour>/00.mp4 is the clip <date>_<hour>_00. A TIFF file of several pages is a
clip, too.
"""

import argparse
import contextlib
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2

from data_prep.footage import datasets
from data_prep.footage.layouts import SPLITS
from data_prep.footage.survey import report, survey
from data_prep.live.record import record
from data_prep.preparing.advise import OWN_CAMERA, RATE, advise, write_profile
from data_prep.preparing.manifest import verify
from data_prep.preparing.prepared import prepare
from data_prep.tracks.detectors.base import AUTO, DETECTORS
from ddllib.errors import DDLError
from ddllib.io.commands import Parser, frames_per_second, minutes, run_command, whole
from ddllib.io.files import write_json
from ddllib.paths import ROOT, data_root, find_path


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m data_prep", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    add_download(commands)
    add_check(commands)
    add_advise(commands)
    add_record(commands)
    add_prepare(commands)
    add_train_inpainter(commands)
    add_others(commands)
    return parser


def add_download(commands) -> None:
    command = commands.add_parser("download", help="fetch a data set, or say how to get it")
    command.set_defaults(run=run_download)
    command.add_argument("dataset", choices=datasets.wholes())
    command.add_argument("folder", nargs="?", type=Path, help="default: its name under $DDL_DATA")
    command.add_argument("--mirror", help="address of a folder that holds the official files")
    command.add_argument("--quiet", action="store_true", help="no progress bars")


def add_footage(command) -> None:
    command.add_argument("source", type=Path, help="folder of footage")
    command.add_argument(
        "--dataset",
        choices=[*datasets.names(), datasets.OWN],
        help="what the footage is meant to be; by default it is recognised by its content",
    )


def add_check(commands) -> None:
    text = "say what a folder of footage holds and what differs"
    command = commands.add_parser("check", help=text)
    command.set_defaults(run=run_check)
    add_footage(command)


def add_advise(commands) -> None:
    command = commands.add_parser("advise", help="propose settings for footage of your own")
    command.set_defaults(run=run_advise)
    command.add_argument("source", type=Path, help="folder of normal footage, or one video")
    command.add_argument("--profile", metavar="NAME", help="keep it as profiles/NAME.yaml")


def add_record(commands) -> None:
    command = commands.add_parser("record", help="keep normal footage of a webcam or an address")
    command.set_defaults(run=run_record)
    command.add_argument(
        "address", help='the number of a webcam, such as "0", rtsp://... or http://...'
    )
    command.add_argument("folder", type=Path, help="folder for the videos")
    command.add_argument("--minutes", type=minutes, required=True, help="how long")
    command.add_argument(
        "--rate", type=frames_per_second, default=RATE, help="frames per second (default: 10)"
    )


def add_prepare(commands) -> None:
    command = commands.add_parser("prepare", help="prepare a folder of footage")
    command.set_defaults(run=run_prepare)
    add_footage(command)
    command.add_argument("out", type=Path, help="folder for the prepared data")
    command.add_argument(
        "--size",
        type=whole("pixels"),
        nargs="+",
        default=[128],
        metavar="PIXELS",
        help="height and width, or one number for both (default: 128)",
    )
    command.add_argument("--detector", choices=(*DETECTORS, AUTO), default="motion")
    command.add_argument("--weights", help="for yolo (.pt, .onnx, OpenVINO folder) or faster-rcnn")
    command.add_argument(
        "--splits",
        choices=SPLITS,
        nargs="+",
        default=["training"],
        help="splits in which objects are tracked (default: training)",
    )
    command.add_argument(
        "--channels", type=int, choices=(1, 3), help="default: 1 for grey footage, 3 for colour"
    )
    command.add_argument(
        "--frame-rate",
        type=frames_per_second,
        metavar="N",
        help="frames of a video to keep per second (default: all)",
    )
    command.add_argument("--scene", help='only the clips of this scene, their names before "_"')
    command.add_argument("--quiet", action="store_true", help="no progress bars")


def add_train_inpainter(commands) -> None:
    text = "train the small latent diffusion in-painter on pictures"
    command = commands.add_parser("train-inpainter", help=text)
    command.set_defaults(run=run_train_inpainter)
    command.add_argument("pictures", type=Path, help="folder of .jpg and .png files")
    command.add_argument("out", type=Path, help="folder for checkpoints, weights and record")
    for part in ("autoencoder", "unet"):
        command.add_argument(f"--{part}-steps", type=whole("steps"), metavar="N")
    command.add_argument("--quiet", action="store_true", help="no progress bars")


def add_others(commands) -> None:
    command = commands.add_parser("verify", help="check prepared data against its manifest")
    command.set_defaults(run=run_verify)
    command.add_argument("out", type=Path, help="folder of the prepared data")
    command = commands.add_parser("compare", help="detector against detector on training clips")
    command.set_defaults(run=run_compare)
    command.add_argument("source", type=Path, help="folder of footage")
    command.add_argument("table", type=Path, help="the table to write, .json")
    command.add_argument("--detectors", choices=DETECTORS, nargs="+", default=list(DETECTORS))


def run_download(options) -> None:
    from data_prep.fetching.official import get

    folder = options.folder or data_root() / options.dataset
    get(datasets.load(options.dataset), folder, options.mirror, not options.quiet)
    print(*report(survey(folder, options.dataset)), sep="\n")


def run_check(options) -> int:
    lines = report(survey(options.source, options.dataset, thorough=True))
    print(*lines, sep="\n")
    return int(any(line.startswith("differs: ") for line in lines))


def run_advise(options) -> None:
    place = options.source if options.source.exists() else find_path(str(options.source))
    advice = advise(place)
    print(*advice.lines(), sep="\n")
    if options.profile:
        print(f"{write_profile(options.profile, name_in_profile(options.source), advice)}: written")
        print(f"to train: {training_command(options.profile, {'profile': options.profile})}")
        return
    values = {"profile": OWN_CAMERA, "data": from_the_root(place), **advice.settings}
    print(f"to train: {training_command(place.resolve().stem, values)}")


def training_command(name: str, values: Mapping) -> str:
    """A shell command that trains with these values from any folder; see chapter 5."""
    parameters = [word for key, value in values.items() for word in ("-p", key, str(value))]
    papermill = ".venv/bin/papermill" if (ROOT / ".venv/bin/papermill").exists() else "papermill"
    chapter = "book/05-training.ipynb"
    line = shlex.join([papermill, chapter, f"runs/{name.lstrip('-')}.ipynb", *parameters])
    needs_cd = Path.cwd() != ROOT
    return f"cd {shlex.quote(str(ROOT))} && {line}" if needs_cd else line


def from_the_root(place: Path) -> str:
    """A path as a chapter finds it: relative to the project's root if below it, else absolute.

    A relative path without a slash is made absolute: papermill would read 2024 as a number.
    """
    place = place.resolve()
    relative = str(place.relative_to(ROOT)) if place.is_relative_to(ROOT) else ""
    return relative if "/" in relative else str(place)


def name_in_profile(source: Path) -> str:
    """Footage as a profile names it: unchanged if it is found from any folder, else absolute."""
    with contextlib.suppress(DDLError):
        if not source.exists() or find_path(str(source)).samefile(source):
            return str(source)
    return str(source.resolve())


def run_record(options) -> None:
    for path in record(options.address, options.folder, 60 * options.minutes, options.rate):
        print(f"{path}: written", flush=True)


def run_prepare(options) -> None:
    manifest = prepare(
        options.source,
        options.out,
        tuple(options.size * 2 if len(options.size) == 1 else options.size),
        options.detector,
        options.weights,
        options.splits,
        options.channels,
        not options.quiet,
        options.dataset,
        options.scene,
        options.frame_rate,
    )
    say_whole(options.out, manifest)


def run_train_inpainter(options) -> None:
    from data_prep.diffusion.training import Plan, train

    names = ("autoencoder_steps", "unet_steps")
    steps = {name: getattr(options, name) for name in names if getattr(options, name)}
    weights = train(options.pictures, options.out, Plan(**steps), not options.quiet)
    print(f"{weights}: written")


def run_verify(options) -> None:
    say_whole(options.out, verify(options.out))


def say_whole(out: Path, manifest: dict) -> None:
    clips = ", ".join(f"{len(c)} {split}" for split, c in manifest["clips"].items())
    print(f"{out}: whole, {clips} clips")


def run_compare(options) -> None:
    from data_prep.tracks.compare import compare

    table = compare(options.source, {name: None for name in options.detectors})
    write_json(options.table, table)
    print(f"{options.table}: written")


def quieten() -> None:
    """Switch off OpenCV's own messages: ours say in one line what is wrong."""
    cv2.utils.logging.setLogLevel(0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    quieten()
    options = build_parser().parse_args(arguments)
    return run_command("data_prep", lambda: options.run(options))


if __name__ == "__main__":
    sys.exit(main())
