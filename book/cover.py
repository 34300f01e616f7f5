"""Draw the README's picture from its record: ``.venv/bin/python book/cover.py``."""

from __future__ import annotations

from pathlib import Path

from ddllib.figures import plots
from ddllib.figures.chapter import highest_frames
from ddllib.paths import RESULTS
from ddllib.records import read_record

PICTURE = Path(__file__).parent / "images" / "ped2-errors.png"


def main() -> None:
    record = read_record(RESULTS / "ped2-cpu" / "c3dsu-ddl-seed0")
    plots.set_style()
    PICTURE.parent.mkdir(exist_ok=True)
    plots.error_maps(**highest_frames(record)).savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    main()
