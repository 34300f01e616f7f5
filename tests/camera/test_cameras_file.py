"""``cameras.yaml``: what it says becomes options, and what it cannot say is told in one line."""

import pytest

from ddllib import DDLError
from ddllib.camera.cameras_file import read_cameras
from ddllib.camera.watch_command import main, parser

TWO = """
to: seen
defaults: {run: runs/a, alarms: 2}
cameras:
  yard: {source: "rtsp://me:secret@camera/1", rate: 5, ignore: [[0, 0, 0.5, 0.2]]}
  door: {source: door.mp4, run: runs/b, to: elsewhere, on_event: "true -x"}
"""


def written(tmp_path, text):
    path = tmp_path / "cameras.yaml"
    path.write_text(text)
    return path


def test_a_camera_has_the_options_of_the_command(tmp_path):
    cameras = read_cameras(written(tmp_path, TWO), every=7.0).cameras
    assert list(cameras) == ["yard", "door"]
    yard, door = cameras.values()
    one = ["--run", "a", "--source", "b", "--to", "c"]
    assert vars(parser().parse_args(one)).keys() - {"config", "minutes"} <= vars(yard).keys()
    assert (yard.source, yard.rate, yard.alarms) == ("rtsp://me:secret@camera/1", 5.0, 2.0)
    assert (yard.ignore, yard.every, yard.minutes) == ("[[0, 0, 0.5, 0.2]]", 7.0, None)
    assert (door.alarms, door.rate, door.on_event) == (2.0, None, "true -x")


def test_paths_are_relative_to_the_file(tmp_path):
    yard, door = read_cameras(written(tmp_path, TWO), every=7.0).cameras.values()
    assert yard.run == tmp_path / "runs/a" and yard.to == tmp_path / "seen/yard"
    assert door.run == tmp_path / "runs/b" and door.to == tmp_path / "elsewhere"
    assert door.source == str(tmp_path / "door.mp4")


FAULTS = {
    "a: [": "not plain YAML",
    "cameras: 3": "no cameras",
    "cameras: {}": "no cameras",
    "other: 1\ncameras: {a: {source: 0, run: r}}": "'other' is not known",
    "cameras: {a: 3}": "camera a: is 3",
    "cameras: {a/b: {source: 0, run: r}}": "camera a/b: no name",
    "cameras: {a: {run: r}}": "camera a: has no source",
    "cameras: {a: {source: 0}}": "camera a: has no run",
    "cameras: {a: {source: 0, run: r, rat: 3}}": "camera a: 'rat' is not known",
    "cameras: {a: {source: 0, run: r, rate: -3}}": "camera a: rate: '-3'",
    "cameras: {a: {source: 0, run: r, rate: yes}}": "camera a: rate: ''",
    "cameras: {a: {source: [], run: r}}": "camera a: source: []",
    "cameras: {a: {source: 0, run: r, ignore: 3}}": "camera a: ignore: 3",
    "cameras: {a: {source: 0, run: r, precision: half}}": "camera a: precision: 'half'",
    "cameras: {a: {source: 0, run: r, alarms: 1, threshold: 2}}": "both alarms and threshold",
    "defaults: {source: 0}\ncameras: {a: {run: r}}": "defaults: 'source' is not known",
    "cameras: {a: {source: 0, run: r}, A: {source: 1, run: r}}": "camera A: its folder is that of",
    "cameras: {a: {source: 0, run: r}, a: {source: 1, run: r}}": "'a' stands twice",
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_fault_names_the_file_and_the_camera(tmp_path, text):
    with pytest.raises(DDLError) as fault:
        read_cameras(written(tmp_path, text), every=30.0)
    assert "cameras.yaml: " in str(fault.value) and FAULTS[text] in str(fault.value)


def test_a_fault_of_the_file_ends_the_command_in_one_line(tmp_path, capsys):
    assert main(["--config", str(tmp_path / "none.yaml")]) == 1
    text = "cameras: {yard: {source: 0, run: no-run}}"
    assert main(["--config", str(written(tmp_path, text))]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert "none.yaml: not there" in first
    assert "cameras.yaml: camera yard: " in second and "no checkpoint in it" in second


@pytest.mark.parametrize("args", [["--run", "a"], ["--rate", "3"], ["--no-alarms"]])
def test_options_of_a_camera_stand_in_the_file(args, capsys):
    with pytest.raises(SystemExit) as error:
        main(["--config", "cameras.yaml", *args])
    assert error.value.code == 2 and f"{args[0]} stands beside --config" in capsys.readouterr().err


def test_without_a_file_run_source_and_folder_are_needed(capsys):
    with pytest.raises(SystemExit) as error:
        main(["--run", "a"])
    assert error.value.code == 2 and "--source, --to" in capsys.readouterr().err
