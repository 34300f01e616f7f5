"""The tables of facts, how a data set is recognised by them, and what `check` reports."""

import os
import shutil

import numpy as np
import pytest
from support.footage import FRAMES

from data_prep import prepare
from data_prep.__main__ import main
from data_prep.footage import datasets, survey
from ddllib.errors import DDLError

pytestmark = pytest.mark.usefixtures("own_runs")  # boxes are kept there

# From the descriptions of the data sets: clips and frames by split, and abnormal test frames.
STATED = {
    "ped2": ((16, 2550), (12, 2010), {"frames": 1648}),
    "ped1": ((34, 6800), (36, 7200), {}),
    "avenue": ((16, 15328), (21, 15324), {"masks": 3712, "frame_labels_avenue.npy": 3867}),
    "shanghaitech": ((330, 274515), (107, 40791), {"frames": 17326}),
    "avenue-pilot": ((2, 389), (6, 1353), {"masks": 1061, "frame_labels_avenue.npy": 972}),
}


@pytest.mark.parametrize("name", STATED)
def test_facts_add_up(name):
    training, testing, abnormal = STATED[name]
    facts = datasets.load(name)
    assert (facts.total("training"), facts.total("testing")) == (training, testing)
    assert {k: sum(v.values()) for k, v in facts.abnormal.items()} == abnormal


def test_every_table_is_tried_here():
    assert set(datasets.names()) == set(STATED)


def lengths_of(name):
    return {split: dict(clips) for split, clips in datasets.load(name).frames.items()}


@pytest.mark.parametrize("name", ["ped1", "ped2", "avenue", "shanghaitech"])
def test_recognised_by_lengths_and_size(name):
    dataset, lengths = datasets.load(name), lengths_of(name)
    if not lengths["training"]:  # the names of its training clips are not in the table
        lengths["training"] = {f"01_{k:03d}": 300 + k for k in range(330)}
    assert datasets.identify(lengths, dataset.size) is dataset
    assert datasets.identify(lengths, (dataset.size[0] + 1, dataset.size[1])) is None
    lengths["testing"].popitem()
    assert datasets.identify(lengths, dataset.size) is dataset


def test_own_footage_is_not_taken_for_a_known_set():
    own = {"training": {f"{k:02d}": 150 for k in range(1, 17)}, "testing": {}}
    assert datasets.identify(own, (240, 360)) is None
    assert datasets.identify({"training": {"01": 120}, "testing": {}}, (240, 360)) is None


def test_differences_are_reported_clip_by_clip():
    lengths = lengths_of("ped2")
    lengths["testing"]["03"] -= 1
    lengths["training"]["99"] = 5
    del lengths["training"]["04"], lengths["training"]["05"], lengths["testing"]["12"]
    ped2 = datasets.load("ped2")
    assert datasets.differences(ped2, lengths) == [
        ("training", "99", 5, None),
        ("testing", "03", 149, 150),
    ]
    assert datasets.absent(ped2, lengths) == {"training": "04-05", "testing": "12"}


def test_clips_in_short():
    assert datasets.spans(["01", "02", "03", "07", "05_0017", "05_0018", "a"]) == (
        "01-03, 05_0017-05_0018, 07, a"
    )


# The real data sets


def reported(source, dataset=None):
    return survey.report(survey.survey(source, dataset))


def test_ped2_is_read_by_its_path(ped2):
    assert reported(ped2) == [
        "layout: common; data set: ped2 (UCSD Ped2)",
        "training: 16 of 16 clips, 2550 of 2550 frames",
        "testing: 12 of 12 clips, 2010 of 2010 frames",
        "labels ped2.mat: 1648 of 2010 frames abnormal, 12 clips",
        "labels masks: 1648 of 2010 frames abnormal, 12 clips",
    ]


@pytest.mark.slow
def test_avenue_is_read_by_its_path_and_its_absent_clips_are_reported(ped2):
    assert reported(ped2.parent / "avenue") == [
        "layout: Avenue; data set: avenue (CUHK Avenue)",
        "training: 2 of 16 clips, 389 of 15328 frames",
        "testing: 6 of 21 clips, 1353 of 15324 frames",
        "labels frame_labels_avenue.npy: 3867 of 15324 frames abnormal, 21 clips",
        "labels masks: 3712 of 15324 frames abnormal, 21 clips",
        "differs: training absent: 01-11, 13-15",
        "differs: testing absent: 01-07, 09-16",
    ]


