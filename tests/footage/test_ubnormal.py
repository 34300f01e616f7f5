"""UBnormal's layout: splits by lists of names, frame labels by tracks of objects."""

import shutil

import numpy as np
import pytest
from support.footage import FRAMES, walk, write_video

from data_prep import prepare
from data_prep.footage.layouts import find_footage
from data_prep.footage.survey import read_labels, report, survey
from ddllib.data import load_prepared
from ddllib.errors import DDLError

NAMES = {
    ("normal", "training"): ["normal_scene_1_scenario_3", "normal_scene_2_scenario2_1"],
    ("abnormal", "training"): ["abnormal_scene_1_scenario_1"],
    ("normal", "validation"): ["normal_scene_2_scenario_9_fog"],
    ("abnormal", "validation"): ["abnormal_scene_1_scenario_2", "abnormal_scene_2_scenario_4"],
    ("normal", "test"): ["normal_scene_1_scenario_5"],
    ("abnormal", "test"): ["abnormal_scene_2_scenario_6"],
}
TRACKS = {  # object, first, last; the last one reaches beyond the clip
    "abnormal_scene_1_scenario_2": "3,4,7\n",
    "abnormal_scene_2_scenario_4": "1,0,2\n2,2,3\n5,11,14\n",
}


@pytest.fixture
def ubnormal(tmp_path, own_runs):
    """All scenes with videos, annotations, and the repository's lists in `scripts`."""
    root = tmp_path / "UBnormal"
    for (kind, part), names in NAMES.items():
        table = root / "scripts" / f"{kind}_{part}_video_names.txt"
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text("\n".join(names))
        for name in names:
            scene = root / f"Scene{name.split('_')[2]}"
            write_video(scene / f"{name}.mp4", walk())
            (scene / f"{name}_annotations").mkdir()
            tracks = scene / f"{name}_annotations" / f"{name}_tracks.txt"
            if kind == "abnormal":
                tracks.write_text(TRACKS.get(name, "0,1,2\n"))
    return root


def test_training_clips_are_normal_and_test_clips_those_of_validation(ubnormal):
    footage = find_footage(ubnormal)
    assert footage.layout == "UBnormal" and not footage.notes
    assert sorted(footage.clips["training"]) == NAMES["normal", "training"]
    tests = NAMES["normal", "validation"] + NAMES["abnormal", "validation"]
    assert sorted(footage.clips["testing"]) == sorted(tests)


def test_without_validation_lists_the_test_split_is_taken(ubnormal):
    for kind in ("normal", "abnormal"):
        (ubnormal / "scripts" / f"{kind}_validation_video_names.txt").unlink()
    tests = NAMES["normal", "test"] + NAMES["abnormal", "test"]
    assert sorted(find_footage(ubnormal).clips["testing"]) == sorted(tests)


def test_tracks_count_from_zero_include_their_last_frame_and_end_with_the_clip(ubnormal):
    marks = read_labels(survey(ubnormal))["tracks"]
    assert marks["normal_scene_2_scenario_9_fog"].ranges == []
    assert marks["abnormal_scene_1_scenario_2"].ranges == [(4, 7)]
    assert marks["abnormal_scene_2_scenario_4"].ranges == [(0, 2), (2, 3), (11, FRAMES - 1)]


def test_it_is_prepared_with_frame_labels(ubnormal, tmp_path):
    prepare(ubnormal.parent, tmp_path / "out", (24, 32), progress=False)
    data = load_prepared(tmp_path / "out")
    assert data.labelling == "tracks" and not data.masks
    labels = data.labels["abnormal_scene_2_scenario_4"]
    assert np.flatnonzero(labels).tolist() == [0, 1, 2, 3, 11, 12, 13]
    assert not data.labels["normal_scene_2_scenario_9_fog"].any()


def test_changed_tracks_are_read_anew(ubnormal, tmp_path):
    prepare(ubnormal, tmp_path / "out", (24, 32), progress=False)
    name = "abnormal_scene_1_scenario_2"
    (ubnormal / "Scene1" / f"{name}_annotations" / f"{name}_tracks.txt").write_text("3,5,5\n")
    prepare(ubnormal, tmp_path / "out", (24, 32), progress=False)
    labels = load_prepared(tmp_path / "out").labels[name]
    assert np.flatnonzero(labels).tolist() == [5]


def test_scenes_that_are_not_there_are_named(ubnormal):
    shutil.rmtree(ubnormal / "Scene2")
    lines = report(survey(ubnormal))
    assert any("1 of 2 listed training videos" in line for line in lines)
    shutil.rmtree(ubnormal / "Scene1")
    (ubnormal / "Scene3").mkdir()
    write_video(ubnormal / "Scene3" / "normal_scene_3_scenario_1.mp4", walk())
    with pytest.raises(DDLError, match=r"none of the 2 videos for training.*unpack"):
        find_footage(ubnormal)


def test_missing_lists_and_wrong_tracks_are_named(ubnormal):
    name = "abnormal_scene_1_scenario_2"
    tracks = ubnormal / "Scene1" / f"{name}_annotations" / f"{name}_tracks.txt"
    for content in ("", "3,4\n", "3,4,x\n"):
        tracks.write_text(content)
        with pytest.raises(DDLError, match=rf"{name}_tracks.txt.*object,first,last"):
            read_labels(survey(ubnormal))
    tracks.unlink()
    with pytest.raises(DDLError, match=rf"{name}_tracks.txt.*not there"):
        read_labels(survey(ubnormal))
    (ubnormal / "scripts" / "normal_training_video_names.txt").write_text("clip 01\n")
    with pytest.raises(DDLError, match=r"normal_training_video_names.txt.*clip"):
        find_footage(ubnormal)
    (ubnormal / "scripts" / "normal_training_video_names.txt").unlink()
    with pytest.raises(DDLError, match=r"normal_training_video_names.txt.*scripts"):
        find_footage(ubnormal)


def test_own_folders_called_scene_are_no_ubnormal(ubnormal, tmp_path):
    write_video(tmp_path / "own" / "Scene1" / "monday.mp4", walk())
    assert find_footage(tmp_path / "own").layout == "plain"
