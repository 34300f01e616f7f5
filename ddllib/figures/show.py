"""The verb ``show``: prepared data drawn into a picture."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ddllib.data import load_prepared
from ddllib.errors import DDLError
from ddllib.figures import contact_sheets, plots
from ddllib.io.commands import Parser, run_command
from ddllib.io.files import writing

SUFFIXES = (".png", ".pdf", ".svg", ".npz")


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m ddllib show``: draw prepared data; returns the exit status."""
    description = "draw prepared data: frames, tracks, masks, or what stands beside the frames"
    parser = Parser(prog="python -m ddllib show", description=description)
    parser.add_argument("out", type=Path, help="folder of the prepared data")
    parser.add_argument("image", type=Path, help=".png, .pdf, .svg, or .npz to draw later")
    parser.add_argument("--labelling", help="which of several labels counts")
    parser.add_argument("--companion", default="", help="such as flow-tvl1, silhouettes-background")
    options = parser.parse_args(arguments)
    return run_command("ddllib show", lambda: _show(options))


def _show(options: argparse.Namespace) -> None:
    data = load_prepared(options.out, options.labelling)
    sheet = contact_sheets.panels(data, companion=options.companion)
    if options.image.suffix not in SUFFIXES:
        raise DDLError(f"{options.image}: expected a name that ends in {', '.join(SUFFIXES)}")
    if options.image.suffix == ".npz":
        contact_sheets.save(options.image, sheet)
    else:
        with writing(options.image) as file:
            plots.contact_sheet(sheet).savefig(file, format=options.image.suffix[1:])
    print(f"{options.image}: {len(sheet)} clips drawn")
