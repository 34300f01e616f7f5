"""Retraining for a changed scene: the same road, on altered footage, from old weights."""

import json

import numpy as np
import pytest
from studies import retraining_study, stream_study
from support.footage import walk, write_frames

from data_prep.footage.layouts import Clip, find_footage
from ddllib.scoring import Scorer
from ddllib.settings import load_profile


def test_the_camera_is_turned_and_the_light_fades():
    frame = np.zeros((60, 80, 3), np.uint8)
    frame[30, 40] = 200
    picture = retraining_study.turned(frame)
    assert picture[18, 60, 0] == 120 and picture.sum() == 3 * 120


def test_training_footage_is_altered_and_so_are_test_frames(tmp_path):
    write_frames(tmp_path / "a", walk(3))
    clip = Clip("training", "a", tmp_path / "a", tuple(sorted((tmp_path / "a").iterdir())))
    data = type("Data", (), {"size": (16, 16), "channels": 1})

    def joined(name, change):
        stream_study.join([clip], tmp_path / name, 10.0, change)
        clips = list(find_footage(tmp_path / name).clips["training"].values())
        return list(retraining_study.altered_frames(clips, data, None).values())

    frames = retraining_study.altered_frames([clip], data, retraining_study.turned)["a"]
    assert np.array_equal(joined("turned", retraining_study.turned), [frames])
    assert not np.array_equal(joined("whole", None), [frames])


def test_the_study_compares_runs_on_altered_footage(footage, monkeypatch, tmp_path, capsys):
    def small(name, **values):
        options = {"size": 32, "latent_dim": 8, "epochs": 3, "threshold_share": 0.4, **values}
        return load_profile("tiny", **options)

    light = []

    class Watched(Scorer):
        def clips(self, clips):
            light.extend(float(frames.mean()) for frames in clips.values())
            return super().clips(clips)

    monkeypatch.setattr(retraining_study, "Scorer", Watched)
    monkeypatch.setattr(stream_study, "load_profile", small)
    monkeypatch.setattr("sys.argv", ["", str(footage), "--rate", "20", "--to", str(tmp_path)])
    assert retraining_study.main() == 0
    report = json.loads((tmp_path / "retrain.json").read_text())
    names = [(row["run"], row["epochs"]) for row in report["rows"]]
    both = [(name, k) for k in retraining_study.AGAIN for name in ("trained on", "from nothing")]
    assert names == [("before the change", 3), ("as it was", 3), *both, ("from nothing", 3)]
    usual = [row["usual"] for row in report["rows"]]
    assert usual[0] == usual[1] and len(set(usual)) == len(usual) - 1
    assert {row["abnormal"] for row in report["rows"]} == {1}
    assert all(0 <= row["in_alarm"] <= 1 and 0 <= row["auc"] <= 1 for row in report["rows"])
    first = len(light) // len(names)  # clips that each run scores, the first one unaltered
    assert min(light[:first]) > 1.3 * max(light[first:])
    assert "trained on" in capsys.readouterr().out and str(tmp_path) not in json.dumps(report)


def test_the_verdict_is_by_the_rows():
    rows = [("before the change", 8, 0.9), ("as it was", 8, 0.6), ("trained on", 1, 0.7)]
    rows += [("from nothing", 1, 0.5), ("trained on", 2, 0.8), ("from nothing", 8, 0.75)]
    rows = [{"run": name, "minutes": float(m), "auc": auc} for name, m, auc in rows]
    sentence = retraining_study.verdict({"rows": rows})
    assert "from 90.0 to 60.0" in sentence and "2.0 minutes brings it to 80.0" in sentence
    assert sentence.endswith("has 75.0, after 8.0 minutes.")


def test_footage_without_labels_is_refused(tmp_path):
    for split in ("training", "testing"):
        write_frames(tmp_path / "yard" / split / "a", walk(3))
    with pytest.raises(retraining_study.DDLError, match="yard: no labelled test clips of known"):
        retraining_study.measure(tmp_path / "yard", 10.0)
