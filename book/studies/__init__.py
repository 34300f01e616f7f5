"""Measurements for the book; each is run by ``python -m ddllib study NAME``."""

import sys
from collections.abc import Sequence
from importlib import import_module

STUDIES = {
    "cameras": "whether many live cameras tell what a watch of each clip alone tells",
    "drift": "how soon a change of the scene is told, and that none is made up",
    "little-footage": "how often a threshold's interval holds where footage is as little as Ped2's",
    "ped2": "the same on UCSD Ped2, for every run of it in the book",
    "retraining": "what a camera that was turned needs to alarm again as before",
    "stream": "whether a watch keeps up in real time, with the scores of the footage at rest",
    "thresholds": "how often a threshold's interval holds on generated footage",
    "watch": "the events of a data set's test clips, recorded for the book to show",
}
MODULES = {"little-footage": "little_footage_study", "thresholds": "threshold_study"}


def main(arguments: Sequence[str]) -> int:
    """Run one study; returns its exit status."""
    name, *rest = arguments or ["--help"]
    if name not in STUDIES:
        print("usage: python -m ddllib study NAME ...\n")
        print(*(f"  {study:<16} {description}" for study, description in STUDIES.items()), sep="\n")
        if name in ("-h", "--help"):
            return 0
        print(f"ddllib study: {name!r} is none of them", file=sys.stderr)
        return 2
    return import_module(f"{__name__}.{MODULES.get(name, f'{name}_study')}").main(rest)
