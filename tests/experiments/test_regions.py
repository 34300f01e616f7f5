"""A run's maps judged by boxes that a user has, in the files of others."""

import numpy as np
import pytest

from ddllib import DDLError, pipeline
from ddllib.__main__ import main
from ddllib.experiments import regions
from ddllib.localisation import region_and_track

SHAPE = (64, 96)  # the original height and width


@pytest.fixture
def scored(small_settings, small_data):
    """A scored baseline, its data, and masks of where the test clips are abnormal."""
    settings = small_settings(method="neighbour-mean", epochs=0)
    run = pipeline.train(settings, small_data, progress=False)
    record = pipeline.score(settings, small_data, run, progress=False)
    for facts in small_data.manifest["clips"]["testing"].values():
        facts["shape"] = list(SHAPE)
    masks = {name: np.zeros((20, 32, 32), np.uint8) for name in record.scores}
    for mask in masks.values():
        mask[8:13, :, :6] = 1
    return settings, record, small_data, masks


@pytest.fixture
def boxes(tmp_path):
    """A file of boxes for each test clip, in the two forms, of the same regions."""
    folder = tmp_path / "boxes"
    folder.mkdir()
    rows = [f"{t} 1 9 32 18 64" for t in range(8, 13)]
    (folder / "Test001_gt.txt").write_text("\n".join(rows))
    rows = [f"1,{t},0,0,18,64" for t in range(8, 13)]
    (folder / "02.txt").write_text("\n".join(rows))
    return folder


def test_boxes_of_masks_give_the_figures_of_masks(scored, boxes):
    settings, record, data, masks = scored
    maps = {n: np.load(record.folder / "maps" / f"{n}.npy") for n in record.scores}
    expected = region_and_track(maps, masks, settings.patch_size, levels=600)
    figures = regions.judge(record, data, boxes, 600, 0)
    assert figures == pytest.approx(expected) and figures.levels == 600


def test_the_command_prints_the_figures_and_the_number_of_thresholds(
    scored, boxes, monkeypatch, capsys
):
    _, record, data, _ = scored
    monkeypatch.setattr(regions, "load_prepared", lambda folder: data)
    assert main(["regions", str(record.folder), str(boxes), "--levels", "30"]) == 0
    printed = capsys.readouterr().out
    assert "by 10 boxes of 2 tracks, 30 thresholds" in printed and record.name in printed
    assert main(["regions", str(record.folder), str(boxes / "nowhere")]) != 0
    assert "no files of boxes" in capsys.readouterr().err


def test_what_lacks_for_it_is_reported(scored, boxes):
    _, record, data, _ = scored
    del data.manifest["clips"]["testing"]["02"]["shape"]
    with pytest.raises(DDLError, match="original size of clip '02' is not known"):
        regions.judge(record, data, boxes, 60, 0)
    (record.folder / "maps" / "01.npy").unlink()
    with pytest.raises(DDLError, match="score the run again"):
        regions.judge(record, data, boxes, 60, 0)
