"""The benchmark of exported runs: every way scores the same stream."""

import json

import numpy as np

from ddllib.experiments import benchmark_tables
from ddllib.experiments.benchmark import main
from ddllib.experiments.benchmark_export import OURS, measure


def test_every_way_scores_the_same_frames(watchable, tmp_path, capsys):
    record = tmp_path / "record.json"
    arguments = ["--run", str(watchable), "--rounds", "1", "--to", str(record)]
    assert main(["export", *arguments]) == 0
    rows = {row["way"]: row for row in json.loads(record.read_text())["rows"]}
    assert {name.split(",")[0] for name in rows} == {"this project", "onnx", "openvino"}
    assert "openvino, each frame encoded once" in rows
    exact = [row["difference"] for name, row in rows.items() if "bfloat16" not in name]
    assert max(exact) < 1e-4
    assert all(row["ms_of_cpu"] > 0 for row in rows.values()) and rows[OURS]["ratio"] == 1
    assert "openvino, whole windows" in capsys.readouterr().out
    table = benchmark_tables.export_table(json.loads(record.read_text()))
    assert list(table["way"]) == list(rows) and table["times as fast as ours"][0] == "1.00"


def test_a_difference_of_scores_shows():
    frames = np.zeros((3, 1, 1, 1), np.uint8)
    ways = {OURS: lambda frame: 1.0, "another": lambda frame: 1.5}
    assert [row["difference"] for row in measure(ways, frames, 1)] == [0.0, 0.5]
