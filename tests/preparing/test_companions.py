"""Arrays beside the clips: made once, whole, and made anew when what they depend on changes."""

import json
import shutil

import numpy as np
import pytest

from data_prep import companions
from data_prep.companions import strokes
from ddllib import DDLError
from ddllib.data import companion_file, load_prepared
from ddllib.flow import optical_flow


@pytest.fixture
def folder(prepared_folder, tmp_path):
    without = shutil.ignore_patterns("companions")  # another test may have made some
    return shutil.copytree(prepared_folder, tmp_path / "prepared", ignore=without)


def made(folder, name, split="training"):
    companions.make(folder, name, split, progress=False)
    return load_prepared(folder).companion(name, split)


def written(folder, name):
    return {path: path.stat().st_mtime_ns for path in (folder / "companions" / name).rglob("*.npy")}


def test_flow_has_a_field_for_each_frame(folder):
    data = load_prepared(folder)
    for split in ("training", "testing"):
        for clip, flow in made(folder, "flow-dis", split).items():
            frames = getattr(data, split)[clip]
            assert flow.shape == (len(frames), 2, 32, 32) and flow.dtype == np.float16
            assert np.allclose(flow[3], optical_flow(frames[3], frames[4], "dis"), atol=1e-2)


def test_outlines_lie_inside_the_boxes_and_hold_the_object(folder):
    inside, whole = made(folder, "silhouettes-background"), made(folder, "silhouettes-boxes")
    for clip, boxes in whole.items():
        assert set(np.unique(boxes)) == {0, 1} and boxes[0].sum() == 8 * 12
        assert not (inside[clip] & (1 - boxes)).any() and inside[clip].sum() > 0.5 * boxes.sum()


def test_a_box_without_a_whole_pixel_leaves_no_outline(folder):
    tracks = (folder / "tracks.csv").read_text().splitlines()
    fields = tracks[1].split(",")
    fields[4:8] = ["0.500", "0.2", "0.501", "0.4"]
    (folder / "tracks.csv").write_text("\n".join([tracks[0], ",".join(fields)]) + "\n")
    for name in ("silhouettes-background", "silhouettes-boxes"):
        assert not made(folder, name)[fields[1]].any()


def test_an_inpainted_frame_differs_only_inside_the_mask(folder):
    frames, fillings = load_prepared(folder).training, made(folder, "inpainted-telea-background")
    masks = load_prepared(folder).companion("silhouettes-background")
    for clip, mask in masks.items():
        differs = (fillings[clip] != frames[clip]).any(axis=1)
        assert not (differs & (mask == 0)).any() and differs[mask == 1].mean() > 0.9


@pytest.mark.parametrize("preset, coverage", [("thin", 0.30), ("medium", 0.24), ("thick", 0.42)])
def test_random_masks_cover_what_lamas_do_and_at_most_half(preset, coverage):
    masks = np.stack(list(strokes.masks(300, (256, 256), preset, seed=0)))
    shares = masks.mean(axis=(1, 2))
    assert shares.max() <= 0.5 and shares.min() > 0
    assert shares.mean() == pytest.approx(coverage, abs=0.15)
    assert np.array_equal(masks, np.stack(list(strokes.masks(300, (256, 256), preset, seed=0))))


def test_whole_arrays_are_kept_and_damaged_or_outdated_ones_made_anew(folder):
    name = "inpainted-telea-boxes"
    made(folder, name)
    before = written(folder, name)
    made(folder, name)
    assert written(folder, name) == before
    array_file = companion_file(folder, name, "training", "01")
    with open(array_file, "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    made(folder, name)
    after = written(folder, name)
    assert {path.stem for path in after if after[path] != before[path]} == {"01"}
    tracks = (folder / "tracks.csv").read_text().splitlines()
    (folder / "tracks.csv").write_text("\n".join([tracks[0], *tracks[2:]]) + "\n")  # one box less
    made(folder, name)
    last = written(folder, name)
    assert {path.stem for path in last if last[path] != after[path]} == {"01"}


def test_an_array_without_its_facts_is_made_anew(folder):
    made(folder, "strokes-medium")
    path = companion_file(folder, "strokes-medium", "training", "01")
    facts = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").unlink()
    made(folder, "strokes-medium")
    assert json.loads(path.with_suffix(".json").read_text()) == facts


@pytest.mark.parametrize(
    "name",
    ["flow", "flow-raft", "motion", "inpainted-telea-cats", "inpainted-telea-strokes-x"],
)
def test_an_unknown_name_is_refused(folder, name):
    with pytest.raises(DDLError, match="no array beside clips has this name; .*such as flow-tvl1"):
        companions.make(folder, name, progress=False)


def test_a_missing_or_short_array_is_named(folder):
    with pytest.raises(DDLError, match=r"flow-dis/training/01.npy: not there|01.npy"):
        load_prepared(folder).companion("flow-dis")
    made(folder, "flow-dis")
    path = companion_file(folder, "flow-dis", "training", "01")
    np.save(path, np.load(path)[:-1])
    with pytest.raises(DDLError, match="01.npy.*prepare the data again"):
        load_prepared(folder).companion("flow-dis")
