"""Real UCSD Ped2: the facts of the data, a short walk down the whole road, the recorded figures."""

import shutil

import cv2
import numpy as np
import pytest
from scipy.io import loadmat

from data_prep.footage.labels import frame_labels, read_labelling
from ddllib import evaluate, load_profile, pipeline
from ddllib.evaluation import PROTOCOLS
from ddllib.experiments.comparisons import finder
from ddllib.experiments.grid import read_experiment
from ddllib.paths import RESULTS
from ddllib.records import find_records

TEST_LENGTHS = [180, 180, 150, 180, 150, 180, 180, 180, 120, 150, 180, 180]


def labels_from_mat(folder):
    """Frame labels written out from ped2.mat: ranges count from one and include the last."""
    ranges = loadmat(folder / "ped2.mat")["gt"][0]
    labels = {}
    for k, length in enumerate(TEST_LENGTHS):
        clip = np.zeros(length, int)
        for first, last in np.atleast_2d(ranges[k]).T:
            clip[first - 1 : last] = 1
        labels[f"{k + 1:02d}"] = clip
    return labels


def test_the_reader_the_masks_and_the_written_out_labels_agree_on_every_frame(ped2):
    labels = labels_from_mat(ped2)
    marks = read_labelling(ped2 / "ped2.mat", {n: len(v) for n, v in labels.items()})
    for name, expected in labels.items():
        from_file = frame_labels(ped2 / "ped2.mat", name, marks[name], len(expected))
        masks = sorted((ped2 / "testing" / "masks" / name).iterdir())
        from_masks = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).any() for path in masks]
        assert np.array_equal(from_file, expected) and np.array_equal(
            from_masks, expected.astype(bool)
        )
    assert sum(v.sum() for v in labels.values()) == 1648


def copy_clip(source, target, frames):
    target.mkdir(parents=True)
    for path in sorted(source.iterdir())[:frames]:
        shutil.copy(path, target / path.name)


@pytest.fixture(scope="module")
def piece(ped2, tmp_path_factory):
    """A short piece of Ped2 in a data folder of its own: two training clips, two test clips."""
    root = tmp_path_factory.mktemp("data") / "piece"
    labels = labels_from_mat(ped2)
    rows = ["clip,first,last"]
    for name in ("01", "02"):
        copy_clip(ped2 / "training/frames" / name, root / "training/frames" / name, 24)
        copy_clip(ped2 / "testing/frames" / name, root / "testing/frames" / name, 110)
        abnormal = np.flatnonzero(labels[name][:110])
        rows.append(f"{name},{abnormal[0]},{abnormal[-1]}")
    (root / "testing/labels.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.mark.slow
def test_the_whole_road_on_real_frames_with_a_real_detector(piece, ped2, tmp_path, monkeypatch):
    monkeypatch.setenv("DDL_RUNS", str(tmp_path))
    weights = ped2.parent.parent / "models" / "yolo11n_int8_openvino_model"
    changes = {"size": 64, "latent_dim": 16, "epochs": 4, "compile": False}
    settings = load_profile("ped2-cpu", data=str(piece), weights=str(weights), **changes)
    data = pipeline.prepare(settings, progress=False)
    assert data.size == (64, 64) and data.manifest["channels"] == 1
    assert data.manifest["coverage"] > 0.9
    labels = labels_from_mat(ped2)
    assert all(np.array_equal(data.labels[n], labels[n][:110]) for n in ("01", "02"))
    run = pipeline.train(settings, data, progress=False)
    record = pipeline.score(settings, data, run, progress=False)
    losses = record.facts["history"]["reconstruction"]
    assert np.mean(losses[-4:]) < 0.7 * np.mean(losses[:4])
    assert {n: len(s) for n, s in record.scores.items()} == {"01": 110, "02": 110}
    assert all(np.isfinite(s).all() and s.std() > 0 for s in record.scores.values())
    assert 0 < record.auc("median") < 1


def recorded_on_ped2():
    records = [r for r in find_records(RESULTS) if r.metrics]  # not those of held-out clips
    return [r for r in records if r.facts["settings"]["data"] == "ped2"]


@pytest.mark.slow
def test_the_recorded_auc_is_that_of_the_recorded_scores_and_the_official_labels(ped2):
    labels = labels_from_mat(ped2)
    records = recorded_on_ped2()
    assert records
    for record in records:
        assert {n: len(s) for n, s in record.scores.items()} == {
            n: len(v) for n, v in labels.items()
        }
        assert all(np.array_equal(record.labels[n], labels[n]) for n in labels)
        for protocol in PROTOCOLS:
            assert evaluate(record.scores, labels, protocol).auc == record.auc(protocol)


@pytest.mark.parametrize("name", ["headline", "headline-256"])
def test_the_headline_runs_are_above_their_floor(name):
    headline = finder(recorded_on_ped2(), read_experiment(name))("c3dsu", "ddl")
    assert headline and min(record.auc("median") for record in headline) > 0.94
