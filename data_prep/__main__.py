"""`python -m data_prep prepare SOURCE OUT` and `python -m data_prep verify OUT`."""

import argparse
import sys
from collections.abc import Sequence

from data_prep.detection import DETECTORS
from data_prep.layouts import SPLITS
from data_prep.manifest import verify
from data_prep.prepared import prepare
from ddllib.errors import DDLError


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m data_prep", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("prepare", help="prepare a folder of footage")
    make.add_argument("source", help="folder that holds training/ and testing/")
    make.add_argument("out", help="folder for the prepared data")
    make.add_argument(
        "--size",
        type=int,
        nargs="+",
        default=[128],
        metavar="PIXELS",
        help="height and width, or one number for both (default: 128)",
    )
    make.add_argument("--detector", choices=DETECTORS, default="motion")
    make.add_argument("--weights", help="weights for yolo: .pt, .onnx or an OpenVINO folder")
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
    make.add_argument("--quiet", action="store_true", help="no progress bars")
    check = commands.add_parser("verify", help="check prepared data against its manifest")
    check.add_argument("out", help="folder of the prepared data")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 if it worked, 1 with one line on stderr if the user can mend it."""
    given = build_parser().parse_args(arguments)
    try:
        if given.command == "verify":
            manifest = verify(given.out)
        else:
            size = given.size * 2 if len(given.size) == 1 else given.size
            manifest = prepare(
                given.source,
                given.out,
                tuple(size),
                given.detector,
                given.weights,
                given.splits,
                given.channels,
                not given.quiet,
            )
    except DDLError as error:
        print(f"data_prep: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("data_prep: stopped; finished clips are kept, run again to go on", file=sys.stderr)
        return 130
    clips = ", ".join(f"{len(c)} {split}" for split, c in manifest["clips"].items())
    print(f"{given.out}: whole, {clips} clips")
    return 0


if __name__ == "__main__":
    sys.exit(main())
