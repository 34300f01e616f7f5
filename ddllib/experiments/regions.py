"""RBDC and TBDC of a run's error maps by annotated boxes that you have.

    python -m ddllib regions runs/ped2-baselines/neighbour-mean-seed0 FOLDER

FOLDER holds a file of boxes for each test clip; ``annotated_boxes`` says in which forms.
The run's folder is the one in which it was scored, with its maps; published records have none.
"""

from __future__ import annotations

from pathlib import Path

from ddllib.data import Prepared, load_prepared
from ddllib.errors import DDLError
from ddllib.experiments.annotated_boxes import read_boxes, region_and_track_by_boxes
from ddllib.io.commands import Parser, run_command, whole
from ddllib.io.reading import read_array
from ddllib.localisation import LEVELS, Criteria
from ddllib.records import Record, read_record
from ddllib.settings import Settings, recorded


def judge(record: Record, data: Prepared, folder: Path, levels: int, first: int) -> Criteria:
    """The criteria of a record's maps by the boxes in ``folder``; ``first`` as in ``read_boxes``.

    Raises ``DDLError`` where the record has no maps, or the original size of a clip is not known.
    """
    facts, maps = data.manifest["clips"]["testing"], {}
    for name in record.scores:
        path = record.folder / "maps" / f"{name}.npy"
        maps[name] = read_array(path, "error maps", "score the run again", mapped=True)
    lacking = [name for name in maps if "shape" not in facts.get(name, {})]
    if lacking:
        raise DDLError(
            f"{data.folder}: the original size of clip {lacking[0]!r} is not known; expected its "
            "height and width in the manifest; prepare the data again"
        )
    lengths = {name: len(array) for name, array in maps.items()}
    shapes = {name: tuple(facts[name]["shape"]) for name in maps}
    boxes = read_boxes(folder, lengths, shapes, first)
    patch = Settings(**recorded(record.facts["settings"])).patch_size
    return region_and_track_by_boxes(maps, boxes, patch, levels=levels)


def summary(record: Record, figures: Criteria) -> str:
    """The figures with all that they depend on, a sentence."""
    return (
        f"{record.name}: RBDC {100 * figures.rbdc:.2f}, TBDC {100 * figures.tbdc:.2f} by "
        f"{figures.regions} boxes of {figures.tracks} tracks, {figures.levels} thresholds"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m ddllib regions", description=__doc__)
    parser.add_argument("record", type=Path, help="the folder in which a run was scored")
    parser.add_argument("boxes", type=Path, help="the folder of the files of boxes")
    parser.add_argument(
        "--levels",
        type=whole("thresholds", least=2),
        default=LEVELS,
        help=f"thresholds of the curve (default {LEVELS}); more find more",
    )
    parser.add_argument(
        "--first",
        type=whole("the first frame's number", least=0),
        default=0,
        help="the number of a clip's first frame in the files (default 0)",
    )
    options = parser.parse_args(arguments)

    def run() -> int:
        record = read_record(options.record)
        data = load_prepared(Settings(**recorded(record.facts["settings"])).prepared_folder)
        print(summary(record, judge(record, data, options.boxes, options.levels, options.first)))
        return 0

    return run_command("regions", run)
