"""Draw the README's picture anew from its record: ``.venv/bin/python book/cover.py``."""

from __future__ import annotations

from pathlib import Path

from ddllib import figures
from ddllib.chapter import highest_frames
from ddllib.records import read_record
from ddllib.settings import RESULTS

PICTURE = Path(__file__).parent / "images" / "ped2-errors.png"


def main() -> None:
    record = read_record(RESULTS / "ped2-cpu" / "c3dsu-ddl-seed0")
    figures.set_style()
    PICTURE.parent.mkdir(exist_ok=True)
    figures.error_maps(**highest_frames(record)).savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    main()
