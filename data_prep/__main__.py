"""From footage to prepared data.

A footage folder is in one of these layouts: training/ and testing/ with frames/<clip>/ or videos
(common, ShanghaiTech), Train/ and Test/ (UCSD), training_videos/ and testing_videos/ (Avenue), or
just videos or folders of frames (all for training, but for those that labels.csv names).
"""

import argparse
import contextlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2

from data_prep import datasets
from data_prep.advise import RATE, advise, write_profile
from data_prep.detectors import AUTO, DETECTORS
from data_prep.layouts import SPLITS
from data_prep.manifest import verify
from data_prep.prepared import prepare
from data_prep.record import record
from data_prep.survey import report, survey
from ddllib.commands import run_command
from ddllib.errors import DDLError
from ddllib.files import write_json, writing
from ddllib.settings import data_root, find_path

PICTURES = (".png", ".pdf", ".svg", ".npz")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m data_prep", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    add_download(commands)
    add_check(commands)
    add_advise(commands)
    add_record(commands)
    add_prepare(commands)
    add_others(commands)
    return parser


def add_download(commands) -> None:
    get = commands.add_parser("download", help="fetch a data set, or say how to get it")
    get.set_defaults(run=run_download)
    get.add_argument("dataset", choices=datasets.wholes())
    get.add_argument("folder", nargs="?", type=Path, help="default: its name under $DDL_DATA")
    get.add_argument("--mirror", help="address of a folder that holds the official files")
    get.add_argument("--quiet", action="store_true", help="no progress bars")


def add_footage(command) -> None:
    command.add_argument("source", type=Path, help="folder of footage")
    command.add_argument(
        "--dataset",
        choices=[*datasets.names(), datasets.OWN],
        help="what the footage is meant to be; by default it is recognised by its content",
    )


def add_check(commands) -> None:
    look = commands.add_parser("check", help="say what a folder of footage holds and what differs")
    look.set_defaults(run=run_check)
    add_footage(look)


def add_advise(commands) -> None:
    look = commands.add_parser("advise", help="propose settings for footage of your own")
    look.set_defaults(run=run_advise)
    look.add_argument("source", type=Path, help="folder of normal footage, or one video")
    look.add_argument("--profile", metavar="NAME", help="keep it as profiles/NAME.yaml")


def add_record(commands) -> None:
    keep = commands.add_parser("record", help="keep normal footage of a webcam or an address")
    keep.set_defaults(run=run_record)
    keep.add_argument(
        "address", help='the number of a webcam, such as "0", rtsp://... or http://...'
    )
    keep.add_argument("folder", type=Path, help="folder for the videos")
    keep.add_argument("--minutes", type=float, required=True, help="how long")
    keep.add_argument("--rate", type=float, default=RATE, help="frames per second (default: 10)")


def add_prepare(commands) -> None:
    make = commands.add_parser("prepare", help="prepare a folder of footage")
    make.set_defaults(run=run_prepare)
    add_footage(make)
    make.add_argument("out", type=Path, help="folder for the prepared data")
    make.add_argument(
        "--size",
        type=int,
        nargs="+",
        default=[128],
        metavar="PIXELS",
        help="height and width, or one number for both (default: 128)",
    )
    make.add_argument("--detector", choices=(*DETECTORS, AUTO), default="motion")
    make.add_argument("--weights", help="for yolo (.pt, .onnx, OpenVINO folder) or faster-rcnn")
    make.add_argument(
        "--splits",
        choices=SPLITS,
        nargs="+",
        default=["training"],
        help="splits in which objects are tracked (default: training)",
    )
    make.add_argument(
        "--channels", type=int, choices=(1, 3), help="default: 1 for grey footage, 3 for colour"
    )
    make.add_argument(
        "--frame-rate",
        type=float,
        metavar="N",
        help="frames of a video to keep per second (default: all)",
    )
    make.add_argument("--scene", help='only the clips of this scene, their names before "_"')
    make.add_argument("--quiet", action="store_true", help="no progress bars")