def test_shanghaitech_labels_are_read_by_their_path(ped2):
    assert reported(ped2.parent / "shanghaitech") == [
        "layout: ShanghaiTech; data set: shanghaitech (ShanghaiTech Campus)",
        "training: 0 of 330 clips, 0 of 274515 frames",
        "testing: 0 of 107 clips, 0 of 40791 frames",
        "labels test_frame_mask: 17326 of 40791 frames abnormal, 107 clips",
        "differs: training absent: all 330 clips",
        "differs: testing absent: all 107 clips",
    ]


@pytest.mark.slow
def test_a_part_of_avenue_is_prepared_only_by_its_name(ped2, tmp_path):
    avenue = ped2.parent / "avenue"
    with pytest.raises(DDLError, match="absent: 01-11, 13-15; .* --dataset avenue-pilot") as error:
        prepare(avenue, tmp_path / "out", 32, progress=False)
    assert "\n" not in str(error.value)
    manifest = prepare(avenue, tmp_path / "out", 32, progress=False, dataset="avenue-pilot")
    assert manifest["dataset"] == "avenue-pilot" and manifest["labelling"] == "masks"
    assert manifest["labellings"] == {
        "frame_labels_avenue.npy": {"abnormal": 972, "differs": 89},
        "masks": {"abnormal": 1061, "differs": 0},
    }


def linked(source, target):
    """The same tree by links, so that files can be taken away."""
    shutil.copytree(source, target, copy_function=os.symlink)
    return target


@pytest.mark.slow
def test_a_lost_last_frame_is_reported_with_expected_and_found(ped2, tmp_path):
    copy = linked(ped2, tmp_path / "copy")
    (copy / "training" / "frames" / "07" / "149.jpg").unlink()
    assert "differs: training 07 has 149 frames, expected 150" in reported(copy)
    with pytest.raises(DDLError, match="training 07 has 149 frames, expected 150"):
        prepare(copy, tmp_path / "out", 32, progress=False)
    assert not (tmp_path / "out").exists()


def test_other_labels_than_the_official_are_reported(ped2, tmp_path):
    copy = linked(ped2, tmp_path / "copy")
    (copy / "ped2.mat").unlink()
    (copy / "labels.csv").write_text("clip,first,last\n01,61,179\n")
    lines = reported(copy)
    assert "differs: testing 01 has 119 abnormal frames by labels.csv, expected 120" in lines


# The command


def test_check_command(footage, capsys):
    assert main(["check", str(footage)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "layout: common; data set: none of the known"
    assert lines[1] == f"training: 2 clips, {2 * FRAMES} frames"
    assert "labels labels.csv: 4 of 28 frames abnormal, 2 clips" in lines


def test_an_unknown_data_set_is_refused(footage, tmp_path):
    with pytest.raises(DDLError, match="dataset: unknown name 'ped3'; expected one of avenue"):
        prepare(footage, tmp_path / "out", dataset="ped3", progress=False)


def test_footage_meant_to_be_a_known_set_is_held_against_it(footage, tmp_path):
    with pytest.raises(DDLError, match="training 01 has 14 frames, expected 120"):
        prepare(footage, tmp_path / "out", dataset="ped2", progress=False)


def test_labels_of_joined_clips(footage, tmp_path):
    (footage / "testing" / "labels.csv").unlink()
    labels = np.zeros(2 * FRAMES, np.int8)
    labels[4:8] = 1
    np.save(footage / "labels.npy", labels[None])
    manifest = prepare(footage, tmp_path / "out", 24, progress=False)
    assert manifest["labelling"] == "labels.npy"
    assert manifest["labellings"]["masks"]["differs"] == 0
    np.save(footage / "labels.npy", labels[1:])
    with pytest.raises(DDLError, match="labels.npy: 27 labels, but the 2 test clips have 28"):
        prepare(footage, tmp_path / "out", 24, progress=False)
