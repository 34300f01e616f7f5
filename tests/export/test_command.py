"""``python -m ddllib export``: from a trained run's folder to a checked file with its facts."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest

from ddllib.camera import assembly, handover
from ddllib.data import load_prepared
from ddllib.export import command
from ddllib.export.formats import FORMATS, PROJECT, Format
from ddllib.methods import method_of
from ddllib.training import load_run

BOX = "[[0, 0, 0.5, 0.5]]"


@pytest.fixture
def run(watchable, tmp_path):
    """The folder of a trained run that is ready to watch, its prepared data beside it."""
    shutil.copytree(watchable.parent, tmp_path / "place")
    folder = tmp_path / "place" / "run"
    own_run = load_run(folder)
    data = load_prepared(next(folder.parent.glob("prepared*")))
    handover.make_ready(own_run.settings, data, own_run)
    return folder


def onnx_facts(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def openvino_facts(path):
    section = ElementTree.parse(path).find(f"rt_info/{PROJECT}")
    return {fact.tag: fact.get("value") for fact in section}


FACTS = {"onnx": onnx_facts, "openvino": openvino_facts}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_run_becomes_a_file_that_scores_and_says_what_it_takes(kind, run, tmp_path):
    path = tmp_path / "new" / f"run{FORMATS[kind].suffix}"
    arguments = [str(run), "--to", kind, "--out", str(path), "--ignore", BOX]
    call = [sys.executable, "-m", "ddllib", "export", *arguments]
    process = subprocess.run(call, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert str(path) in process.stdout and process.stderr == ""

    facts = FACTS[kind](path)
    assert (facts["run"], facts["method"], facts["score"]) == ("run", "ddl", "distance")
    numbers = ("frames", "scored_frame", "channels", "height", "width", "ignored")
    assert [json.loads(facts[name]) for name in numbers] == [3, 1, 1, 32, 32, 0.25]
    assert facts["colour"] == "grey" and facts["version"]
    assert "threshold" not in facts  # the folder keeps none for this mask

    own_run = load_run(run)
    mask = np.zeros((32, 32), bool)
    mask[:16, :16] = True
    own = replace(own_run, precision="float32")
    scorer = method_of(own_run.settings).scorer(own, mask)
    clip = load_prepared(next(run.parent.glob("prepared*"))).testing["01"]
    ask = FORMATS[kind].opened(path)
    assert command.largest_difference(ask, scorer, clip) < command.TOLERANCE


def test_the_threshold_of_the_run_is_in_the_file(run, capsys):
    assert command.main([str(run), "--to", "onnx"]) == 0
    facts = onnx_facts(run / "run.onnx")
    contents, own_run = handover.read(run), load_run(run)
    settings = replace(own_run.settings, **contents.values)
    threshold = assembly.threshold(settings, contents.known, own_run)
    assert json.loads(facts["threshold"]) == threshold.value
    assert json.loads(facts["release"]) == threshold.release
    assert json.loads(facts["alarms_per_hour"]) == settings.alarms_per_hour
    assert facts["filter"] == "RunningMedian"


def test_a_copied_run_is_exported_without_its_footage(run, tmp_path, capsys):
    alone = tmp_path / "alone"
    shutil.copytree(run, alone)
    assert command.main([str(alone), "--to", "openvino"]) == 0
    assert {path.suffix for path in alone.glob("alone.*")} == {".xml", ".bin"}


def test_a_file_that_scores_otherwise_is_not_left(run, monkeypatch, capsys):
    real = FORMATS["onnx"]

    def opened(path):
        ask = real.opened(path)
        return lambda windows: tuple(values + 0.01 for values in ask(windows))

    monkeypatch.setitem(FORMATS, "onnx", Format(".onnx", (), real.write, opened))
    before = {path.name for path in run.iterdir()}
    (run / "run.onnx").write_bytes(b"an earlier one")
    assert command.main([str(run), "--to", "onnx"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "run.onnx" in line and "differ" in line
    assert (run / "run.onnx").read_bytes() == b"an earlier one"
    assert {path.name for path in run.iterdir()} == before | {"run.onnx"}


def test_what_is_missing_or_damaged_is_reported_in_one_line(run, tmp_path, capsys):
    def error_of(*args):
        assert command.main(list(args)) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "no checkpoint in it" in error_of(str(tmp_path / "none"), "--to", "onnx")
    assert ".xml" in error_of(str(run), "--to", "openvino", "--out", str(tmp_path / "a.onnx"))
    assert "patch is 64" in error_of(str(run), "--to", "onnx", "--patch", "64")
    assert "no boxes" in error_of(str(run), "--to", "onnx", "--ignore", "[[")
    (tmp_path / "file").touch()
    through = str(tmp_path / "file" / "a.onnx")
    assert "cannot be written" in error_of(str(run), "--to", "onnx", "--out", through)
    for checkpoint in run.glob("checkpoint*"):
        checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    assert "checkpoint" in error_of(str(run), "--to", "onnx")


def test_without_the_package_one_line_says_what_to_install(monkeypatch, run, capsys):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert command.main([str(run), "--to", "onnx"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "onnxruntime is not installed" in line