def add_others(commands) -> None:
    test = commands.add_parser("verify", help="check prepared data against its manifest")
    test.set_defaults(run=run_verify)
    test.add_argument("out", type=Path, help="folder of the prepared data")
    show = commands.add_parser("show", help="draw prepared data: frames, tracks, masks")
    show.set_defaults(run=run_show)
    show.add_argument("out", type=Path, help="folder of the prepared data")
    show.add_argument("--labelling", help="which of several labels counts")
    show.add_argument("image", type=Path, help=".png, .pdf, .svg, or .npz to draw later")
    weigh = commands.add_parser("compare", help="detector against detector on training clips")
    weigh.set_defaults(run=run_compare)
    weigh.add_argument("source", type=Path, help="folder of footage")
    weigh.add_argument("table", type=Path, help="the table to write, .json")
    weigh.add_argument("--detectors", choices=DETECTORS, nargs="+", default=list(DETECTORS))


def run_download(given) -> None:
    from data_prep.official import get

    folder = given.folder or data_root() / given.dataset
    get(datasets.load(given.dataset), folder, given.mirror, not given.quiet)
    print(*report(survey(folder, given.dataset)), sep="\n")


def run_check(given) -> int:
    lines = report(survey(given.source, given.dataset))
    print(*lines, sep="\n")
    return int(any(line.startswith("differs: ") for line in lines))


def run_advise(given) -> None:
    advice = advise(given.source if given.source.exists() else find_path(str(given.source)))
    print(*advice.lines(), sep="\n")
    if given.profile:
        print(f"{write_profile(given.profile, name_in_profile(given.source), advice)}: written")
        print(f"to use it: -p profile {given.profile}")
        return
    values = {"data": shlex.quote(str(given.source)), **advice.settings}
    options = " ".join(f"-p {name} {value}" for name, value in values.items())
    print(f"to use it: -p profile own-camera {options}")


def name_in_profile(source: Path) -> str:
    """Footage as a profile names it: as it was given if that leads there from anywhere."""
    with contextlib.suppress(DDLError):
        if not source.exists() or find_path(str(source)).samefile(source):
            return str(source)
    return str(source.resolve())


def run_record(given) -> None:
    for path in record(given.address, given.folder, 60 * given.minutes, given.rate):
        print(f"{path}: written", flush=True)


def run_prepare(given) -> None:
    manifest = prepare(
        given.source,
        given.out,
        tuple(given.size * 2 if len(given.size) == 1 else given.size),
        given.detector,
        given.weights,
        given.splits,
        given.channels,
        not given.quiet,
        given.dataset,
        given.scene,
        given.frame_rate,
    )
    say_whole(given.out, manifest)


def run_verify(given) -> None:
    say_whole(given.out, verify(given.out))


def say_whole(out: Path, manifest: dict) -> None:
    clips = ", ".join(f"{len(c)} {split}" for split, c in manifest["clips"].items())
    print(f"{out}: whole, {clips} clips")


def run_show(given) -> None:
    from ddllib import figures, sheets
    from ddllib.data import load_prepared

    sheet = sheets.panels(load_prepared(given.out, given.labelling))
    if given.image.suffix not in PICTURES:
        raise DDLError(f"{given.image}: expected a name that ends in {', '.join(PICTURES)}")
    if given.image.suffix == ".npz":
        sheets.save(given.image, sheet)
    else:
        with writing(given.image) as file:
            figures.contact_sheet(sheet).savefig(file, format=given.image.suffix[1:])
    print(f"{given.image}: {len(sheet)} clips drawn")


def run_compare(given) -> None:
    from data_prep.compare import compare

    table = compare(given.source, {name: None for name in given.detectors})
    write_json(given.table, table)
    print(f"{given.table}: written")


def quieten() -> None:
    """What OpenCV prints beside our one line helps nobody."""
    cv2.utils.logging.setLogLevel(0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    quieten()
    given = build_parser().parse_args(arguments)
    return run_command("data_prep", lambda: given.run(given))


if __name__ == "__main__":
    sys.exit(main())
