"""The one command: ``python -m ddllib <verb>``; each verb says with ``--help`` what it takes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

# The verb's module, which has a ``main(arguments)``, and what it does.
VERBS = {
    "watch": ("ddllib.camera.watch_command", "watch a video, a folder, a webcam or an address"),
    "mark": ("ddllib.camera.marking", "an event was normal: train on it from now on"),
    "export": ("ddllib.export.command", "a run as one file for other programs: ONNX, OpenVINO"),
    "advise": ("data_prep.__main__", "propose settings for footage of your own"),
    "show": ("ddllib.figures.show", "draw prepared data: frames, tracks, masks"),
    "experiments": ("ddllib.experiments.command", "many runs of a profile: list them, run them"),
    "regions": ("ddllib.experiments.regions", "RBDC and TBDC by boxes that you have"),
    "repeat": ("ddllib.experiments.repeat", "run a record again and say what differs"),
    "benchmark": ("ddllib.experiments.benchmark", "how fast training and scoring are here"),
    "study": ("studies", "a measurement that the book cites"),
}
OF_DATA_PREP = ("advise",)  # verbs that are also commands of ``python -m data_prep``


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns its exit status."""
    options = list(sys.argv[1:] if arguments is None else arguments)
    if options[:1] in ([], ["-h"], ["--help"]):
        print(usage())
        return 0 if options else 2
    verb, *rest = options
    if verb not in VERBS:
        print(f"ddllib: {verb!r} is no verb; expected one of {', '.join(VERBS)}", file=sys.stderr)
        return 2
    run: Callable = import_module(VERBS[verb][0]).main
    return run([verb, *rest] if verb in OF_DATA_PREP else rest)


def usage() -> str:
    lines = [f"  {verb:<12} {what}" for verb, (_, what) in VERBS.items()]
    return "\n".join(["usage: python -m ddllib VERB ...", "", *lines])


if __name__ == "__main__":
    sys.exit(main())
